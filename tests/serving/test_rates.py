"""Rates: a minute's worth at once, then evenly, and told to the second when to come back."""

from __future__ import annotations

import pytest

from bowerbird.serving.errors import RateLimited
from bowerbird.serving.rates import Rates


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_holds_a_minute_and_fills_evenly() -> None:
    clock = Clock()
    rates = Rates(clock)
    for _ in range(30):
        rates.enter("a", 30, None)
    with pytest.raises(RateLimited) as caught:
        rates.enter("a", 30, None)
    assert (caught.value.code, caught.value.retry_after_seconds) == ("rate_limit_exceeded", 2)
    assert caught.value.http_status == 429
    clock.now += 1
    with pytest.raises(RateLimited) as caught:
        rates.enter("a", 30, None)
    assert caught.value.retry_after_seconds == 1
    clock.now += 1
    rates.enter("a", 30, None)
    with pytest.raises(RateLimited):
        rates.enter("a", 30, None)
    clock.now += 3600
    for _ in range(30):
        rates.enter("a", 30, None)
    with pytest.raises(RateLimited):
        rates.enter("a", 30, None)


@pytest.mark.parametrize("a_minute", [1, 7, 59, 61, 999, 10**6])
def test_who_comes_back_after_the_seconds_told_is_let_in(a_minute: int) -> None:
    clock = Clock()
    rates = Rates(clock)
    for _ in range(200):
        try:
            rates.enter("a", a_minute, None)
        except RateLimited as error:
            clock.now += error.retry_after_seconds
            rates.enter("a", a_minute, None)
    assert rates.running("a") == 200


def test_callers_do_not_count_for_each_other() -> None:
    rates = Rates(Clock())
    rates.enter("a", 1, 1)
    rates.enter("b", 1, 1)
    for owner in "ab":
        with pytest.raises(RateLimited):
            rates.enter(owner, 100, 1)


def test_what_runs_at_once_is_bounded_until_it_leaves() -> None:
    rates = Rates(Clock())
    rates.enter("a", None, 2)
    rates.enter("a", None, 2)
    with pytest.raises(RateLimited) as caught:
        rates.enter("a", None, 2)
    assert caught.value.code == "concurrency_limit_exceeded"
    assert rates.running("a") == 2
    rates.leave("a")
    rates.enter("a", None, 2)
    assert rates.running("a") == 2


def test_what_is_refused_for_running_too_much_costs_no_token() -> None:
    rates = Rates(Clock())
    rates.enter("a", 2, 1)
    for _ in range(5):
        with pytest.raises(RateLimited):
            rates.enter("a", 2, 1)
    rates.leave("a")
    rates.enter("a", 2, 1)


def test_no_limit_is_no_limit() -> None:
    rates = Rates(Clock())
    for _ in range(10_000):
        rates.enter("", None, None)
    assert rates.running("") == 10_000
