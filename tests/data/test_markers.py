"""Markers: turns put together and taken apart, and what a person sees of them."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from bowerbird.data.markers import DOCUMENT, MARKERS, ROLES, plain, shown, turn, turns

WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="".join(MARKERS)), max_size=20)


@given(st.lists(st.tuples(st.sampled_from(list(ROLES)), WORDS)))
def test_turns_are_taken_apart_as_they_were_put_together(said: list[tuple[str, str]]) -> None:
    assert turns("".join(turn(role, words) for role, words in said)) == said


def test_what_stands_before_the_first_turn_is_in_none() -> None:
    assert turns("hello" + turn("user", "hi")) == [("user", "hi")]


def test_a_chat_is_shown_as_a_line_a_turn() -> None:
    text = DOCUMENT + turn("system", "be kind") + turn("user", "hi") + turn("assistant", "well\nwell")
    assert shown(text) == "system: be kind\nuser: hi\nassistant: well\nwell"


def test_a_turn_that_goes_on_from_other_text_begins_a_line() -> None:
    assert shown(turn("assistant", "yes"), begun=True) == "\nassistant: yes"


@given(WORDS)
def test_text_without_markers_is_shown_as_it_is(text: str) -> None:
    assert shown(text) == text
    assert shown(text, begun=True) == text


def test_plain_text_has_no_noncharacter_left() -> None:
    assert plain("a\ufdd0b\ufdd3c\ufddfd\ufdef") == "abcd"


def test_markers_are_noncharacters_that_no_normal_form_touches() -> None:
    for marker in MARKERS:
        assert unicodedata.category(marker) == "Cn"
        assert {unicodedata.normalize(form, marker) for form in ("NFC", "NFKC", "NFD")} == {marker}
        assert len(marker.encode()) == 3
