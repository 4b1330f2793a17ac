"""The benchmark of the whole loop: its claims follow from what was told, and its texts are apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import loop


def told(**changes: Any) -> dict[str, Any]:
    gates = ["not worse on old data", "better on the new data", "no less novel", "safe files"]
    moves = [("publish", None), ("promote", "live"), ("promote", "challenger")]
    moves += [("promote", "live"), ("rollback", "live"), ("promote", "live")]
    return {
        "before": {"verdict": "steady"},
        "alarm_after": 100,
        "first": "a",
        "update": {
            "decision": "promoted",
            "gates": [{"name": name, "passed": True, "why": "so"} for name in gates],
        },
        "served": {"after the update": "b", "rolled back": "a", "promoted again": "b"},
        "log": [{"action": action, "alias": alias} for action, alias in moves],
        **changes,
    }


def test_all_claims_hold_where_all_went_well() -> None:
    assert all(loop.claims(told()).values())


@pytest.mark.parametrize(
    ("changes", "claim"),
    [
        ({"before": {"verdict": "moved"}}, "no alarm on what it learnt"),
        ({"alarm_after": None}, "an alarm on the new domain"),
        ({"update": {"decision": "refused"}}, "better on the new domain beyond chance"),
        ({"update": {"decision": "refused"}}, "not worse on the old by more than 2 %"),
        (
            {"served": {"after the update": "b", "rolled back": "b", "promoted again": "b"}},
            "promoted, rolled back",
        ),
        ({"log": []}, "promoted, rolled back"),
    ],
)
def test_a_claim_that_is_false_is_told(changes: dict[str, Any], claim: str) -> None:
    false = [name for name, held in loop.claims(told(**changes)).items() if not held]
    assert any(name.startswith(claim) for name in false)


def test_prompts_are_spread_over_the_documents_in_an_order_that_is_none_and_stays() -> None:
    documents = [f"line {number} of a document that is long enough\nshort" for number in range(100)]
    found = [int(prompt.split()[1]) for prompt in loop.spread(documents, 50)]
    assert sorted(found) == list(range(0, 100, 2)) != found
    assert [int(prompt.split()[1]) for prompt in loop.spread(documents, 50)] == found
    assert len(loop.spread(documents, 250)) == 250


def test_a_domain_is_as_large_as_it_may_be(tmp_path: Path) -> None:
    folder = loop.written(tmp_path / "texts", ["a" * 100] * 10, 350)
    assert sum(path.stat().st_size for path in folder.iterdir()) == 300
