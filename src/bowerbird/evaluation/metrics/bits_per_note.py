"""Bits per note: what the model spends on held-out tunes, bar lines, key and metre included, per note of them."""

from __future__ import annotations

from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics.bits_per_byte import bits_per
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score


def bits_per_note(evidence: Evidence) -> list[Score]:
    """Over whole tunes, so that models with different codecs can be compared."""
    return [bits_per(evidence, "note", "notes")]


BITS_PER_NOTE = Metric(bits_per_note, ("melody",), "bits the model spends per note of held-out tunes")
