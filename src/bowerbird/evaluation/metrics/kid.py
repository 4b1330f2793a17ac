"""KID: the kernel distance between the features of samples and of held-out pictures; around 0 where none differ."""

from __future__ import annotations

import numpy as np

from bowerbird.evaluation.fidelity import kernel_distance
from bowerbird.evaluation.image_evidence import FeatureSet, ImageEvidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score, finite

BLOCKS = 100
_LEAST_SIZE, _MOST_SIZE = 10, 1000
_WANTED_BLOCKS = 10


def kid(evidence: ImageEvidence) -> list[Score]:
    """A score for each extractor; the reference puts as many training pictures in the samples' place."""
    return [_score(evidence, *found) for found in evidence.by_extractor("kid")]


def _score(evidence: ImageEvidence, name: str, extractor: str, features: FeatureSet) -> Score:
    made, kept = len(features.samples), len(features.real)
    if min(made, kept) < 2:
        note = f"it takes 2 samples and 2 {evidence.split} pictures or more; there were {made:,} and {kept:,}"
        return Score(name, None, "distance", "lower", 0, note=note)
    size = min(max(min(made, kept) // _WANTED_BLOCKS, _LEAST_SIZE), _MOST_SIZE, made, kept)
    rng = np.random.default_rng([evidence.seed, made, kept])
    value, low, high = kernel_distance(features.real, features.samples, blocks=BLOCKS, size=size, rng=rng)
    interval = (low, high) if np.isfinite(low) and np.isfinite(high) else None
    note = (
        f"kernel distance of {made:,} samples from {kept:,} {evidence.split} pictures"
        f" {evidence.judged_by(extractor)}; mean over blocks of {size:,}"
    )
    rows = evidence.in_place(made)
    reference = None
    if len(rows) >= 2:
        reference, _, _ = kernel_distance(
            features.real, features.training[rows], blocks=BLOCKS, size=size, rng=rng
        )
        note += f"; {len(rows):,} training pictures in the samples' place: {reference:.4g}"
    note += "; interval: bootstrap over the blocks" if interval else "; no interval: there was one block"
    return Score(name, finite(value), "distance", "lower", made, interval, note, finite(reference))


KID = Metric(kid, ("image",), "kernel distance between the features of samples and of held-out pictures")
