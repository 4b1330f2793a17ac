"""Times as people write them."""

from __future__ import annotations

import pytest

from bowerbird.base.errors import UsageError
from bowerbird.monitoring.when import moment, written


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86_400),
        ("1970-01-01T00:10", 600),
        ("1970-01-01T02:00+02:00", 0),
        (" 1970-01-01 00:00:01 ", 1),
        ("30s", 999_970),
        ("90m", 1_000_000 - 5_400),
        ("1.5h", 1_000_000 - 5_400),
        ("7d", 1_000_000 - 604_800),
        ("1w", 1_000_000 - 604_800),
    ],
)
def test_a_time_is_a_date_or_how_long_ago(text: str, seconds: float) -> None:
    assert moment(text, now=1_000_000.0) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "-7d", "2026-13-01", "nan", "1e3d"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        moment(text)


def test_times_are_shown_in_utc() -> None:
    assert written(0.9) == "1970-01-01 00:00:00"
