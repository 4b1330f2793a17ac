"""Texts that music21 reads. Repeats stay as they are written; what sounds twice stands once.

Grace notes and chord symbols are dropped, ties joined. Transposing instruments stay as written.
"""

from __future__ import annotations

import io
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr
from typing import Any

from bowerbird.base.errors import MissingExtra
from bowerbird.data.sources.bars import Measure, Music, Signature
from bowerbird.data.sources.lines import Part, Sound
from bowerbird.data.sources.source import Unusable
from bowerbird.data.tune import TICKS, Metre

_QUIET = threading.Lock()
"""Warnings and stderr are the process's: of two threads, one could leave them silent for ever."""


@contextmanager
def _quiet() -> Iterator[None]:
    """music21 has much to say about scores, none of it to our user."""
    with _QUIET, warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def music_of(text: str, reader: str, noun: str, damage: str) -> Music:
    """What a text says to music21's converter of this name; `damage` is what to call one it cannot read.

    Raises:
        Unusable: with what is wrong in it.
        MissingExtra: music21 is not installed.
    """
    with _quiet():
        try:
            from music21 import converter
        except ImportError:
            raise MissingExtra(f"reading {noun}", "music") from None
        reading: Any = getattr(converter.subConverters, reader)()
        try:
            reading.parseData(text)
            return _music(reading.stream)
        except Unusable:
            raise
        except Exception as error:  # It fails in as many ways as there are mistakes in scores.
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise Unusable(f"{damage}: {detail}") from None


def _music(score: Any) -> Music:
    if "Opus" in score.classes:
        raise Unusable("several scores in one file")
    parts = list(score.parts) or [score]
    if not any(len(part.getElementsByClass("Measure")) for part in parts):
        parts = [part.makeMeasures() for part in parts]
    leader = max(parts, key=lambda part: len(part.getElementsByClass("Measure")))
    measures, signature = _measures(leader)
    return Music([line for part in parts for line in _lines(part)], measures, signature)


def _ticks(quarters: Any) -> int:
    return round(float(quarters) * TICKS)


def _measures(part: Any) -> tuple[list[Measure], Signature]:
    metre = Metre(4, 4)
    signature = Signature()
    bars = list(part.getElementsByClass("Measure"))
    starts = [_ticks(bar.offset) for bar in bars]
    starts.append(starts[-1] + _ticks(bars[-1].duration.quarterLength) if bars else 0)
    found = []
    for bar, start, after in zip(bars, starts, starts[1:], strict=False):
        opens = False
        for element in bar:
            classes = element.classes
            if "TimeSignature" in classes:
                metre = Metre(int(element.numerator), int(element.denominator))
            elif "KeySignature" in classes and signature.fifths is None and element.sharps is not None:
                signature = Signature(element.sharps, getattr(element, "mode", None))
            elif "Repeat" in classes:
                opens = opens or element.direction == "start"
        if not metre.possible:
            raise Unusable(f"there is no metre {metre.beats}/{metre.unit}")
        found.append(Measure(start, after - start, metre, opens))
    return found, signature


def _lines(part: Any) -> list[Part]:
    """The part, or each voice that is written on its staff."""
    found: dict[int, _Line] = {}
    for bar in part.getElementsByClass("Measure"):
        voices = list(bar.voices)
        for number, voice in enumerate(voices or [bar]):
            line = found.setdefault(number, _Line())
            offset = bar.offset + (voice.offset if voices else 0)
            line.add(list(voice), offset)
        if voices:
            found[0].add([element for element in bar if element not in voices], bar.offset)
    name = str(getattr(part, "partName", None) or "")
    return [Part(name, line.sounds) for line in found.values()]


class _Line:
    """Sounds with their ties joined."""

    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self._tied: dict[int, int] = {}
        """pitch: which of the sounds waits to be held on"""

    def add(self, elements: Sequence[Any], offset: Any) -> None:
        for element in elements:
            classes = element.classes
            if "Harmony" in classes or not ("Note" in classes or "Chord" in classes):
                continue
            if element.duration.isGrace or not element.duration.quarterLength:
                continue
            start = _ticks(offset + element.offset)
            end = max(_ticks(offset + element.offset + element.duration.quarterLength), start + 1)
            for note in element.notes if "Chord" in classes else [element]:
                pitch = math.floor(note.pitch.ps + 0.5)  # `midi` would move it into range by octaves
                self._sound(Sound(start, end, pitch), note.tie or element.tie)

    def _sound(self, sound: Sound, tie: Any) -> None:
        at = self._tied.pop(sound.pitch, None)
        held = tie is not None and tie.type in ("stop", "continue")
        if at is not None and held and abs(self.sounds[at].end - sound.start) <= 1:
            self.sounds[at] = self.sounds[at]._replace(end=sound.end)
        else:
            at = len(self.sounds)
            self.sounds.append(sound)
        if tie is not None and tie.type in ("start", "continue"):
            self._tied[sound.pitch] = at
