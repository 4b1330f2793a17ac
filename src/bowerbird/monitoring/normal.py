"""What is normal for one statistic: what the reference says of things so long, or what the first traffic was like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from bowerbird.evaluation.evidence import Floats
from bowerbird.evaluation.reference import Measured
from bowerbird.monitoring.change import design_effect, ranks
from bowerbird.monitoring.window import Observed

HELD_OUT, FIRST_TRAFFIC, OWN_SAMPLES = "held-out data", "the first traffic", "the model's own samples"


class Normal(Protocol):
    """What a window is compared with."""

    @property
    def what(self) -> str:
        """In words."""
        ...

    def values(self, length: float) -> Floats:
        """(m,) a number's normal values in things that are so long."""
        ...

    def shares(self, lengths: Sequence[float]) -> tuple[dict[str, float], float]:
        """The normal share of each class in things that are so long, and how many things that is known of."""
        ...

    def effect(self, length: float) -> float:
        """The design effect of what is normal: how many of these count for one."""
        ...


@dataclass(frozen=True)
class OfReference:
    """What a model's reference says of a statistic."""

    measured: Measured
    name: str
    """Of the statistic, without the side."""
    what: str
    _known: dict[float, Floats] = field(default_factory=dict, compare=False, repr=False)
    """Values by length: windows have the same ones again and again."""

    def values(self, length: float) -> Floats:
        if length not in self._known:
            self._known[length] = np.sort(self.measured.at(self.name, length))
        return self._known[length]

    def shares(self, lengths: Sequence[float]) -> tuple[dict[str, float], float]:
        names = self.measured.names[self.name]
        known = {length: self.measured.shares(self.name, length) for length in set(lengths)}
        total = np.zeros(len(names))
        reached = 0.0
        for length in lengths:
            shares, count = known[length]
            total += shares
            reached += 1 / max(count, 1)
        mean = total / max(len(lengths), 1)
        return dict(zip(names, mean.tolist(), strict=True)), len(lengths) / max(reached, 1e-9)

    def effect(self, length: float) -> float:
        if self.name in self.measured.numbers:
            column = self.measured.column(self.measured.numbers[self.name], length)
            kept = ~np.isnan(column)
            return design_effect(ranks(column[kept]), self.measured.clusters[kept].tolist())
        classes = self.measured.column(self.measured.classes[self.name], length)
        kept = classes >= 0
        table = np.eye(len(self.measured.names[self.name]))[classes[kept]]
        return design_effect(table, self.measured.clusters[kept].tolist())


class OfTraffic:
    """What a statistic was in the first traffic.

    Args:
        first: those requests that have it, not all of which need to.
        name: of the statistic, with its side.
    """

    what = FIRST_TRAFFIC

    def __init__(self, first: Sequence[Observed], name: str):
        of_numbers = [one for one in first if name in one.numbers]
        self._values = np.array([one.numbers[name] for one in of_numbers], np.float64)
        of_classes = [one for one in first if name in one.classes]
        self._classes = [one.classes[name] for one in of_classes]
        self._callers = [one.caller for one in of_numbers or of_classes]

    def __len__(self) -> int:
        return len(self._callers)

    def values(self, length: float) -> Floats:
        return self._values

    def shares(self, lengths: Sequence[float]) -> tuple[dict[str, float], float]:
        total = max(len(self._classes), 1)
        return {name: count / total for name, count in Counter(self._classes).items()}, float(
            len(self._classes)
        )

    def effect(self, length: float) -> float:
        if len(self._values):
            return design_effect(ranks(self._values), self._callers)
        names = sorted(set(self._classes))
        table = np.array([[name == one for name in names] for one in self._classes], np.float64)
        return design_effect(table, self._callers) if self._classes else 1.0
