"""Evaluate: every metric for the kind on one model's evidence, and two models compared on the same units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bowerbird.base.errors import DataError, UsageError
from bowerbird.evaluation import baselines as simple
from bowerbird.evaluation.bootstrap import RESAMPLES, resampled_ratios
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.image_evidence import ImageEvidence
from bowerbird.evaluation.metrics import METRICS
from bowerbird.evaluation.report import MAIN_SCORES, Passage, Score, finite, in_words


def evaluate(
    evidence: Evidence | ImageEvidence, *, metrics: Sequence[str] | None = None, baselines: bool = True
) -> tuple[list[Score], list[Score], list[Passage]]:
    """Scores, baseline scores, and the copied passages the scores point at.

    Args:
        evidence: what to judge.
        metrics: names on the shelf; by default every metric for the kind, in the shelf's order.
        baselines: whether to judge the simple models for the kind too, if any are known.

    Raises:
        UnknownName: there is no such metric.
        UsageError: a metric named is not for this kind.
    """
    if metrics is None:
        chosen = [metric for metric in METRICS.values() if evidence.kind in metric.kinds]
    else:
        chosen = [METRICS[name] for name in metrics]
        for name in metrics:
            if evidence.kind not in METRICS[name].kinds:
                fitting = [other for other, metric in METRICS.items() if evidence.kind in metric.kinds]
                raise UsageError(
                    f"the metric `{name}` is not for {evidence.kind}",
                    hint=f"choose from: {', '.join(fitting)}",
                )
    scores = [score for metric in chosen for score in metric.measure(evidence)]
    simpler = simple.BASELINES.get(evidence.kind)
    beside = simpler(evidence) if baselines and simpler and isinstance(evidence, Evidence) else []
    passages = [passage for score in scores for passage in score.passages]
    return scores, beside, passages


def compare(
    scores_a: Sequence[Score],
    scores_b: Sequence[Score],
    bits_a: ArrayLike | None,
    bits_b: ArrayLike | None,
    sizes: ArrayLike | None,
    *,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Model A against model B, a row for each score both have; bits per byte or note by a paired bootstrap.

    Both models' bits are resampled with the same units, so what makes a unit hard for both cancels out. Models of
    pictures give no bits (None): all their scores stand side by side.

    Args:
        scores_a, scores_b: what `evaluate` gave for each.
        bits_a, bits_b: (units,) bits each model spends on the same held-out units.
        sizes: (units,) their UTF-8 bytes, or notes.
        seed: of the resampling.

    Returns:
        Rows of JSON values: `name, unit, better, a, b, value` (a - b), `interval` (95 %, or None),
        `a_better` (share of resamples in which A is better, or None) and `verdict` in words.

    Raises:
        DataError: the two were not judged on the same units.
    """
    a, b, size = (
        np.zeros(0) if values is None else np.asarray(values, np.float64)
        for values in (bits_a, bits_b, sizes)
    )
    if not a.shape == b.shape == size.shape:
        raise DataError(
            f"the two models were not judged on the same held-out units ({len(a):,}, {len(b):,}, {len(size):,})",
            hint="evaluate both on one dataset: --dataset DATASET",
        )
    other = {score.name: score for score in scores_b}
    rows = []
    for score in scores_a:
        if score.name in MAIN_SCORES and sizes is not None:
            rows.append(_paired(score, a, b, size, seed))
        elif score.name in other:
            rows.append(_side_by_side(score, other[score.name]))
    return rows


def _paired(
    score: Score, a: np.ndarray[Any, Any], b: np.ndarray[Any, Any], size: np.ndarray[Any, Any], seed: int
) -> dict[str, Any]:
    total = size.sum()
    values = [finite(float(bits.sum() / total)) if total else None for bits in (a, b)]
    row = _row(score.name, score.unit, score.better, *values)
    if row["value"] is None or np.count_nonzero(size > 0) < 2:
        row["verdict"] = "too little held out to tell them apart"
        return row
    difference = resampled_ratios(a - b, size, seed)[:, 0]
    low, high = (float(end) for end in np.nanpercentile(difference, [2.5, 97.5]))
    row["interval"] = [low, high]
    row["a_better"] = float(np.mean(difference < 0) + np.mean(difference == 0) / 2)
    row["n"] = int(total)
    if low > 0 or high < 0:
        sign, word = ("A", "fewer") if high < 0 else ("B", "fewer")
        row["verdict"] = (
            f"{sign} is better: {abs(row['value']):.3f} {in_words(score.unit)} {word}, beyond chance"
        )
    else:
        row["verdict"] = f"no clear difference on what was held out ({RESAMPLES:,} resamples)"
    return row


def _side_by_side(a: Score, b: Score) -> dict[str, Any]:
    row = _row(a.name, a.unit, a.better, finite(a.value), finite(b.value))
    if row["value"] is None:
        row["verdict"] = "not measured for both"
    elif row["value"] == 0:
        row["verdict"] = "the same"
    else:
        better = "A" if (row["value"] < 0) == (a.better == "lower") else "B"
        row["verdict"] = f"{better} has the {'lower' if a.better == 'lower' else 'higher'} value; not tested"
    row["n"] = min(a.n, b.n)
    return row


def _row(name: str, unit: str, better: str, a: float | None, b: float | None) -> dict[str, Any]:
    return {
        "name": name,
        "unit": unit,
        "better": better,
        "a": a,
        "b": b,
        "value": None if a is None or b is None else a - b,
        "n": 0,
        "interval": None,
        "a_better": None,
        "verdict": "",
    }
