"""A tune: notes in bars, with a key and a metre; and the text in which a dataset keeps it.

    K7:major M4/4 | 0:67:24 24:69:24 48:71:48 | M3/4 0:72:72:1 0:64:72:2

Key first (pitch class of the tonic, mode), then a metre where it begins or changes, and bars. A note is
`start:pitch:length`, with `:voice` where it is not the first voice's; start is counted from its bar.
Time is counted in ticks, `TICKS` to a quarter note; pitches are MIDI's, 60 is middle C.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

TICKS = 24
"""To a quarter note: thirty-seconds and triplets of sixteenths are whole numbers of them."""
VOICES = 4
"""The most that a tune may have."""
SHARPENED = {
    "major": 0,
    "minor": -3,
    "dorian": -2,
    "phrygian": -4,
    "lydian": 1,
    "mixolydian": -1,
    "locrian": -5,
}
"""How many sharps the signature of each mode has more than that of major on the same tonic."""
MODES = tuple(SHARPENED)
_KEY = re.compile(rf"K(\d{{1,9}}):({'|'.join(MODES)})")
_NUMBER = re.compile(r"\d{1,9}")
"""More digits than any tune needs are no number: Python refuses to read thousands of them."""
_METRE = re.compile(r"M(\d{1,9})/(\d{1,9})")
UNITS = (1, 2, 4, 8, 16, 32)
"""Parts of a whole note that a metre may count."""
MOST_BEATS = 64
"""Of a bar."""
NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
"""The pitch class of each letter."""


class NotATune(ValueError):
    """The text is no tune; the message says what is wrong with it."""


class Key(NamedTuple):
    tonic: int
    """Pitch class: 0 is C, 11 is B."""
    mode: str
    """One of `MODES`."""


class Metre(NamedTuple):
    beats: int
    unit: int
    """4 is a quarter note."""

    @property
    def possible(self) -> bool:
        """Whether a tune may have it."""
        return 1 <= self.beats <= MOST_BEATS and self.unit in UNITS

    @property
    def ticks(self) -> int:
        """The length of a bar."""
        return self.beats * 4 * TICKS // self.unit


class Note(NamedTuple):
    start: int
    """Ticks from the beginning of the tune."""
    length: int
    pitch: int
    voice: int = 1
    """1, the highest, to `VOICES`."""

    @property
    def end(self) -> int:
        return self.start + self.length


@dataclass(frozen=True)
class Tune:
    """Notes stand in the order of their start, then of their voice. A voice sounds one note at a time."""

    key: Key
    metres: tuple[Metre, ...]
    """Of each bar. A tune has as many bars as this, and its notes end within them."""
    notes: tuple[Note, ...]

    def __post_init__(self) -> None:
        """Raises NotATune for what no player could play."""
        if not 0 <= self.key.tonic < 12 or self.key.mode not in MODES:
            raise NotATune(f"there is no key {self.key.tonic}:{self.key.mode}")
        for metre in self.metres:
            if not metre.possible:
                raise NotATune(f"there is no metre {metre.beats}/{metre.unit}")
        if not self.metres:
            raise NotATune("it has no bars")
        end = self.ticks
        sounding: dict[int, int] = {}
        for note in self.notes:
            if not (0 <= note.pitch < 128 and 1 <= note.voice <= VOICES and note.length > 0):
                raise NotATune(f"no note can be {note}")
            if note.start < 0 or note.end > end:
                raise NotATune(f"a note at {note.start} is not within the bars")
            if note.start < sounding.get(note.voice, 0):
                raise NotATune(f"voice {note.voice} sounds two notes at {note.start}")
            sounding[note.voice] = note.end
        if any((one.start, one.voice) >= (two.start, two.voice) for one, two in pairwise(self.notes)):
            raise NotATune("its notes are not in order")

    @property
    def ticks(self) -> int:
        """From the beginning to the last bar line."""
        return sum(metre.ticks for metre in self.metres)

    @property
    def voices(self) -> int:
        """The highest number of a voice."""
        return max((note.voice for note in self.notes), default=1)

    def bar_lines(self) -> list[int]:
        """Where each bar begins, and where the last ends: bars + 1 ticks."""
        lines = [0]
        for metre in self.metres:
            lines.append(lines[-1] + metre.ticks)
        return lines

    def transposed(self, semitones: int) -> Tune:
        """All notes and the key higher by so much.

        Raises:
            NotATune: a pitch leaves MIDI's range.
        """
        notes = tuple(note._replace(pitch=note.pitch + semitones) for note in self.notes)
        return Tune(Key((self.key.tonic + semitones) % 12, self.key.mode), self.metres, notes)

    def text(self) -> str:
        """The tune as a dataset keeps it; `parse` is its inverse."""
        words = [f"K{self.key.tonic}:{self.key.mode}"]
        lines, at, before = self.bar_lines(), 0, None
        for bar, metre in enumerate(self.metres):
            if bar == 0:
                words.append(f"M{metre.beats}/{metre.unit}")
            words.append("|")
            if bar and metre != before:
                words.append(f"M{metre.beats}/{metre.unit}")
            before = metre
            while at < len(self.notes) and self.notes[at].start < lines[bar + 1]:
                note = self.notes[at]
                voice = f":{note.voice}" if note.voice != 1 else ""
                words.append(f"{note.start - lines[bar]}:{note.pitch}:{note.length}{voice}")
                at += 1
        return " ".join(words)


def parse(text: str) -> Tune:
    """The tune that a text of `Tune.text` stands for.

    Raises:
        NotATune: with what is wrong in it.
    """
    words = text.split()
    found = _KEY.fullmatch(words[0]) if words else None
    if found is None:
        raise NotATune("it does not begin with a key, as K0:major")
    key = Key(int(found[1]), found[2])
    metre: Metre | None = None
    metres: list[Metre] = []
    notes: list[Note] = []
    line = 0
    for word in words[1:]:
        if word == "|":
            if metre is None:
                raise NotATune("its first bar has no metre, as M4/4")
            line += metres[-1].ticks if metres else 0
            metres.append(metre)
        elif changed := _METRE.fullmatch(word):
            metre = Metre(int(changed[1]), int(changed[2]))
            if metre.unit not in UNITS:
                raise NotATune(f"there is no metre {word[1:]}")
            if metres:
                metres[-1] = metre
        else:
            notes.append(_note(word, line, within=bool(metres)))
    return Tune(key, tuple(metres), tuple(notes))


def _note(word: str, line: int, *, within: bool) -> Note:
    numbers = word.split(":")
    if not within or not 3 <= len(numbers) <= 4 or not all(map(_NUMBER.fullmatch, numbers)):
        raise NotATune(f"`{word}` is no note in a bar")
    start, pitch, length, *voice = map(int, numbers)
    return Note(line + start, length, pitch, *voice)
