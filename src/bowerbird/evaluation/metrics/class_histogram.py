"""Classes: whether the samples are of the training pictures' classes, in their shares, and as asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bowerbird.evaluation.evidence import Floats
from bowerbird.evaluation.image_evidence import ImageEvidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score
from bowerbird.evaluation.shares import wilson

MOST = 5_000
"""Training pictures looked at."""
_NAMED = 3


def class_histogram(evidence: ImageEvidence) -> list[Score]:
    """`class_distance`, `classes_made` and, where samples were asked for by class, `class_accuracy`.

    Classes are told by the dataset's own classifier, of samples and of pictures alike. Nothing where it has none.
    """
    count = len(evidence.classes)
    if evidence.classify is None or count < 2 or not len(evidence.training):
        return []
    if not len(evidence.samples):
        note = "there were no samples to tell the classes of"
        return [
            Score("class_distance", None, "share", "lower", 0, note=note),
            Score("classes_made", None, "share", "higher", 0, note=note),
        ]
    named = evidence.classify(evidence.samples)
    learnt = evidence.classify(evidence.training[evidence.in_place(MOST)])
    ours, theirs = (np.bincount(classes, minlength=count) for classes in (named, learnt))
    scores = [_distance(evidence, ours, theirs), _made(evidence, ours, theirs)]
    asked = np.full(len(named), -1) if evidence.sample_labels is None else np.asarray(evidence.sample_labels)
    return [*scores, _accuracy(evidence, named, asked)] if (asked >= 0).any() else scores


def _distance(evidence: ImageEvidence, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> Score:
    """Half the sum of the differences between two sets of shares: the total variation."""
    made, learnt = ours / ours.sum(), theirs / theirs.sum()
    value = _apart(made, learnt)
    note = (
        f"total variation between the classes of {ours.sum():,} samples and of {theirs.sum():,} training pictures,"
        " both as the classifier tells them: 0 for equal shares, 1 for no class in common"
    )
    worst = np.argsort(-np.abs(made - learnt), kind="stable")[:_NAMED]
    note += "".join(
        f"; {evidence.classes[at]}: {made[at]:.1%} of samples, {learnt[at]:.1%} of training pictures"
        for at in worst
        if made[at] != learnt[at]
    )
    reference = None
    if evidence.classify is not None and len(evidence.real):
        kept = np.bincount(evidence.classify(evidence.real), minlength=len(ours))
        reference = _apart(kept / kept.sum(), learnt)
        note += f"; {kept.sum():,} {evidence.split} pictures in the samples' place: {reference:.3f}"
    return Score("class_distance", value, "share", "lower", int(ours.sum()), note=note, reference=reference)


def _apart(one: Floats, other: Floats) -> float:
    return float(min(1.0, np.abs(one - other).sum() / 2))


def _made(evidence: ImageEvidence, ours: NDArray[np.int64], theirs: NDArray[np.int64]) -> Score:
    there = theirs > 0
    missing = [evidence.classes[at] for at in np.flatnonzero(there & (ours == 0))]
    value = float(np.mean(ours[there] > 0))
    note = f"share of {int(there.sum()):,} classes that at least one of {ours.sum():,} samples is of"
    if missing:
        others = f" and {len(missing) - 10:,} others" if len(missing) > 10 else ""
        note += f"; never made: {', '.join(missing[:10])}{others}"
    return Score("classes_made", value, "share", "higher", int(ours.sum()), note=note)


def _accuracy(evidence: ImageEvidence, named: NDArray[np.int64], asked: NDArray[np.int64]) -> Score:
    told = asked >= 0
    hits, count = int((named == asked)[told].sum()), int(told.sum())
    note = f"share of {count:,} samples asked for by class that the classifier puts into that class; interval: Wilson's"
    return Score("class_accuracy", hits / count, "share", "higher", count, wilson(hits, count), note)


CLASS_HISTOGRAM = Metric(class_histogram, ("image",), "whether samples are of all classes, in their shares")
