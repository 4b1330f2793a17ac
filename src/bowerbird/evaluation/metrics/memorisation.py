"""Memorisation: whether samples are training pictures over again, told by how near held-out pictures come to them.

The rank test is that of Meehan, Chaudhuri & Dasgupta 2020, arXiv:2004.05675, section 3.1.
"""

from __future__ import annotations

import math

import numpy as np

from bowerbird.evaluation.evidence import Floats
from bowerbird.evaluation.fidelity import nearest
from bowerbird.evaluation.image_evidence import FeatureSet, ImageEvidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Pair, Score
from bowerbird.evaluation.shares import wilson

NEARER_THAN = 0.99
"""Share of held-out pictures that a copy must be nearer to a training picture than."""
_MANY = 0.05
"""A share of copies that is surely above this is called repetition; without copying it is about 0.01."""
_FEWEST_HELD_OUT, _FEWEST_SAMPLES = 20, 5
_DEVIATIONS = 3.0
_PAIRS = 8


def memorisation(evidence: ImageEvidence) -> list[Score]:
    """`copied_share` for each extractor, its verdict first in the note, with the nearest pairs of pictures."""
    return [_score(evidence, *found) for found in evidence.by_extractor("copied_share")]


def _score(evidence: ImageEvidence, name: str, extractor: str, features: FeatureSet) -> Score:
    if not (len(features.samples) and len(features.real) and len(features.training)):
        note = f"it takes samples, {evidence.split} pictures and training pictures"
        return Score(name, None, "share", "lower", 0, note=note)
    which, made = nearest(features.samples, features.training)
    _, kept = nearest(features.real, features.training)
    typical = float(np.median(kept))
    copied = _copies(made, kept)
    hits, count = int(copied.sum()), len(made)
    deviations = ranked(made, kept)
    threshold = f"{NEARER_THAN:.0%} of {len(kept):,} {evidence.split} pictures are"
    note = (
        f"{verdict(hits, count, len(kept), deviations)}. {hits:,} of {count:,} samples are nearer to a training"
        f" picture than {threshold}, {evidence.judged_by(extractor)};"
        f" median distance to the nearest of {len(features.training):,} training pictures: {np.median(made):.4g} of"
        f" samples, {typical:.4g} of {evidence.split} pictures ({deviations:+.1f} deviations of a rank test, below 0"
        " where samples are nearer); interval: Wilson's"
    )
    order = np.argsort(made, kind="stable")[:_PAIRS]
    pairs = tuple(
        Pair(
            int(at),
            int(which[at]),
            float(made[at]),
            typical,
            evidence.samples[at],
            np.array(evidence.training[which[at]]),
        )
        for at in order
    )
    reference = float(_copies(kept, kept).mean())
    return Score(
        name, hits / count, "share", "lower", count, wilson(hits, count), note, reference, pairs=pairs
    )


def _copies(distances: Floats, kept: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    """Which distances are below nearly all of the held-out pictures', or as good as none at all."""
    threshold = np.quantile(kept, 1 - NEARER_THAN, method="lower")
    return (distances < threshold) | (distances <= 1e-5 * np.median(kept))


def ranked(made: Floats, kept: Floats) -> float:
    """Mann & Whitney's U in deviations: below 0 where `made` are the smaller."""
    order = np.sort(kept)
    below, equal = np.searchsorted(order, made, "left"), np.searchsorted(order, made, "right")
    u = float((below + equal).sum() / 2)
    one, other = len(made), len(kept)
    return (u - one * other / 2) / math.sqrt(one * other * (one + other + 1) / 12)


def verdict(hits: int, count: int, held_out: int, deviations: float) -> str:
    """What the numbers say, in words."""
    low, _ = wilson(hits, count) or (0.0, 1.0)
    if held_out < _FEWEST_HELD_OUT or count < _FEWEST_SAMPLES:
        return f"Too few pictures to tell: it takes {_FEWEST_HELD_OUT} held out and {_FEWEST_SAMPLES} samples or more"
    if low > _MANY:
        return f"Memorised: the model repeats training pictures in about {hits / count:.0%} of its samples"
    if deviations < -_DEVIATIONS:
        return (
            "Leaning on the training pictures: few samples are copies, but as a whole they lie nearer to them"
            " than held-out pictures do"
        )
    return "No sign of memorisation"


MEMORISATION = Metric(memorisation, ("image",), "whether samples are training pictures over again")
