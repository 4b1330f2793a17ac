"""Reading tokens as they come: stop strings never leak, half a character waits, speakers are shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowerbird.data.codecs.bytes import Bytes
from bowerbird.data.markers import DOCUMENT, shown, turn
from bowerbird.kinds.reading import TextReader

CODEC = Bytes()
FEW = st.text("ab\n é", max_size=30)
STOPS = st.lists(st.text("ab\n é", min_size=1, max_size=4), max_size=3)


def pieces(
    text: str, sizes: Sequence[int] = (1,), stop: Sequence[str] = ()
) -> Iterator[tuple[str, str | None]]:
    """What a reader gives out when the tokens of a text come in chunks of these sizes, again and again."""
    reader = TextReader(CODEC.decoder(), stop)
    tokens, turn_of, finished = CODEC.encode(text).astype(np.int64), 0, None
    while not finished:
        size = sizes[turn_of % len(sizes)]
        chunk, tokens, turn_of = tokens[:size], tokens[size:], turn_of + 1
        new, finished = reader.push(chunk, None if len(tokens) else "length")
        yield new, finished


def read(text: str, sizes: Sequence[int] = (1,), stop: Sequence[str] = ()) -> tuple[str, str | None]:
    found = list(pieces(text, sizes, stop))
    return "".join(new for new, _ in found), found[-1][1]


def stopped(text: str, stops: Sequence[str]) -> str:
    """The slow, obvious version: character by character, until some stop string is complete."""
    for end in range(1, len(text) + 1):
        begins = [end - len(stop) for stop in stops if text[:end].endswith(stop)]
        if begins:
            return text[: min(begins)]
    return text


@settings(max_examples=150, deadline=None)
@given(text=FEW, stops=STOPS)
def test_text_ends_where_the_first_stop_string_is_complete(text: str, stops: list[str]) -> None:
    expected = stopped(text, stops)
    assert read(text, stop=stops) == (expected, "length" if expected == text else "stop")


@settings(max_examples=150, deadline=None)
@given(text=FEW, stops=STOPS, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_no_stop_string_is_ever_given_out_however_the_text_is_cut(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    out, reason = read(text, sizes, stops)
    assert text.startswith(out)
    assert not any(stop in out for stop in stops)
    assert (out == text) == (reason == "length") == (not any(stop in text for stop in stops))


@settings(max_examples=80, deadline=None)
@given(text=st.text(max_size=30), sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_any_text_is_read_as_it_is_however_it_is_cut(text: str, sizes: list[int]) -> None:
    assert read(text, sizes)[0] == shown(text)


@settings(max_examples=80, deadline=None)
@given(text=FEW, stops=STOPS, sizes=st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_text_ends_at_the_same_token_however_it_is_cut(
    text: str, stops: list[str], sizes: list[int]
) -> None:
    assert read(text, sizes, stops) == read(text, (1,), stops)


def test_tokens_after_a_stop_string_are_counted_as_unread() -> None:
    reader = TextReader(CODEC.decoder(), ["b"])
    assert reader.push(CODEC.encode("a").astype(np.int64), None) == ("a", None)
    assert reader.push(CODEC.encode("abcde").astype(np.int64), "length") == ("a", "stop")
    assert reader.unread == 3


def test_a_stop_string_over_three_pieces_leaks_nothing() -> None:
    assert list(pieces("oh END now", stop=["END"])) == [
        ("o", None), ("h", None), (" ", None), ("", None), ("", None), ("", "stop"),
    ]  # fmt: skip


def test_what_only_looked_like_a_stop_string_comes_out_later() -> None:
    assert [new for new, _ in pieces("aEaENb", stop=["END"])] == ["a", "", "Ea", "", "", "ENb"]


def test_a_beginning_of_a_stop_string_at_the_very_end_is_given_out() -> None:
    assert read("so it EN", stop=["END"]) == ("so it EN", "length")


def test_an_empty_stop_string_stops_nothing() -> None:
    assert read("abc", stop=["", "x"]) == ("abc", "length")


def test_newlines_are_given_out_one_by_one_too() -> None:
    assert [new for new, _ in pieces("\na\n\nb")] == ["\n", "a", "\n", "\n", "b"]


def test_half_a_character_waits_for_the_rest() -> None:
    assert [new for new, _ in pieces("é☃")] == ["", "é", "", "", "☃"]


def test_half_a_character_at_the_end_is_shown_as_a_replacement() -> None:
    reader = TextReader(CODEC.decoder())
    tokens = CODEC.encode("a☃").astype(np.int64)[:-1]
    assert [reader.push(tokens[:1], None), reader.push(tokens[1:], "length")] == [
        ("a", None),
        ("\ufffd", "length"),
    ]


def test_an_end_without_content_flushes_what_is_held() -> None:
    reader = TextReader(CODEC.decoder(), ["END"])
    assert reader.push(CODEC.encode("E").astype(np.int64), None) == ("", None)
    assert reader.push(np.array([], np.int64), "stop") == ("E", "stop")


@pytest.mark.parametrize("sizes", [(1,), (2,), (3, 1), (100,)])
def test_speakers_are_shown_each_on_a_line_however_the_text_is_cut(sizes: tuple[int, ...]) -> None:
    text = turn("user", "hi\nyou") + turn("assistant", "well") + turn("user", "") + turn("assistant", "\nno")
    assert read(text, sizes)[0] == "user: hi\nyou\nassistant: well\nuser: \nassistant: \nno"
    assert read("so" + text, sizes)[0].startswith("so\nuser: hi")
    assert read(DOCUMENT + text, sizes)[0].startswith("user: hi")


def test_a_stop_string_may_be_a_speaker_s_line() -> None:
    text = turn("user", "hi") + turn("assistant", "well") + turn("user", "more")
    assert read(text, stop=["\nuser:"]) == ("user: hi\nassistant: well", "stop")


def test_a_speaker_after_half_a_character_begins_one_line() -> None:
    reader = TextReader(CODEC.decoder())
    half = CODEC.encode("a☃").astype(np.int64)[:-1]
    told = (
        reader.push(half, None)[0]
        + reader.push(CODEC.encode(turn("user", "x")).astype(np.int64), "length")[0]
    )
    assert told == "a\ufffd\nuser: x"
