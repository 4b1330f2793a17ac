"""A rollout's record: whole, checked, and the same answer to the same caller."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowerbird.base.errors import CorruptFile, UsageError
from bowerbird.store.rollout import Rollout, end_rollout, read_rollout, write_rollout


def rollout(**changes: object) -> Rollout:
    fields = {
        "name": "poems",
        "version": 2,
        "digest": "sha256:b",
        "live_version": 1,
        "live_digest": "sha256:a",
        "mode": "share",
        "share": 0.25,
        "since": 1000.0,
    }
    return Rollout.model_validate({**fields, **changes})


def test_it_is_read_as_it_was_written_until_it_ends(tmp_path: Path) -> None:
    assert read_rollout(tmp_path, "poems") is None
    write_rollout(tmp_path, rollout())
    assert read_rollout(tmp_path, "poems") == rollout()
    assert (tmp_path / "rollouts" / "poems.json").stat().st_mode & 0o077 == 0
    end_rollout(tmp_path, "poems")
    end_rollout(tmp_path, "poems")
    assert read_rollout(tmp_path, "poems") is None


def test_a_damaged_record_says_how_to_go_on(tmp_path: Path) -> None:
    write_rollout(tmp_path, rollout())
    path = tmp_path / "rollouts" / "poems.json"
    for content in (
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 9}',
        path.read_text().replace('"share": 0.25', '"share": 7'),
    ):
        path.write_text(content)
        with pytest.raises(CorruptFile):
            read_rollout(tmp_path, "poems")
    path.write_text(rollout(name="songs").model_dump_json())
    with pytest.raises(CorruptFile, match="songs"):
        read_rollout(tmp_path, "poems")
    with pytest.raises(UsageError):
        read_rollout(tmp_path, "../poems")


def test_a_caller_stays_on_one_arm_and_the_share_holds() -> None:
    one = rollout()
    taken = [one.takes(f"key-{number}") for number in range(4_000)]
    assert taken == [one.takes(f"key-{number}") for number in range(4_000)]
    assert 0.22 < sum(taken) / len(taken) < 0.28
    other = rollout(digest="sha256:c")
    assert taken != [other.takes(f"key-{number}") for number in range(4_000)]
    assert all(rollout(share=1.0).takes(f"key-{number}") for number in range(50))
