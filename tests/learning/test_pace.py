"""How far along a run is, and the rate that follows it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowerbird.learning.pace import RESTART, STAIR, Pace, rate_at


@given(st.integers(1, 10_000))
def test_with_steps_progress_is_a_straight_line_to_one(steps: int) -> None:
    pace = Pace.of_steps(steps)
    assert pace.progress(0) == 0
    assert pace.progress(steps) == pytest.approx(1)
    assert pace.progress(steps // 2) == pytest.approx(steps // 2 / steps)
    assert pace.progress(10 * steps) == 1
    assert pace.last_step == steps


@given(st.lists(st.tuples(st.integers(1, 50), st.floats(0, 1.5, allow_subnormal=False))))
def test_climbing_never_goes_down_and_never_over_one(climbs: list[tuple[int, float]]) -> None:
    pace, step, before = Pace(), 0, 0.0
    for ahead, reached in climbs:
        step += ahead
        pace.climb(step, reached)
        assert before <= pace.progress(step) <= 1
        before = pace.progress(step)
    seen = [pace.progress(step) for step in range(0, step + 1, 7)]
    assert seen == sorted(seen), "what a step was is what it stays: a resumed run sees the same"


def test_the_clock_is_followed_in_stairs() -> None:
    pace = Pace()
    pace.climb(10, STAIR / 2)
    assert pace.progress(10) == 0
    pace.climb(20, STAIR)
    assert (pace.progress(19), pace.progress(20), pace.progress(1000)) == (0, STAIR, STAIR)
    assert pace.last_step is None


def test_a_hundred_thousand_steps_by_the_clock_keep_few_stairs() -> None:
    pace = Pace()
    for step in range(100_000):
        pace.climb(step, step / 100_000)
    assert len(pace.knots) <= 1 / STAIR + 1


def test_a_finished_run_given_more_steps_starts_half_way_down_and_ends_at_one() -> None:
    pace = Pace.of_steps(100)
    pace.extend(100, 50)
    assert pace.progress(100) == RESTART
    assert pace.progress(125) == pytest.approx((1 + RESTART) / 2)
    assert pace.progress(150) == pytest.approx(1)
    assert pace.last_step == 150


def test_an_early_run_given_more_goes_on_from_where_it_is() -> None:
    pace = Pace.of_steps(100)
    pace.extend(20, 80)
    assert pace.progress(20) == pytest.approx(0.2)
    assert pace.progress(60) == pytest.approx(0.6)
    by_time = Pace.of_steps(100)
    by_time.extend(20, None)
    assert by_time.last_step is None
    assert by_time.progress(90) == pytest.approx(0.2)


def test_the_rate_rises_in_a_line_and_falls_along_a_cosine() -> None:
    assert rate_at(0.0) == 0.01
    assert rate_at(0.01) == pytest.approx(0.5)
    assert rate_at(0.02) == pytest.approx(1.0)
    assert rate_at(0.51) == pytest.approx(0.03 + 0.97 / 2)
    assert rate_at(1.0) == pytest.approx(0.03)
    assert rate_at(1.7) == pytest.approx(0.03)


@given(st.floats(0.02, 1, allow_subnormal=False), st.floats(0.02, 1, allow_subnormal=False))
def test_after_the_warm_up_the_rate_only_falls(a: float, b: float) -> None:
    early, late = sorted([a, b])
    assert rate_at(early) >= rate_at(late) >= 0.03 - 1e-12
    assert math.isfinite(rate_at(early))
