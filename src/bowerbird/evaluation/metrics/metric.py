"""What a metric is: a function from evidence to scores, and the kinds it is for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.report import Score


@dataclass(frozen=True)
class Metric:
    measure: Callable[[Evidence], list[Score]]
    kinds: tuple[str, ...]
    about: str
    """One line for `bowerbird list metrics`."""
