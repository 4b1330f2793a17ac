"""A tune as MIDI, ABC, sound and a picture: other programs read what is written."""

from __future__ import annotations

import io
import stat
import tempfile
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from music21 import converter
from music21 import midi as music21_midi
from PIL import Image
from symusic import Score

from bowerbird.base.errors import UnknownName, UsageError
from bowerbird.data.render import FORMATS, audio, render
from bowerbird.data.render.abc import to_abc
from bowerbird.data.render.audio import TAIL_SECONDS, to_wav
from bowerbird.data.render.midi import to_midi
from bowerbird.data.render.picture import WIDTH, to_png
from bowerbird.data.render.spelling import sharps, spelled, tonic
from bowerbird.data.tune import MODES, TICKS, Key, Metre, Note, Tune, parse

ONE = parse("K7:major M4/4 | 24:67:24 48:71:8 56:72:16 72:73:40 | 24:73:6 30:72:66 | M3/4 0:67:72")
TWO = parse("K0:minor M3/4 | 0:72:72 0:48:36:2 36:51:60:2 | 12:75:12 48:71:24 48:44:24:2 | M6/8 0:72:72")
LONG = Tune(Key(2, "dorian"), (Metre(4, 4),) * 64, tuple(Note(24 * i, 24, 55 + i % 24) for i in range(256)))
TUNES = pytest.mark.parametrize("tune", [ONE, TWO, LONG], ids=["one", "two", "long"])


def read_abc(text: str) -> tuple[Note, ...]:
    score = converter.parseData(text, format="abc")
    notes = []
    for voice, part in enumerate(score.parts, start=1):
        tied = part.stripTies()
        for note in tied.recurse().notes:
            start, length = Fraction(note.getOffsetInHierarchy(tied)), Fraction(note.quarterLength)
            assert (start * TICKS).denominator == (length * TICKS).denominator == 1
            notes.append(Note(int(start * TICKS), int(length * TICKS), note.pitch.midi, voice))
    return tuple(sorted(notes, key=lambda note: (note.start, note.voice)))


@st.composite
def tunes(draw: st.DrawFn) -> Tune:
    key = Key(draw(st.integers(0, 11)), draw(st.sampled_from(MODES)))
    metre = st.builds(Metre, st.integers(1, 9), st.sampled_from([2, 4, 8, 16]))
    metres = tuple(draw(st.lists(metre, min_size=1, max_size=4)))
    # music21 does not see a change of metre within a voice: a bar longer than the first metre it splits, and
    # may lose its ties.
    metres = tuple(sorted(metres, key=lambda each: -each.ticks))
    end = sum(each.ticks for each in metres)
    notes = []
    lengths = st.one_of(st.sampled_from([3, 4, 6, 8, 12, 16, 18, 24, 36, 48, 72, 96]), st.integers(1, 200))
    for voice in range(1, draw(st.integers(1, 3)) + 1):
        # A run of neighbours is where accidentals meet.
        at, centre = 0, draw(st.integers(30, 100))
        while at < end and len(notes) < 60:
            length = min(draw(lengths), end - at)
            if draw(st.integers(0, 5)):
                notes.append(Note(at, length, centre + draw(st.integers(-6, 13)), voice))
            at += length
    return Tune(key, metres, tuple(sorted(notes, key=lambda note: (note.start, note.voice))))


@TUNES
def test_symusic_reads_the_midi(tune: Tune) -> None:
    score = Score.from_midi(to_midi(tune, tempo=90))
    assert score.ticks_per_quarter == TICKS
    read = [
        Note(note.time, note.duration, note.pitch, voice)
        for voice, track in enumerate(score.tracks, start=1)
        for note in track.notes
    ]
    assert sorted(read, key=lambda note: (note.start, note.voice)) == list(tune.notes)
    assert [round(tempo.qpm, 3) for tempo in score.tempos] == [90]
    assert [signature.key for signature in score.key_signatures] == [sharps(tune.key)]
    metres = [(each.time, each.numerator, each.denominator) for each in score.time_signatures]
    lines = tune.bar_lines()
    changes = [bar for bar, metre in enumerate(tune.metres) if not bar or metre != tune.metres[bar - 1]]
    assert metres == [(lines[bar], *tune.metres[bar]) for bar in changes]


@TUNES
def test_every_midi_track_ends_at_the_last_bar_line(tune: Tune) -> None:
    file = music21_midi.MidiFile()
    file.readstr(to_midi(tune))
    assert file.format == 1
    assert len(file.tracks) == 1 + tune.voices
    for track in file.tracks:
        assert sum(event.time for event in track.events if event.isDeltaTime()) == tune.ticks


@TUNES
def test_music21_reads_the_abc(tune: Tune) -> None:
    assert read_abc(to_abc(tune, "A tune")) == tune.notes


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(tunes())
def test_music21_reads_any_abc(tune: Tune) -> None:
    assert read_abc(to_abc(tune)) == tune.notes


def test_abc_is_what_a_musician_would_write() -> None:
    assert to_abc(ONE, "A  tune\nK:100%", number=3, tempo=96.4) == (
        "%abc-2.1\nX:3\nT:A tune K:100\\%\nM:4/4\nL:1/8\nQ:1/4=96\nK:G\n"
        "z2 G2 (3:2:2Bc2 ^c2- | (3:2:2^c2z c/2=c3/2-c4 | [M:3/4] G6 |]\n"
    )


def test_abc_bars_are_whole_in_every_voice() -> None:
    text = to_abc(TWO)
    assert "V:1 clef=treble\nc6 | " in text
    assert "V:2 clef=bass\nC,3E,3- | E,2 z2 A,,2 | [M:6/8] z6 |]" in text


@pytest.mark.parametrize(
    ("key", "name", "signature"),
    [
        (Key(0, "major"), "C", 0),
        (Key(6, "minor"), "F#", 3),
        (Key(3, "minor"), "Eb", -6),
        (Key(6, "major"), "Gb", -6),
        (Key(10, "major"), "Bb", -2),
        (Key(8, "dorian"), "G#", None),
        (Key(11, "locrian"), "B", 0),
        (Key(1, "phrygian"), "C#", 3),
        (Key(5, "lydian"), "F", 0),
        (Key(7, "mixolydian"), "G", 0),
    ],
)
def test_keys_have_their_usual_names(key: Key, name: str, signature: int | None) -> None:
    if signature is not None:
        assert (tonic(key), sharps(key)) == (name, signature)
    assert abs(sharps(key)) <= 6


def test_every_pitch_is_spelled_as_itself() -> None:
    naturals = dict(zip("CDEFGAB", (0, 2, 4, 5, 7, 9, 11), strict=True))
    for signature in range(-6, 6):
        for pitch in range(128):
            letter, raised, octave = spelled(pitch, signature)
            assert 12 * (octave + 1) + naturals[letter] + raised == pitch
    assert [spelled(pitch, 0)[0] for pitch in (60, 61, 63, 66, 68, 70)] == list("CCEFGB")
    assert spelled(71, -6) == ("C", -1, 5)


def test_sound_is_a_mono_wav_of_the_tunes_length() -> None:
    with wave.open(io.BytesIO(to_wav(ONE, tempo=240, sample_rate=16000))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 16000)
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(samples) == round((ONE.ticks / TICKS * 60 / 240 + TAIL_SECONDS) * 16000)
    assert 20000 < np.abs(samples.astype(int)).max() < 32767
    quarter = 16000 // 4
    assert not samples[: quarter - 10].any(), "the tune begins with a rest"
    spectrum = np.abs(np.fft.rfft(samples[quarter : 2 * quarter] * np.hanning(quarter)))
    heard = spectrum.argmax() * 16000 / quarter
    assert heard == pytest.approx(440 * 2 ** ((67 - 69) / 12), abs=4)


def test_sound_of_nothing_is_silence() -> None:
    silent = Tune(Key(0, "major"), (Metre(4, 4),), ())
    with wave.open(io.BytesIO(to_wav(silent))) as file:
        assert not any(file.readframes(file.getnframes()))


FLUIDSYNTH = """#!{python}
import sys, wave
assert open(sys.argv[-1], "rb").read(4) == b"MThd" and sys.argv[-2].endswith("a.sf2")
if {fails}:
    sys.exit(1)
file = wave.open(sys.argv[sys.argv.index("-F") + 1], "wb")
file.setnchannels(2), file.setsampwidth(2), file.setframerate(int(sys.argv[sys.argv.index("-r") + 1]))
file.writeframes(b"\\x00\\x10\\x00\\x10" * 1000)
"""


@pytest.mark.parametrize("fails", [False, True])
def test_fluidsynth_plays_where_it_is_installed(
    fails: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    plain = to_wav(ONE)
    program = tmp_path / "fluidsynth"
    program.write_text(FLUIDSYNTH.format(python=sys.executable, fails=fails))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "a.sf2").touch()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(audio, "FONTS", tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    played = to_wav(ONE)
    assert len(played) == len(plain)
    assert (played == plain) == fails
    assert not list((tmp_path / "temporary").iterdir())


@TUNES
def test_picture_is_bounded_and_has_a_colour_for_each_voice(tune: Tune) -> None:
    image = Image.open(io.BytesIO(to_png(tune)))
    assert image.format == "PNG"
    assert image.width <= WIDTH
    colours = {colour for _, colour in image.getcolors(1 << 16) or []}
    assert ((0x2F, 0x6D, 0xB5) in colours, (0xD1, 0x60, 0x3D) in colours) == (True, tune.voices > 1)


def test_a_picture_of_much_is_still_a_picture() -> None:
    wide = Tune(Key(0, "major"), (Metre(64, 1),) * 3, (Note(0, 1, 0), Note(5, 6000, 127)))
    tall = Tune(Key(0, "major"), (Metre(4, 4),) * 3000, (Note(0, 1, 0), Note(5, 6000, 127)))
    empty = Tune(Key(0, "major"), (Metre(1, 32),), ())
    for tune in (wide, tall, empty):
        image = Image.open(io.BytesIO(to_png(tune)))
        assert image.width <= WIDTH
        assert image.height <= 16000


def test_the_shelf_renders_each_format() -> None:
    begins = {"mid": b"MThd", "abc": b"%abc-2.1\nX:1\nT:Hey\n", "wav": b"RIFF", "png": b"\x89PNG"}
    assert set(begins) == set(FORMATS)
    for suffix, begin in begins.items():
        assert render(ONE, suffix, title="Hey").startswith(begin)
        assert render(ONE, "." + suffix.upper()).startswith(begin[:3])
    with pytest.raises(UnknownName, match="no format called `mp3`"):
        render(ONE, ".mp3")


@pytest.mark.parametrize("suffix", ["mid", "abc", "wav"])
@pytest.mark.parametrize("tempo", [0, -3, 1e9, float("nan")])
def test_an_impossible_tempo_is_refused(suffix: str, tempo: float) -> None:
    with pytest.raises(UsageError, match="tempo"):
        render(ONE, suffix, tempo=tempo)


def test_too_long_a_sound_and_a_wrong_rate_are_refused() -> None:
    with pytest.raises(UsageError, match="would sound for"):
        to_wav(Tune(LONG.key, LONG.metres * 100, LONG.notes))
    with pytest.raises(UsageError, match="samples a second"):
        to_wav(ONE, sample_rate=10)
