"""The codec of melodies: on its grid exact, off it as near as can be said, and never at a loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bowerbird.base.errors import CorruptFile
from bowerbird.data.codecs import CodecConfig, learn_codec, load_codec
from bowerbird.data.codecs.notes import PITCH, TONIC, Notes
from bowerbird.data.dataset import Dataset, DatasetWriter
from bowerbird.data.markers import DOCUMENT
from bowerbird.data.normaliser import Normaliser
from bowerbird.data.tune import MODES, Key, Metre, Note, Tune, parse

TWO_VOICES = "K7:major M4/4 | 0:67:24 24:69:24 48:71:60 | M3/4 0:64:72:2 24:72:48"
WALTZ = "K2:minor M3/4 | 0:62:24 24:65:12 36:64:12 48:62:24 | | 0:57:144 |"
Pitches = Literal["relative", "absolute"]
both = pytest.mark.parametrize("pitches", ["relative", "absolute"])


def learnt(*texts: str, pitches: Pitches = "relative", **options: Any) -> Notes:
    codec = learn_codec(CodecConfig(name="notes", pitches=pitches, **options), lambda: iter(texts))
    assert isinstance(codec, Notes)
    return codec


def words(codec: Notes, text: str) -> str:
    return " ".join(codec.word(token) for token in codec.encode(text).tolist())


@st.composite
def tunes(draw: Callable[..., Any], step: int = 6) -> Tune:
    """Tunes on a grid, of up to three voices and in changing metres."""
    metres = draw(st.lists(st.sampled_from([Metre(4, 4), Metre(3, 4), Metre(6, 8), Metre(7, 8)]), min_size=1))
    end = sum(metre.ticks for metre in metres) // step
    notes = []
    for voice in range(1, draw(st.integers(1, 3)) + 1):
        at = 0
        for rest, length in draw(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 20)), max_size=12)):
            at += rest
            if at + length > end:
                break
            notes.append(Note(at * step, length * step, draw(st.integers(0, 127)), voice))
            at += length
    notes.sort(key=lambda note: (note.start, note.voice))
    return Tune(Key(draw(st.integers(0, 11)), draw(st.sampled_from(MODES))), tuple(metres), tuple(notes))


@settings(max_examples=150, deadline=None)
@given(tune=tunes(), pitches=st.sampled_from(["relative", "absolute"]))
def test_a_tune_it_has_learnt_comes_back_exactly(tune: Tune, pitches: Pitches) -> None:
    codec = learnt(tune.text(), pitches=pitches)
    tokens = codec.encode(tune.text())
    assert codec.decode(tokens) == tune.text()
    assert tokens.dtype == np.int32
    assert codec.byte_sizes[tokens].sum() == len(tune.notes)
    other = load_codec(json.loads(json.dumps(codec.describe())), codec.files())
    assert np.array_equal(other.encode(tune.text()), tokens)
    assert other.vocab_size == codec.vocab_size


@settings(max_examples=150, deadline=None)
@given(tune=tunes(step=1))
def test_a_tune_unlike_any_it_has_learnt_still_is_one(tune: Tune) -> None:
    for codec in (learnt(WALTZ), learnt(TWO_VOICES, pitches="absolute"), learnt()):
        text = codec.decode(codec.encode(tune.text()))
        said = parse(text)
        assert said.key == tune.key
        assert len(said.notes) <= len(tune.notes)
        assert codec.decode(codec.encode(text)) == text


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_tokens_become_a_text_that_pushes_alike_and_reads_again(data: st.DataObject) -> None:
    codec = data.draw(st.sampled_from([learnt(WALTZ), learnt(TWO_VOICES, pitches="absolute")]))
    tokens = data.draw(st.lists(st.integers(0, codec.vocab_size - 1), max_size=80))
    decoder = codec.decoder()
    text = codec.decode(tokens)
    assert "".join([decoder.push(token) for token in tokens]) + decoder.flush() == text
    codec.encode(text)


def test_the_tokens_of_a_tune_are_head_bars_starts_and_notes() -> None:
    assert words(learnt(WALTZ), WALTZ) == (
        "tonic_2 mode_minor metre_3/4 bar_4 at_0 pitch_0 length_2 at_2 pitch_3 length_1 at_3 pitch_2 length_1"
        " at_4 pitch_0 length_2 bar_0 bar_0 at_0 pitch_-5 length_12 bar_1"
    )
    assert words(learnt(TWO_VOICES, pitches="absolute"), TWO_VOICES).endswith(
        "bar_1 metre_3/4 at_0 voice_2 pitch_64 length_6 at_2 voice_1 pitch_72 length_4"
    )


@pytest.mark.parametrize(
    ("starts", "grid"), [([0, 24], 1), ([0, 12], 2), ([0, 8], 3), ([0, 6], 4), ([0, 8, 12], 6), ([0, 1], 24)]
)
def test_the_grid_is_the_coarsest_that_holds_nearly_all(starts: list[int], grid: int) -> None:
    bars = " ".join(f"{start}:60:{24 if start != 1 else 23}" for start in starts[-1:])
    text = f"K0:major M4/4 | {bars}" + (" | 0:60:24 24:60:12 36:60:8" if len(starts) == 3 else "")
    assert learnt(text).grid == grid
    assert learnt(text, *["K0:major M4/4 | 0:60:24 24:60:24 48:60:24" for _ in range(99)]).grid == 1


def test_what_cannot_be_said_is_said_as_nearly_as_it_can() -> None:
    codec = learnt("K0:major M3/4 | 0:60:24 24:72:24 | | | M4/4 0:60:12", pitches="absolute")

    def said(text: str) -> str:
        return codec.decode(codec.encode(text))

    assert said("K0:major M3/4 | 0:100:24 24:20:24") == "K0:major M3/4 | 0:76:24 24:56:24"
    assert said("K0:major M3/4 | 0:60:13 13:62:24") == "K0:major M3/4 | 0:60:12 12:62:24"
    assert said("K0:major M3/4 | 0:60:1 1:62:24") == "K0:major M3/4 | 0:60:12 12:62:12"
    assert said("K0:major M6/8 | 0:60:24") == "K0:major M3/4 | 0:60:24"
    assert said("K0:major M5/4 | 0:60:24 96:62:24 |") == "K0:major M3/4 | 0:60:24 | 24:62:24 | |"
    assert said("K0:major M3/4 | | | 0:60:24:3") == "K0:major M3/4 | | |"
    long = "K0:major M3/4 | 0:60:216 | |"
    assert said(long) == "K0:major M3/4 | 0:60:96 | |"


@both
def test_a_part_without_a_head_is_read_in_c(pitches: Pitches) -> None:
    codec = learnt(TWO_VOICES, "K0:major M4/4 | 0:60:24 24:72:24", pitches=pitches)
    for part in (
        "| 0:67:24 | M3/4 0:64:12",
        "0:67:24 24:64:24 | 0:60:24",
        "24:67:24",
        "|",
        "",
        "K0:major M4/4",
    ):
        assert codec.decode(codec.encode(part)) == part
    assert codec.encode("| 0:67:24").tolist() == codec.encode("K0:major M4/4 | 0:67:24").tolist()[3:]


@pytest.mark.parametrize(
    "text",
    ["the sea", "K0:major M4/4 | 0:60", "K12:major M4/4 |", "K0:major | 0:60:24", "| M4/5", "| 0:128:1"],
)
def test_words_that_no_tune_has_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        learnt(WALTZ).encode(text)


@pytest.mark.parametrize("semitones", [-5, 0, 1, 7])
@both
def test_transposed_tokens_are_those_of_the_transposed_tune(pitches: Pitches, semitones: int) -> None:
    codec = learnt(WALTZ, pitches=pitches)
    moved = codec.transposition(semitones)[codec.encode(WALTZ)]
    wanted = parse(WALTZ).transposed(semitones)
    said = parse(codec.decode(moved))
    assert said.key == wanted.key
    gaps = {one.pitch - two.pitch for one, two in zip(said.notes, wanted.notes, strict=True)}
    assert gaps in ({0}, {-12}, {12})
    kept = [token for token in range(codec.vocab_size) if codec.kinds[token] not in (TONIC, PITCH)]
    assert codec.transposition(semitones)[kept].tolist() == kept


def test_a_dataset_of_tunes_gives_them_back(tmp_path: Any) -> None:
    codec = learnt(TWO_VOICES, WALTZ)
    with DatasetWriter(tmp_path, codec) as writer:
        for text in (TWO_VOICES, WALTZ):
            writer.add("train", [text])
        writer.finish({"kind": "melody", "normaliser": Normaliser().model_dump()})
    dataset = Dataset.open(tmp_path)
    assert dataset.text("train", 1) == WALTZ
    assert "".join(dataset.pieces("train")) == DOCUMENT + TWO_VOICES + DOCUMENT + WALTZ
    assert codec.encode(DOCUMENT)[0] == 0


def test_more_tokens_than_allowed_cost_the_longest_metres() -> None:
    codec = learnt(WALTZ, "K0:major M64/1 | 1:60:1", vocab_size=300)
    assert codec.vocab_size <= 300
    assert codec.metres == (Metre(3, 4),)


@pytest.mark.parametrize(
    "change",
    [
        {"pitches": "none"},
        {"grid": 5},
        {"span": [5, 1]},
        {"span": [1]},
        {"metres": []},
        {"metres": [[4, 5]]},
        {"lengths": [0]},
        {"lengths": "a"},
        {"voices": [9]},
        {"voices": []},
    ],
)
def test_a_description_that_makes_no_codec_is_refused_as_damaged(change: dict[str, Any]) -> None:
    with pytest.raises(CorruptFile):
        load_codec({**learnt(WALTZ).describe(), **change}, {})
    with pytest.raises(CorruptFile):
        load_codec({"name": "notes"}, {})


def test_pitches_are_counted_in_one_of_two_ways() -> None:
    with pytest.raises(ValidationError):
        CodecConfig.model_validate({"pitches": "sharp"})
