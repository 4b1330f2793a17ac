"""Bits per byte, or per note: what the model spends on held-out content, over its size."""

from __future__ import annotations

import numpy as np

from bowerbird.evaluation.bootstrap import RESAMPLES, interval
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score, finite


def bits_per(evidence: Evidence, noun: str, of: str) -> Score:
    """sum(bits) / sum(sizes), as the score `bits_per_{noun}`; `of` names the sizes in the note."""
    name, unit = f"bits_per_{noun}", f"bits/{noun}"
    bits = np.asarray(evidence.bits, np.float64)
    sizes = np.asarray(evidence.sizes, np.float64)
    units, total = len(sizes), int(sizes.sum())
    note = f"all bits spent on the {evidence.split} split over its {of}, {units:,} held-out units"
    if total == 0:
        return Score(name, None, unit, "lower", 0, note=f"{note}; there was nothing to judge on")
    value = finite(float(bits.sum()) / total)
    ends = interval(bits, sizes, evidence.seed)
    note += (
        f"; interval: bootstrap over units, {RESAMPLES:,} resamples, seed {evidence.seed}"
        if ends
        else "; no interval: it takes two units or more that differ"
        if value is not None
        else "; the model gave something held out no probability at all"
    )
    return Score(name, value, unit, "lower", total, ends, note)


def bits_per_byte(evidence: Evidence) -> list[Score]:
    """So that models with different codecs can be compared; below 8 is better than no model."""
    return [bits_per(evidence, "byte", "UTF-8 bytes")]


BITS_PER_BYTE = Metric(bits_per_byte, ("text",), "bits the model spends per byte of held-out text")
