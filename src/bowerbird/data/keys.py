"""The key of notes: the one a signature names where they agree with it, else the likeliest.

The estimate is Krumhansl and Schmuckler's: the time that each pitch class sounds is correlated with the
profiles of Krumhansl and Kessler (C. L. Krumhansl, Cognitive Foundations of Musical Pitch, 1990, chapter 4).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from bowerbird.data.tune import SHARPENED, Key, Note

_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}
_SAME = {"ionian": "major", "aeolian": "minor"}
_SCALE = (0, 2, 4, 5, 7, 9, 11)
_BELIEVED = 0.75
"""The least of the sounding time that must lie in the scale of a signature."""


def signed(fifths: int, mode: str) -> Key | None:
    """The key of so many sharps (flats below 0) in a mode; None for a mode that there is not."""
    mode = _SAME.get(mode, mode)
    return Key(7 * (fifths - SHARPENED[mode]) % 12, mode) if mode in SHARPENED else None


def sounding(notes: Iterable[Note]) -> list[int]:
    """How many ticks each pitch class sounds."""
    time = [0] * 12
    for note in notes:
        time[note.pitch % 12] += note.length
    return time


def estimate(time: Sequence[int], among: Sequence[Key] = ()) -> Key:
    """The key that correlates best with the time each pitch class sounds, among those given or all 24."""
    if among:
        return max(among, key=lambda key: _correlation(time, key))
    return max(
        (Key(tonic, mode) for mode in _PROFILES for tonic in range(12)),
        key=lambda key: _correlation(time, key),
    )


def _correlation(time: Sequence[int], key: Key) -> float:
    if len(set(time)) == 1:
        return 0.0
    return float(np.corrcoef(np.roll(_PROFILES[key.mode], key.tonic), time)[0, 1])


def key_of(notes: Sequence[Note], fifths: int | None = None, mode: str | None = None) -> Key:
    """The key of a tune with this signature, if it has one.

    Without a mode it is the likelier of the signature's major and minor key. A signature outside whose
    scale more than a quarter of the time lies is not believed: many MIDI files say C major and are not.
    """
    time = sounding(notes)
    if fifths is None or not _agrees(time, fifths):
        return estimate(time)
    named = signed(fifths, mode) if mode else None
    return named or estimate(time, [key for mode in _PROFILES if (key := signed(fifths, mode))])


def _agrees(time: Sequence[int], fifths: int) -> bool:
    within = sum(time[(7 * fifths + step) % 12] for step in _SCALE)
    return within >= _BELIEVED * sum(time)
