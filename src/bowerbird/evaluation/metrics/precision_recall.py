"""Precision and recall: whether samples look like pictures, and whether all pictures can be had as samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from bowerbird.evaluation.fidelity import NEIGHBOURS, precision_recall
from bowerbird.evaluation.image_evidence import FeatureSet, ImageEvidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score
from bowerbird.evaluation.shares import wilson

MOST = 5_000
"""Pictures of each set that are compared; time grows with the square."""
Measure = Callable[[ArrayLike, ArrayLike], tuple[float, float]]


def measure(evidence: ImageEvidence) -> list[Score]:
    """`precision` and `recall` for each extractor."""
    names = {
        "precision": f"share of samples that lie among the {evidence.split} pictures",
        "recall": f"share of {evidence.split} pictures that lie among the samples",
    }
    return by_neighbours(evidence, precision_recall, names, ("share", "share"))


def by_neighbours(
    evidence: ImageEvidence, function: Measure, names: Mapping[str, str], units: tuple[str, str]
) -> list[Score]:
    """Two scores for each extractor, from a function of as many held-out pictures and samples.

    `names` says what each is. The reference puts training pictures in the samples' place.
    """
    scores = []
    for suffix, extractor, features in evidence.by_extractor(""):
        count = min(len(features.samples), len(features.real), MOST)
        values, floor = _both(evidence, features, function, count)
        for at, (name, about) in enumerate(names.items()):
            if values is None:
                note = f"{about}: it takes 2 samples and 2 {evidence.split} pictures or more"
                scores.append(Score(name + suffix, None, units[at], "higher", 0, note=note))
                continue
            note = (
                f"{about}, {count:,} of each, {evidence.judged_by(extractor)}; neighbourhoods reach to the"
                f" {min(NEIGHBOURS, count - 1)}. nearest"
            )
            if floor is not None:
                note += f"; {count:,} training pictures in the samples' place: {floor[at]:.3f}"
            interval = wilson(round(values[at] * count), count) if units[at] == "share" else None
            if interval:
                note += "; interval: Wilson's, the neighbourhoods taken as they are"
            reference = None if floor is None else floor[at]
            scores.append(
                Score(name + suffix, values[at], units[at], "higher", count, interval, note, reference)
            )
    return scores


def _both(
    evidence: ImageEvidence, features: FeatureSet, function: Measure, count: int
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """The function of samples, and of training pictures; None for what there is too little of."""
    if count < 2:
        return None, None
    rng = np.random.default_rng([evidence.seed, count])
    real, made = (
        whole[np.sort(rng.permutation(len(whole))[:count])] for whole in (features.real, features.samples)
    )
    rows = evidence.in_place(count)
    floor = function(real, features.training[rows]) if len(rows) == count else None
    return function(real, made), floor


PRECISION_RECALL = Metric(measure, ("image",), "whether samples look real, and whether they are as varied")
