"""Every cleaning step on the shelf: leaves plain text alone, keeps what an item says of itself, may be repeated."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowerbird.data.cleaning import STEPS
from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item, Rejected
from bowerbird.data.normaliser import Normaliser

ON: dict[str, dict[str, Any]] = {"mask": {"mask": ("email", "url", "phone")}, "whitespace": {"squeeze": True}}
PLAIN = "First line of a poem,\n\tand the second: 1914 of them!\n\nThe end.\n"


def built(name: str) -> Step:
    step = STEPS[name](CleanConfig(**ON.get(name, {})), Normaliser())
    assert step is not None
    return step


def cleaned(step: Step, text: str) -> str | None:
    result = step(Item(text, "origin"))
    return None if isinstance(result, Rejected) else result.content


@pytest.mark.parametrize("name", STEPS)
def test_a_step_leaves_plain_text_as_it_is_by_default(name: str):
    step = STEPS[name](CleanConfig(), Normaliser())
    assert step is None or cleaned(step, PLAIN) == PLAIN


@pytest.mark.parametrize("name", STEPS)
def test_a_step_changes_nothing_of_an_item_but_its_content(name: str):
    item = Item("caf\u00e9\u0007  a@b.org\r\n", "origin", licence="MIT", label="x", piece=3, last=False)
    result = built(name)(item)
    assert isinstance(result, Item)
    told = (result.origin, result.licence, result.label, result.piece, result.last)
    assert told == ("origin", "MIT", "x", 3, False)


@pytest.mark.parametrize("name", STEPS)
@given(text=st.text(max_size=60))
def test_doing_a_step_twice_changes_nothing_more(name: str, text: str):
    step = built(name)
    once = cleaned(step, text)
    assert once is None or cleaned(step, once) == once


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(
    "text", ["", "\n", " " * 50_000, "a" * 50_000, "a@" * 20_000, "0 " * 20_000, "\u0301" * 10_000]
)
def test_a_step_takes_any_text_in_reasonable_time(name: str, text: str):
    cleaned(built(name), text)
