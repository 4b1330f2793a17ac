"""A tune and its text."""

import pytest

from bowerbird.data.tune import Key, Metre, NotATune, Note, parse

TWO_VOICES = "K7:major M4/4 | 0:67:24 24:69:24 48:71:60 | M3/4 0:64:72:2 24:72:48"


def test_text_and_tune_are_the_same() -> None:
    tune = parse(TWO_VOICES)
    assert tune.text() == TWO_VOICES
    assert tune.key == Key(7, "major")
    assert tune.metres == (Metre(4, 4), Metre(3, 4))
    assert tune.notes[2] == Note(48, 60, 71)
    assert tune.notes[3] == Note(96, 72, 64, 2)
    assert tune.bar_lines() == [0, 96, 168]
    assert tune.voices == 2


def test_transposing_moves_key_and_notes() -> None:
    tune = parse(TWO_VOICES).transposed(7)
    assert tune.key == Key(2, "major")
    assert [note.pitch for note in tune.notes] == [74, 76, 78, 71, 79]
    assert tune.transposed(-7) == parse(TWO_VOICES)
    with pytest.raises(NotATune):
        tune.transposed(60)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M4/4 | 0:60:24",
        "K0:major | 0:60:24",
        "K0:major M4/4 0:60:24",
        "K0:major M4/4",
        "K12:major M4/4 | 0:60:24",
        "K0:minor M4/5 | 0:60:24",
        "K0:minor M0/4 | 0:60:24",
        "K0:minor M4/4 | 0:128:24",
        "K0:minor M4/4 | 0:60:0",
        "K0:minor M4/4 | 0:60:24:5",
        "K0:minor M4/4 | 0:60:97",
        "K0:minor M4/4 | 0:60:24 12:62:24",
        "K0:minor M4/4 | 24:60:24 0:62:24",
        "K0:minor M4/4 | 0:60:-1",
        "K0:minor M4/4 | 0:60",
    ],
)
def test_what_is_no_tune_is_refused(text: str) -> None:
    with pytest.raises(NotATune):
        parse(text)
