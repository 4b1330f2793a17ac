"""Openings as users give them: note names, ABC, MIDI."""

from __future__ import annotations

import sys
import time
from contextlib import suppress

import pytest

from bowerbird.base.errors import BowerbirdError, DataError, MissingExtra
from bowerbird.data.opening import read_opening
from bowerbird.data.render.abc import to_abc
from bowerbird.data.render.midi import to_midi
from bowerbird.data.tune import Key, Metre, Note, parse

TUNE = parse("K7:major M3/4 | 0:67:24 24:71:48 | 0:74:60 0:55:72:2 60:73:12 | 0:72:8 8:73:16 24:72:48")


def test_note_names() -> None:
    tune = read_opening("C4 D4 E4:2 F#4 Bb3 r r:1/2 C5:0.5")
    assert tune.metres == (Metre(4, 4), Metre(4, 4))
    assert tune.notes == (
        Note(0, 24, 60),
        Note(24, 24, 62),
        Note(48, 48, 64),
        Note(96, 24, 66),
        Note(120, 24, 58),
        Note(180, 12, 72),
    )


def test_key_and_metre_given_hold() -> None:
    for opening in ("C4 D4 E4 F4", "C2 D2 E2 F2|", "M:4/4\nK:C\nC2 D2 E2 F2|", b"C4 D4 E4 F4"):
        tune = read_opening(opening, key=Key(9, "minor"), metre=Metre(3, 4))
        assert tune.key == Key(9, "minor")
        assert tune.metres == (Metre(3, 4),) * 2
        assert [note.pitch for note in tune.notes] == [60, 62, 64, 65]


def test_a_key_given_is_the_signature_of_abc_without_one() -> None:
    assert [note.pitch for note in read_opening("DEFG", key=Key(2, "major")).notes] == [62, 64, 66, 67]


def test_a_key_not_given_is_guessed() -> None:
    assert read_opening("G4 A4 B4 C5 D5 E5 F#5 G5:2").key == Key(7, "major")
    assert read_opening("A4 B4 C5 D5 E5 F5 G#4 A4:3").key == Key(9, "minor")
    assert read_opening("CDEF GABc c4 G4 C8").key == Key(0, "major")


def test_abc_fragment() -> None:
    tune = read_opening("CDEF GABc")
    assert [note.pitch for note in tune.notes] == [60, 62, 64, 65, 67, 69, 71, 72]
    assert {note.length for note in tune.notes} == {12}
    assert tune.metres == (Metre(4, 4),)


@pytest.mark.parametrize(
    "text",
    [
        "X:1\nT:x\nM:6/8\nL:1/8\nK:Ador\nABA F2G|A6|]",
        "T:x\nM:6/8\nL:1/8\nK:Ador\nABA F2G|A6|]",
        "M:6/8\nK:Ador\nABA F2G|A6|]",
        "K:Ador\nM:6/8\nABA F2G|A6|]",
        "\n X:7\nM:6/8\nK:Ador\nABA F2G|A6|]\n\nX:8\nM:4/4\nK:C\nC8|\n",
        b"\xef\xbb\xbfM:6/8\r\nK:Ador\r\nABA F2G|A6|]",
    ],
)
def test_abc_with_some_header(text: str | bytes) -> None:
    tune = read_opening(text)
    assert tune.key == Key(9, "dorian")
    assert tune.metres == (Metre(6, 8),) * 2
    assert [note.pitch for note in tune.notes] == [69, 71, 69, 66, 67, 69]


def test_abc_without_a_key() -> None:
    tune = read_opening("X:1\nM:3/4\nL:1/4\nGGG|ccc|")
    assert (tune.metres, len(tune.notes)) == ((Metre(3, 4),) * 2, 6)


def test_an_accidental_holds_to_the_bar_line() -> None:
    assert [note.pitch for note in read_opening("^F2 F2 G4|F8|").notes] == [66, 66, 67, 65]


def test_a_pick_up_ends_its_bar() -> None:
    assert [note.start for note in read_opening("D|GABc d4|G8|").notes] == [84, 96, 108, 120, 132, 144, 192]


def test_chords_keep_the_highest_and_ties_are_one() -> None:
    assert read_opening("[CEG]8|{d}c8-|c8|").notes == (Note(0, 96, 67), Note(96, 192, 72))


def test_signs_and_empty_lines_are_no_notes() -> None:
    assert [note.pitch for note in read_opening("K:G\n\n!trill!F2 +fermata+ G2").notes] == [66, 67]


def test_a_bar_without_its_line_is_of_the_same_metre() -> None:
    tune = read_opening("M:3/4\nL:1/8\nK:C\nCDEFGABc|d6|")
    assert tune.metres == (Metre(3, 4),) * 3
    assert read_opening("M:4/4\nK:C\nC8|[M:3/4]D6|E6|").metres == (Metre(4, 4), Metre(3, 4), Metre(3, 4))


def test_what_render_writes_is_read() -> None:
    assert read_opening(to_midi(TUNE)) == TUNE
    assert read_opening(to_abc(TUNE)) == TUNE
    assert read_opening(to_abc(TUNE).encode()) == TUNE
    changing = parse("K9:minor M4/4 | 0:60:96 | M3/4 0:60:72 | 0:62:72")
    assert read_opening(to_midi(changing)) == read_opening(to_abc(changing)) == changing


@pytest.mark.parametrize(
    ("opening", "what"),
    [
        ("", "empty"),
        (" \n", "empty"),
        (b"", "empty"),
        ("r r", "no notes"),
        ("z4|", "no notes"),
        ("X:1\nK:C\n", "no notes"),
        ("C4 D12", "too low or too high"),
        ("Cb-1", "too low or too high"),
        ("c'''''''''''|", "too low or too high"),
        ("C4:0", "no length"),
        ("C4:1/0", "no length"),
        ("C4:9999", "too long"),
        ("C" * 30000, "too long"),
        ("C99999|", "a number that no tune has"),
        (b"\xff\xfe\x00", "neither text"),
        (b"MThd\x00\x00\x00\x06\x00", "cannot be used: a truncated MIDI file"),
        (b"MThd" + b"\xff" * 60, "cannot be used: its time is counted in film frames"),
        ("hello, what is this?", "not ABC: it has `"),
        ("/etc/passwd", "not ABC"),
        ("K:C\nM:0/4\nCDE|FGA|", "opening"),
        ("K:C\nM:5/7\nCDE|FGA|", "opening"),
    ],
)
def test_what_cannot_be_read_says_why(opening: str | bytes, what: str) -> None:
    with pytest.raises(DataError, match=what) as raised:
        read_opening(opening)
    assert raised.value.where
    assert "opening" in raised.value.where
    assert raised.value.hint


def test_the_note_at_fault_is_named() -> None:
    with pytest.raises(DataError) as raised:
        read_opening("C4 D12")
    assert raised.value.where == "the opening, note 2: `D12`"


@pytest.mark.parametrize(
    "opening",
    [
        "z999|" * 790,
        "C4 " + "r:9999 " * 560,
        "z99|" * 30,
        "L:1/1\nK:C\n" + "c99|" * 190,
        "C|" * 200,
        "z999 " * 790,
        "C999" * 990,
        "(3" * 1900,
        "[" * 3900,
        "|:" * 100 + "C",
    ],
)
def test_a_hostile_opening_ends_soon(opening: str) -> None:
    began = time.monotonic()
    with suppress(BowerbirdError):
        read_opening(opening)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("opening", "module"), [("CDE|", "music21"), (to_midi(TUNE), "symusic")])
def test_a_missing_package_is_named(
    opening: str | bytes, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match="reading"):
        read_opening(opening)
    assert read_opening("C4 D4 E4:2").notes
