"""Private data is masked in events as it is in what models learn from."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowerbird.data.cleaning import mask
from bowerbird.data.cleaning.mask import PRIVATE, masked
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.masking import masked_event

PIECES = ["ann@example.org", "HTTPS://x.org/a@b", "WWW.x.org", "+49 30 1234567", "0301234567", "2026-11-27", "3.14",
          "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668\u0669", "the sea ", "\n", "@", "://", " "]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join))
def test_looking_first_whether_it_is_worth_it_changes_nothing(text: str) -> None:
    expected = text
    for kind in PRIVATE:
        expected = mask._REPLACE[kind](expected)
    assert masked(text) == expected


def test_only_the_kinds_that_are_asked_for_are_replaced() -> None:
    text = "ann@example.org www.x.org +49 30 1234567"
    assert masked(text) == "<email> <url> <phone>"
    assert masked(text, ["email"]) == "<email> www.x.org +49 30 1234567"
    assert masked(text, []) == text


@pytest.mark.parametrize(
    "texts", [(None, None), ("", ""), ("the sea", "3 stones"), ("ann@example.org", None)]
)
def test_an_event_keeps_all_but_what_is_private(texts: tuple[str | None, str | None]) -> None:
    prompt, output = texts
    event = Event(
        "cmpl-1", 0.0, "m", "d", "text", "/v1", owner="ann@example.org", prompt=prompt, output=output
    )
    found = masked_event(event)
    assert (found.id, found.owner, found.output) == ("cmpl-1", "ann@example.org", output)
    assert found.prompt == (None if prompt is None else masked(prompt))
