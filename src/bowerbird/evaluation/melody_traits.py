"""What a tune is like, in a few numbers that live traffic is compared by, when cut to its first notes.

`step`         mean step between successive notes of a voice, in semitones, up or down
`note_length`  mean length of its notes, in quarter notes
`in_key`       share of notes on the scale of its key
`mode`, `metre`  of its first bar
"""

from __future__ import annotations

from itertools import pairwise

from bowerbird.data.tune import SHARPENED, TICKS, Tune
from bowerbird.evaluation.melodies import voices
from bowerbird.evaluation.traits import Traits

_MAJOR = (0, 2, 4, 5, 7, 9, 11)


def melody_traits(tune: Tune) -> Traits:
    """All of them, of a tune with at least one note."""
    steps = [
        abs(tune.notes[after].pitch - tune.notes[before].pitch)
        for own in voices(tune)
        for before, after in pairwise(own)
    ]
    scale = _scale(tune.key.tonic, tune.key.mode)
    return {
        "step": sum(steps) / len(steps) if steps else float("nan"),
        "note_length": sum(note.length for note in tune.notes) / TICKS / len(tune.notes),
        "in_key": sum(note.pitch % 12 in scale for note in tune.notes) / len(tune.notes),
        "mode": tune.key.mode,
        "metre": f"{tune.metres[0].beats}/{tune.metres[0].unit}",
    }


def cut_tune(tune: Tune, notes: int) -> Tune:
    """A tune with its first so many notes; bars and key as they are."""
    return Tune(tune.key, tune.metres, tune.notes[:notes])


def _scale(tonic: int, mode: str) -> set[int]:
    """Pitch classes: those of the major key with the same signature, seven semitones a sharp away."""
    return {(tonic + 7 * SHARPENED[mode] + step) % 12 for step in _MAJOR}
