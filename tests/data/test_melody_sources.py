"""Melodies: MIDI, ABC and scores become tunes with the right notes, bars, metre, key and voices."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from bowerbird.base.errors import UsageError
from bowerbird.data.item import Item, Rejected
from bowerbird.data.keys import estimate, key_of, signed
from bowerbird.data.sources.bars import Measure, grid
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.lines import Sound, skyline, split
from bowerbird.data.sources.source import GatherConfig
from bowerbird.data.tune import Key, Metre, Note, Tune, parse

SCALE = (60, 62, 64, 65, 67, 69, 71, 72)


def found(path: Path | str, notes: list[str] | None = None, **settings: object) -> list[Item | Rejected]:
    config = GatherConfig.model_validate(settings)
    return list(gather([str(path)], config, None if notes is None else notes.append, kind="melody"))


def tunes(path: Path | str, notes: list[str] | None = None, **settings: object) -> list[Tune]:
    items = found(path, notes, **settings)
    assert all(isinstance(item, Item) for item in items), items
    return [parse(item.content) for item in items if isinstance(item, Item)]


def midi(path: Path, *tracks: tuple[str, list[tuple[int, int, int]]], **signs: object) -> Path:
    """Tracks of (start, length, pitch) in ticks of 480 to a quarter."""
    symusic = pytest.importorskip("symusic")
    score = symusic.Score(480)
    for name, notes in tracks:
        track = symusic.Track(name, is_drum=name == "drums")
        for start, length, pitch in notes:
            track.notes.append(symusic.Note(start, length, pitch, 80))
        score.tracks.append(track)
    for at, beats, unit in signs.get("metres", ()):  # type: ignore[attr-defined]
        score.time_signatures.append(symusic.TimeSignature(at, beats, unit))
    if "key" in signs:
        score.key_signatures.append(symusic.KeySignature(0, *signs["key"]))  # type: ignore[misc]
    path.write_bytes(score.dumps_midi())
    return path


def line(*pitches: int, each: int = 480, start: int = 0) -> list[tuple[int, int, int]]:
    return [(start + number * each, each, pitch) for number, pitch in enumerate(pitches)]


# MIDI


def test_a_midi_melody(tmp_path: Path):
    path = midi(tmp_path / "a.mid", ("", line(*SCALE)), metres=[(0, 3, 4)], key=(0, 0))
    (tune,) = tunes(path)
    assert tune.key == Key(0, "major")
    assert tune.metres == (Metre(3, 4),) * 3
    assert [note.start for note in tune.notes] == [24 * n for n in range(8)]
    assert tuple(note.pitch for note in tune.notes) == SCALE


def test_a_signature_that_the_notes_deny_is_not_believed(tmp_path: Path):
    path = midi(tmp_path / "a.mid", ("", line(*(pitch + 6 for pitch in SCALE))), key=(0, 0))
    assert tunes(path)[0].key == Key(6, "major")


def test_a_change_of_metre_and_empty_bars_at_the_ends(tmp_path: Path):
    path = midi(tmp_path / "a.mid", ("", line(*SCALE, start=1920)), metres=[(0, 4, 4), (3840, 2, 4)])
    (tune,) = tunes(path)
    assert tune.metres == (Metre(4, 4), Metre(2, 4), Metre(2, 4))
    assert tune.notes[0].start == 0


def test_the_melody_among_tracks_is_chosen_and_drums_are_not(tmp_path: Path):
    chords = [(n * 960, 960, pitch) for n in range(16) for pitch in (48, 52, 55)]
    path = midi(
        tmp_path / "a.mid",
        ("drums", line(*[38] * 64)),
        ("Piano", chords),
        ("Melody", line(*SCALE * 2)),
    )
    (tune,) = tunes(path)
    assert tune.voices == 1
    assert tuple(note.pitch for note in tune.notes) == SCALE * 2


def test_chords_give_their_top_line_or_as_many_voices_as_asked(tmp_path: Path):
    chords = [(n * 480, 480, pitch) for n, top in enumerate(SCALE) for pitch in (top, top - 4, top - 7)]
    path = midi(tmp_path / "a.mid", ("Piano", chords))
    notes: list[str] = []
    (tune,) = tunes(path, notes)
    assert tuple(note.pitch for note in tune.notes) == SCALE
    assert notes == [f"{path}: the top notes of `Piano` are kept, 16 under them are not"]
    (tune,) = tunes(path, voices=3)
    for voice, below in ((1, 0), (2, 4), (3, 7)):
        assert tuple(note.pitch + below for note in tune.notes if note.voice == voice) == SCALE


def test_single_lines_of_like_weight_are_voices(tmp_path: Path):
    low = [pitch - 12 for pitch in SCALE]
    path = midi(tmp_path / "a.mid", ("b", line(*low)), ("s", line(*SCALE)))
    (tune,) = tunes(path)
    assert tune.voices == 2
    assert tuple(note.pitch for note in tune.notes if note.voice == 1) == SCALE
    assert tunes(path, voices=1)[0].voices == 1


def test_notes_that_reach_into_the_next_are_cut(tmp_path: Path):
    path = midi(tmp_path / "a.mid", ("", [(n * 480, 540, pitch) for n, pitch in enumerate(SCALE[::-1])]))
    assert [note.length for note in tunes(path)[0].notes] == [24] * 7 + [27]


# ABC


BOOK = """Some words about this book.

X:7
T:Pick-up
M:6/8
L:1/8
K:Ador
"Am"e|{d}A2B c2d|(3efg a g2:|
|:e|A3 B3|c3 A2:|

Words between tunes: A B C D.

X:12
T:Two metres
M:C
L:1/4
K:Bb
BAGF|-F4|[M:3/4]B2d|b3|]
"""


def test_a_tune_book(tmp_path: Path):
    (tmp_path / "book.abc").write_text(BOOK)
    items = found(tmp_path / "book.abc")
    assert [item.origin for item in items] == [
        f"{tmp_path}/book.abc#X:7 Pick-up",
        f"{tmp_path}/book.abc#X:12 Two metres",
    ]
    one, two = tunes(tmp_path / "book.abc")
    assert one.key == Key(9, "dorian")
    assert set(one.metres) == {Metre(6, 8)}
    assert one.notes[0] == Note(60, 12, 76)
    assert one.notes[1].start == 72
    assert {note.start for note in one.notes} >= set(one.bar_lines()[1:-1])
    assert two.key == Key(10, "major")
    assert two.metres == (Metre(4, 4), Metre(4, 4), Metre(3, 4), Metre(3, 4))


def test_an_accidental_holds_to_the_end_of_its_bar(tmp_path: Path):
    (tmp_path / "a.abc").write_text("X:1\nM:4/4\nL:1/4\nK:C\n^F G F =F | F ^c c2 |]\n")
    [tune] = tunes(tmp_path)
    assert [note.pitch for note in tune.notes] == [66, 67, 66, 65, 65, 73, 73]


def test_abc_in_an_archive_beside_a_text(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as packed:
        packed.writestr("a.txt", "words")
        packed.writestr("b.abc", BOOK)
    refused, *items = found(tmp_path / "a.zip")
    assert isinstance(refused, Rejected)
    assert refused.reason.startswith("unsupported file type .txt")
    assert len(items) == 2


# Scores


def test_a_score_of_two_voices(tmp_path: Path):
    music21 = pytest.importorskip("music21")
    score = music21.stream.Score()
    for name, shift in (("Low", -12), ("High", 0)):
        part = music21.stream.Part()
        part.partName = name
        part.append([music21.meter.TimeSignature("3/4"), music21.key.KeySignature(1)])
        for pitch in (67, 69, 71, 72, 74):
            part.append(music21.note.Note(pitch + shift, quarterLength=2))
        score.insert(0, part)
    xml = music21.musicxml.m21ToXml.GeneralObjectExporter(score).parse()
    (tmp_path / "a.musicxml").write_bytes(xml)
    with zipfile.ZipFile(tmp_path / "b.mxl", "w") as packed:
        packed.writestr("b.xml", xml)
    one, two = tunes(tmp_path)
    assert one == two
    assert one.key == Key(7, "major")
    assert set(one.metres) == {Metre(3, 4)}
    upper = [note for note in one.notes if note.voice == 1]
    assert [(note.start, note.length, note.pitch) for note in upper] == [
        (48 * n, 48, pitch) for n, pitch in enumerate((67, 69, 71, 72, 74))
    ]


def test_a_kern_score(tmp_path: Path):
    rows = ["**kern", "*M2/4", "*k[f#]", "*G:", "=1", "4g", "4a", "=2", "[4b", "4b]", "=3", "4g", "4d", "=="]
    (tmp_path / "a.krn").write_text("\n".join([*rows, "*-", ""]))
    (tune,) = tunes(tmp_path / "a.krn")
    assert [(note.pitch, note.length) for note in tune.notes] == [
        (67, 24),
        (69, 24),
        (71, 48),
        (67, 24),
        (62, 24),
    ]
    assert tune.metres == (Metre(2, 4),) * 3


# Demo sources


@pytest.mark.parametrize(("name", "voices"), [("demo:tunes", 1), ("demo:chorales", 4)])
def test_a_demo_source_begins_with_tunes(name: str, voices: int):
    pytest.importorskip("music21")
    items = gather([name], GatherConfig(), kind="melody")
    first = next(item for item in items if isinstance(item, Item))
    assert first.origin.startswith(f"{name}#")
    assert first.licence == "public domain"
    assert parse(first.content).voices == voices


def test_a_demo_source_of_another_kind_is_refused():
    with pytest.raises(UsageError, match="demo:tunes is for melody"):
        gather(["demo:tunes"], GatherConfig())


# Parts


def test_short_bars_that_fill_one_are_one():
    full = Metre(2, 4)
    starts = [0, 12, 60, 96, 108, 156]
    lengths = [12, 48, 36, 12, 48, 36]
    opens = [False, False, False, True, False, False]
    metres, placed = grid(
        [
            Measure(start, length, full, open_)
            for start, length, open_ in zip(starts, lengths, opens, strict=True)
        ]
    )
    assert metres == [full] * 5
    assert [placed(start) for start in starts] == [36, 48, 96, 132, 144, 192]


def test_a_pick_up_to_a_repeat_that_fills_no_bar_is_silent_before():
    full = Metre(4, 4)
    measures = [Measure(0, 96, full), Measure(96, 24, full, True), Measure(120, 96, full)]
    metres, placed = grid(measures)
    assert len(metres) == 3
    assert [placed(time) for time in (0, 96, 120)] == [0, 96 + 72, 192]


def test_skyline_and_split():
    sounds = [Sound(0, 24, 72), Sound(0, 48, 60), Sound(24, 48, 74), Sound(24, 36, 50)]
    assert skyline(sounds) == [Sound(0, 24, 72), Sound(24, 48, 74)]
    assert split(sounds, 2)[0] == [Sound(0, 24, 72), Sound(24, 48, 74)]


def test_keys():
    assert estimate([5, 0, 3, 0, 4, 3, 0, 5, 0, 3, 0, 2]) == Key(0, "major")
    assert signed(-1, "dorian") == Key(7, "dorian")
    assert signed(2, "aeolian") == Key(11, "minor")
    assert signed(2, "unheard of") is None
    minor = [Note(24 * n, 24, pitch) for n, pitch in enumerate((69, 72, 76, 69, 68, 69))]
    assert key_of(minor, 0) == Key(9, "minor")
