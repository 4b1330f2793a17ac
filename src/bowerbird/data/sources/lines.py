"""Which notes of a piece are its melody, or its voices, each sounding one note at a time."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Literal, NamedTuple

from bowerbird.data.sources.source import Unusable
from bowerbird.data.tune import VOICES

_MELODY = re.compile(r"melod|lead|voc|voice|sing|sopran|cant|tune|solo", re.IGNORECASE)
_BACKING = re.compile(r"bass|drum|pad|string|chord|accomp|rhythm|perc|harmon", re.IGNORECASE)
_ALONE = 0.95
"""From this share of notes that overlap no other, a part counts as a single line."""
_LEGATO = 3
"""Ticks that a note may always reach into the next one and still be one line with it."""


class Sound(NamedTuple):
    start: int
    end: int
    pitch: int


@dataclass(frozen=True)
class Part:
    name: str
    sounds: list[Sound]


def lines(
    parts: Sequence[Part], voices: Literal["auto"] | int, note: Callable[[str], None]
) -> list[list[Sound]]:
    """The melody, or the voices from the highest down.

    `auto` keeps 2 to `VOICES` parts that are single lines of like weight, as of a chorale; else the melody.

    Raises:
        Unusable: there are no notes.
    """
    parts = [Part(part.name, _detached(part.sounds)) for part in parts if part.sounds]
    if not parts:
        raise Unusable("no notes in it")
    counts = [len(part.sounds) for part in parts]
    if voices == "auto":
        choir = 2 <= len(parts) <= VOICES and 4 * min(counts) >= max(counts)
        voices = len(parts) if choir and all(_alone(part) >= _ALONE for part in parts) else 1
    if voices == 1:
        best = max(parts, key=lambda part: _likeness(part, max(counts)))
        return [_top(best, note)]
    if len(parts) < voices and any(_alone(part) < _ALONE for part in parts):
        return split([sound for part in parts for sound in part.sounds], voices)
    kept = sorted(parts, key=lambda part: -len(part.sounds))[:voices]
    return [_top(part, note) for part in sorted(kept, key=lambda part: -_height(part))]


def skyline(sounds: Sequence[Sound]) -> list[Sound]:
    """The highest note at each time; a lower one that begins under it is left out."""
    line: list[Sound] = []
    for sound in sorted(sounds, key=lambda sound: (sound.start, -sound.pitch)):
        if line and sound.start < line[-1].end:
            if sound.pitch <= line[-1].pitch:
                continue
            line[-1] = line[-1]._replace(end=sound.start)
        line.append(sound)
    return line


def split(sounds: Sequence[Sound], voices: int) -> list[list[Sound]]:
    """Voices of a chordal part from the highest down: each note goes to the nearest one that is free.

    Where more notes sound than there are voices, the lower of those that begin are left out.
    """
    lowest, highest = min(sound.pitch for sound in sounds), max(sound.pitch for sound in sounds)
    near = [highest - (highest - lowest) * voice / max(voices - 1, 1) for voice in range(voices)]
    found: list[list[Sound]] = [[] for _ in range(voices)]
    ordered = sorted(sounds, key=lambda sound: (sound.start, -sound.pitch))
    for start, together in groupby(ordered, key=lambda sound: sound.start):
        free = [voice for voice in range(voices) if not found[voice] or found[voice][-1].end <= start]
        chord = list(together)[: len(free)]
        taken = min(
            combinations(free, len(chord)),
            key=lambda some: sum(abs(near[v] - sound.pitch) for v, sound in zip(some, chord, strict=True)),
        )
        for voice, sound in zip(taken, chord, strict=True):
            found[voice].append(sound)
            near[voice] = sound.pitch
    return [line for line in found if line]


def _top(part: Part, note: Callable[[str], None]) -> list[Sound]:
    line = skyline(part.sounds)
    if dropped := len(part.sounds) - len(line):
        name = f"`{part.name}`" if part.name else "a part"
        note(f"the top notes of {name} are kept, {dropped} under them are not")
    return line


def _detached(sounds: Sequence[Sound]) -> list[Sound]:
    """Without doubles, and each note cut that reaches a little into the next."""
    ordered = sorted(set(sounds))
    result: list[Sound] = []
    following = None  # the first start later than this one
    for at in range(len(ordered) - 1, -1, -1):
        sound = ordered[at]
        if at + 1 < len(ordered) and ordered[at + 1].start > sound.start:
            following = ordered[at + 1].start
        if following is not None and 0 < sound.end - following <= max(
            _LEGATO, (sound.end - sound.start) // 4
        ):
            sound = sound._replace(end=following)
        result.append(sound)
    return result[::-1]


def _alone(part: Part) -> float:
    """The share of notes in the top line."""
    return len(skyline(part.sounds)) / len(part.sounds)


def _height(part: Part) -> float:
    return sum(sound.pitch for sound in part.sounds) / len(part.sounds)


def _likeness(part: Part, most: int) -> float:
    """How like a melody a part is: its name, one note at a time, many notes, high ones."""
    named = 2.0 * bool(_MELODY.search(part.name)) - 1.5 * bool(_BACKING.search(part.name))
    high = max(-1.0, min(1.0, (_height(part) - 60) / 24))
    return named + _alone(part) + 0.5 * math.sqrt(len(part.sounds) / most) + 0.5 * high
