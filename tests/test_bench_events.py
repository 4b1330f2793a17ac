"""The benchmark of recording takes turns fairly, and sees what is too slow or lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from bowerbird.base.errors import BowerbirdError, NotFound, UnknownName, UsageError
from events import LEAST, MODES, Turn, bench_of, interval, judge, order, parse, ratios


def turns(full: float = 960.0, rounds: int = 4, failed: int = 0) -> list[Turn]:
    return [
        Turn(mode, number, int(2 * (full if mode == "full" else 1_000.0)), 2.0, 10, failed, 1.0)
        for number, mode in order(rounds)
    ]


def held(*given: object) -> dict[str, bool]:
    return {claim.what: claim.holds for claim in judge(*given).claims}  # type: ignore[arg-type]


def test_each_begins_as_often_as_the_other() -> None:
    found = order(4)
    assert found[:4] == [(0, "off"), (0, "full"), (1, "full"), (1, "off")]
    assert all(
        [mode for number, mode in found if number == one] in ([*MODES], [*MODES[::-1]]) for one in range(4)
    )


def test_the_ratio_is_of_tokens_a_second_round_by_round() -> None:
    assert ratios(turns(500.0)) == [0.5] * 4
    verdict = judge(turns(), {"written": 40.0}, 43, 3)
    assert verdict.figures["ratio"] == pytest.approx(0.96)
    assert verdict.holds


@pytest.mark.parametrize(
    ("wrong", "given"),
    [
        ("at least 95%", (turns(1_000.0 * LEAST - 1), {"written": 40.0}, 40, 0)),
        ("no request fails", (turns(failed=1), {"written": 40.0}, 40, 0)),
        ("every answer", (turns(), {"written": 39.0, "dropped": 1.0}, 40, 0)),
        ("every answer", (turns(), {"written": 40.0}, 39, 0)),
        ("every answer", (turns(), {"written": 40.0}, 41, 0)),
    ],
)
def test_what_does_not_hold_is_said(wrong: str, given: tuple[object, ...]) -> None:
    false = [what for what, holds in held(*given).items() if not holds]
    assert len(false) == 1
    assert wrong in false[0]


def test_the_interval_holds_the_mean_and_narrows() -> None:
    low, high = interval([0.9, 1.0, 1.1])
    assert low < 1.0 < high
    narrow_low, narrow_high = interval([0.9, 1.0, 1.1] * 30)
    assert narrow_high - narrow_low < high - low


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (["--models", "2m"], UnknownName),
        (["--rounds", "0"], UsageError),
        (["--cores", "1000"], UsageError),
        (["--data", "nowhere"], NotFound),
    ],
)
def test_what_makes_no_sense_is_refused(
    given: list[str], error: type[BowerbirdError], tmp_path: Path
) -> None:
    with pytest.raises(error):
        bench_of(parse([*given, "--out", str(tmp_path)]))
