"""Bits per byte: what the model spends on held-out text, per UTF-8 byte of it."""

from __future__ import annotations

import numpy as np

from bowerbird.evaluation.bootstrap import RESAMPLES, interval
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score, finite


def bits_per_byte(evidence: Evidence) -> list[Score]:
    """sum(bits) / sum(bytes), so that models with different codecs can be compared; below 8 is better."""
    bits = np.asarray(evidence.bits, np.float64)
    sizes = np.asarray(evidence.sizes, np.float64)
    units, total = len(sizes), int(sizes.sum())
    note = f"all bits spent on the {evidence.split} split over its UTF-8 bytes, {units:,} held-out units"
    if total == 0:
        return [
            Score(
                "bits_per_byte", None, "bits/byte", "lower", 0, note=f"{note}; there was no text to judge on"
            )
        ]
    value = finite(float(bits.sum()) / total)
    ends = interval(bits, sizes, evidence.seed)
    note += (
        f"; interval: bootstrap over units, {RESAMPLES:,} resamples, seed {evidence.seed}"
        if ends
        else "; no interval: it takes two units or more that differ"
        if value is not None
        else "; the model gave some held-out text no probability at all"
    )
    return [Score("bits_per_byte", value, "bits/byte", "lower", total, ends, note)]


BITS_PER_BYTE = Metric(bits_per_byte, ("text",), "bits the model spends per byte of held-out text")
