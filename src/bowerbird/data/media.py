"""The shelf of media: what preparing a dataset does differently for texts and for melodies.

Pictures are prepared by `prepare_images`: of their line only the noun and the codec are read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from bowerbird.base.shelf import Shelf
from bowerbird.data.tune import NotATune, parse


@dataclass(frozen=True)
class Medium:
    noun: str
    """What documents are called."""
    codec: str
    """The name of the codec where none is chosen."""
    clean: bool
    """Whether the cleaning steps of texts are for it."""
    essence: Callable[[str], str]
    """What must be equal in two documents that are the same; near duplicates resemble each other in it."""
    seam: str | None
    """A document that has to be cut is cut before this; None cuts anywhere."""


def melody_essence(text: str) -> str:
    """A tune without its key and name: how far each note lies above the one before it, and how long it is.

    So a tune is found again whatever it is transposed to.
    """
    try:
        tune = parse(text)
    except NotATune:  # a part of one
        return text
    metre = tune.metres[0]
    steps = [f"{two.pitch - one.pitch:+}.{two.start - one.start}" for one, two in pairwise(tune.notes)]
    last = tune.notes[-1].length if tune.notes else 0
    return " ".join([f"{metre.beats}/{metre.unit}", *steps, str(last)])


MEDIA: Shelf[Medium] = Shelf(
    "kind",
    text=Medium("texts", "auto", clean=True, essence=str, seam=None),
    melody=Medium("melodies", "notes", clean=False, essence=melody_essence, seam="|"),
    image=Medium("pictures", "pixels", clean=False, essence=str, seam=None),
)
