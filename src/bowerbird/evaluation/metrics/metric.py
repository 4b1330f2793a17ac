"""What a metric is: a function from evidence to scores, and the kinds it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bowerbird.evaluation.report import Score


@dataclass(frozen=True)
class Metric:
    measure: Callable[[Any], list[Score]]
    """Given the evidence of its kinds: `Evidence`, or `ImageEvidence`."""
    kinds: tuple[str, ...]
    about: str
    """One line for `bowerbird list metrics`."""
