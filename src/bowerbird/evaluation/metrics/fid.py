"""FID: the Frechet distance between the features of samples and of held-out pictures, in each extractor's units."""

from __future__ import annotations

import numpy as np

from bowerbird.evaluation.fidelity import frechet
from bowerbird.evaluation.image_evidence import FeatureSet, ImageEvidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score, finite

_RESAMPLES = 40
_MOST_FEATURES = 512
"""Beyond, resampling takes minutes."""


def fid(evidence: ImageEvidence) -> list[Score]:
    """A score for each extractor; the reference puts as many training pictures in the samples' place."""
    return [_score(evidence, *found) for found in evidence.by_extractor("fid")]


def _score(evidence: ImageEvidence, name: str, extractor: str, features: FeatureSet) -> Score:
    made, kept = len(features.samples), len(features.real)
    by = evidence.judged_by(extractor)
    if min(made, kept) < 2:
        note = f"it takes 2 samples and 2 {evidence.split} pictures or more; there were {made:,} and {kept:,}"
        return Score(name, None, "distance", "lower", 0, note=note)
    value = finite(frechet(features.real, features.samples))
    note = f"Frechet distance of {made:,} samples from {kept:,} {evidence.split} pictures {by}"
    rows = evidence.in_place(made)
    reference = None
    if len(rows) >= 2:
        reference = frechet(features.real, features.training[rows])
        note += f"; {len(rows):,} training pictures in the samples' place: {reference:.4g}"
    size = features.real.shape[1]
    if min(made, kept) <= size:
        note += (
            "; there are no more pictures than features, which makes both numbers too large:"
            " only their ratio tells anything"
        )
    interval = _interval(evidence, features, value) if size <= _MOST_FEATURES and value is not None else None
    if interval:
        note += f"; interval: 1.96 deviations of {_RESAMPLES} resamples of the pictures on both sides"
    return Score(name, value, "distance", "lower", made, interval, note, reference)


def _interval(evidence: ImageEvidence, features: FeatureSet, value: float) -> tuple[float, float] | None:
    """The bootstrap's standard interval (Efron & Tibshirani 1993, chapter 12): resampling raises the distance."""
    made, kept = len(features.samples), len(features.real)
    rng = np.random.default_rng([evidence.seed, made, kept])
    found = [
        frechet(features.real[rng.integers(0, kept, kept)], features.samples[rng.integers(0, made, made)])
        for _ in range(_RESAMPLES)
    ]
    half = 1.96 * float(np.std(found))
    return (max(0.0, value - half), value + half) if half > 0 else None


FID = Metric(fid, ("image",), "Frechet distance between the features of samples and of held-out pictures")
