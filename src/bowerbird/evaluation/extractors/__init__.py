"""The shelf of extractors: what the pictures of a dataset are compared in."""

from __future__ import annotations

from collections.abc import Sequence

from bowerbird.base.shelf import Shelf
from bowerbird.evaluation.extractors.extractor import Extractor, ExtractorPart, PictureSet
from bowerbird.evaluation.extractors.gradients import GRADIENTS
from bowerbird.evaluation.extractors.inception import INCEPTION, at_hand
from bowerbird.evaluation.extractors.own import OWN, SECONDS

EXTRACTORS: Shelf[ExtractorPart] = Shelf("extractor", own=OWN, gradients=GRADIENTS, inception=INCEPTION)

__all__ = ["EXTRACTORS", "Extractor", "ExtractorPart", "PictureSet", "extractors_for"]


def extractors_for(
    dataset: PictureSet, names: Sequence[str] | None = None, *, seconds: float = SECONDS
) -> list[Extractor]:
    """The named extractors; by default `own`, `gradients`, and `inception` where the user has its weights.

    Two that have nothing in common, for what is good in one alone may be the extractor's own taste. `own` trains
    for at most `seconds`, where the dataset has none yet.

    Raises:
        UnknownName: there is no such extractor.
        CorruptFile, Refused: a stored one cannot be used.
        MissingExtra, NotFound: `inception` was named, and its package or its weights are not here.
    """
    if names is None:
        names = ["own", "gradients", *(["inception"] if at_hand() else [])]
    parts = [EXTRACTORS[name] for name in names]
    return [part.build(dataset, seconds) for part in parts]
