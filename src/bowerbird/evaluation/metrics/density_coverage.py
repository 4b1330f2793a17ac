"""Density and coverage: precision and recall that a few odd pictures do not mislead."""

from __future__ import annotations

from bowerbird.evaluation.fidelity import density_coverage
from bowerbird.evaluation.image_evidence import ImageEvidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.metrics.precision_recall import by_neighbours
from bowerbird.evaluation.report import Score


def measure(evidence: ImageEvidence) -> list[Score]:
    """`density` and `coverage` for each extractor."""
    names = {
        "density": f"how densely the {evidence.split} pictures lie around a sample; about 1 where samples are as they",
        "coverage": f"share of {evidence.split} pictures whose neighbourhood has a sample in it",
    }
    return by_neighbours(evidence, density_coverage, names, ("ratio", "share"))


DENSITY_COVERAGE = Metric(measure, ("image",), "precision and recall that stand a few odd pictures")
