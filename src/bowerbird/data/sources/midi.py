"""MIDI files (.mid, .midi): the melody or the voices, in the file's own bars."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from bowerbird.base.errors import MissingExtra
from bowerbird.data.item import Item
from bowerbird.data.sources.bars import Measure, Music, Signature, tune_of
from bowerbird.data.sources.lines import Part, Sound
from bowerbird.data.sources.parts import whole
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable
from bowerbird.data.tune import TICKS, Metre

MOST_BYTES = 8 << 20
MOST_MINUTES = 30
SLOWEST, FASTEST = 5, 1000
"""Quarter notes a minute."""


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    music = music_of(whole(opened, MOST_BYTES))
    yield Item(tune_of(music, config.voices, opened.tell).text(), opened.origin)


def music_of(content: bytes) -> Music:
    """The pitched tracks of a file, and its bars.

    Raises:
        Unusable: with what is wrong in it.
        MissingExtra: symusic is not installed.
    """
    _check(content)
    try:
        from symusic import Score
    except ImportError:
        raise MissingExtra("reading MIDI", "music") from None
    try:
        score: Any = Score.from_midi(content)
    except Exception as error:
        detail = " ".join(str(error).split())[:120]
        raise Unusable(f"a damaged MIDI file: {detail}") from None
    tracks = [track for track in score.tracks if len(track.notes)]
    if not tracks:
        raise Unusable("no notes in it")
    pitched = [track for track in tracks if not track.is_drum]
    if not pitched:
        raise Unusable("percussion only")
    if any(note.time < 0 or note.duration < 0 for track in pitched for note in track.notes):
        raise Unusable("a note at a negative time")
    end = max(note.time + note.duration for track in tracks for note in track.notes)
    _check_time(score, end)
    per_quarter = int(score.ticks_per_quarter)

    def ticks(time: int) -> int:
        return (2 * time * TICKS + per_quarter) // (2 * per_quarter)

    parts = [
        Part(
            str(track.name).strip()[:80],
            [
                Sound(
                    ticks(note.time), max(ticks(note.time + note.duration), ticks(note.time) + 1), note.pitch
                )
                for note in track.notes
            ],
        )
        for track in pitched
    ]
    changes = [(ticks(sign.time), Metre(sign.numerator, sign.denominator)) for sign in score.time_signatures]
    return Music(parts, _measures(changes, ticks(end)), _signature(score))


def _check(content: bytes) -> None:
    """Whether these are the chunks of a MIDI file, before a parser sees them."""
    if not content.startswith(b"MThd"):
        raise Unusable("not a MIDI file, for all its name")
    if len(content) < 14:
        raise Unusable("a truncated MIDI file")
    division = int.from_bytes(content[12:14])
    if division & 0x8000:
        raise Unusable("its time is counted in film frames, not in beats")
    if not division:
        raise Unusable("it has no ticks in a quarter note")
    at = 8 + int.from_bytes(content[4:8])
    promised, tracks = int.from_bytes(content[10:12]), 0
    while at + 8 <= len(content) and tracks < promised:
        size = int.from_bytes(content[at + 4 : at + 8])
        if at + 8 + size > len(content):
            raise Unusable("a truncated MIDI file")
        tracks += content[at : at + 4] == b"MTrk"
        at += 8 + size
    if tracks < promised:
        raise Unusable("a truncated MIDI file")


def _check_time(score: Any, end: int) -> None:
    """Refuses a tempo that nobody plays, and a piece that takes hours."""
    changes = sorted((max(tempo.time, 0), tempo.mspq) for tempo in score.tempos if tempo.time <= end)
    if not changes or changes[0][0] > 0:
        changes.insert(0, (0, 500_000))
    for _, micros in changes:
        if not 60e6 / FASTEST <= micros <= 60e6 / SLOWEST:
            tempo = f"{60e6 / micros:.0f}" if micros > 0 else "0 microseconds a beat, no"
            raise Unusable(f"an absurd tempo: {tempo} beats a minute")
    spans = pairwise([*changes, (end, 0)])
    minutes = (
        sum((after - at) * micros for (at, micros), (after, _) in spans) / score.ticks_per_quarter / 60e6
    )
    if minutes > MOST_MINUTES:
        raise Unusable(f"it lasts {minutes:.0f} minutes, more than {MOST_MINUTES}")


def _measures(changes: list[tuple[int, Metre]], end: int) -> list[Measure]:
    """The bars of a file up to its end, 4/4 until it says otherwise."""
    marks = dict(sorted(changes))
    marks.setdefault(0, Metre(4, 4))
    for metre in marks.values():
        if not metre.possible:
            raise Unusable(f"there is no metre {metre.beats}/{metre.unit}")
    found: list[Measure] = []
    for (at, metre), (after, _) in pairwise([*sorted(marks.items()), (max(end, 1), Metre(4, 4))]):
        for line in range(at, after, metre.ticks):
            last = line + metre.ticks >= after
            found.append(Measure(line, after - line if last and after < end else metre.ticks, metre))
    return found


def _signature(score: Any) -> Signature:
    first = next(iter(score.key_signatures), None)
    if first is None or not -7 <= first.key <= 7:
        return Signature()
    return Signature(first.key, "minor" if first.tonality == 1 else "major")


MIDI = Source("MIDI", (".mid", ".midi"), read, "melody")
