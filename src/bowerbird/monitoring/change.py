"""Whether a window of traffic is unlike what is normal: a test for each statistic, all of them held to one level.

Each value is placed among the normal ones of things of its own length, so that short prompts are compared with
short ones (the placements of Orban and Wolfe 1982, J. American Statistical Association 77, 666-672). Where nothing
has changed, placements are spread evenly from 0 to 1 whatever the statistic; a Kolmogorov-Smirnov test looks at
that. Classes are compared by Pearson's chi-squared. Where there are few of either, labels are permuted instead.

Requests of one caller are alike, as passages of one document are: both sides count for as many independent ones as
their design effect says (Kish 1965, Survey Sampling, section 8.2; for classes Rao and Scott 1981). All statistics of a
window are corrected by Holm 1979, Scandinavian J. of Statistics 6, 65-70. Over time, each window may spend an equal
part of the level stated for `looks` of them, so that in so many windows without a change there is a false alarm with
at most that chance, however the windows depend on each other (they share one reference).

n requests of a window, m normal ones, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import MissingExtra
from bowerbird.evaluation.evidence import Floats

FEW = 30
"""Below so many on either side a test permutes."""
PERMUTATIONS = 20_000
FEWEST = 8
"""Below so many on either side nothing is said."""
FIXED_CALLERS = 5
"""Fewer callers than this are taken as they are: likeness among so few cannot be told from a change."""
_LEAST_EXPECTED = 5.0
_SURE = 0.9
"""Of the bound on how alike the requests of a caller are."""
_AT_ONCE, _PLAIN, _MOST_PERMUTED = 500, 100, 1_000
"""Permutations at once, hits that are enough, and values on one side."""


@dataclass(frozen=True)
class Tested:
    """What a test of one statistic in one window found."""

    p: float
    """Chance of a difference as large where nothing has changed, before any correction."""
    error: float
    """Standard error of the difference."""
    before: float
    """The mean of what is normal at these lengths; of classes, the share of the class that differs most."""
    after: float
    """The mean of the window, or its share."""
    n: int
    effective: float
    """As many independent requests as these count for."""
    name: str = ""
    """Of classes: the one that differs most."""

    @property
    def effect(self) -> float:
        """In the statistic's own unit."""
        return self.after - self.before


@dataclass(frozen=True)
class Placed:
    """Values of a window beside the normal ones of their lengths."""

    values: Floats
    """(n,)"""
    placements: Floats
    """(n,) from 0 to 1, evenly spread where nothing has changed."""
    expected: Floats
    """(n,) the mean of the normal values of that length."""
    normal: float
    """How many normal values there were, the harmonic mean over n."""


Normal = Callable[[float], Floats]
"""The normal values of things that are so long."""


def placed(values: Sequence[float], lengths: Sequence[float], normal: Normal, seed: int) -> Placed:
    """Values among the normal ones; equal ones are put in order by lot, drawn by the seed."""
    rng = np.random.default_rng(seed)
    lots = rng.random(len(values))
    placements, expected, sizes = (np.empty(len(values)) for _ in range(3))
    known: dict[float, Floats] = {}
    for at, (value, length) in enumerate(zip(values, lengths, strict=True)):
        if length not in known:
            known[length] = np.sort(normal(length))
        others = known[length]
        below, above = np.searchsorted(others, value, "left"), np.searchsorted(others, value, "right")
        placements[at] = (below + lots[at] * (above - below + 1)) / (len(others) + 1)
        expected[at] = others.mean() if len(others) else np.nan
        sizes[at] = len(others)
    some = sizes > 0
    mean = float(len(sizes) / (1 / sizes).sum()) if some.all() and len(sizes) else 0.0
    return Placed(np.asarray(values, np.float64), placements, expected, mean)


def number_test(found: Placed, callers: Sequence[object], normal_effect: float, seed: int) -> Tested | None:
    """Whether placements are spread evenly. None: there are too few.

    Args:
        found: what `placed` gave.
        callers: (n,) whose request each was.
        normal_effect: the design effect of the normal values, 1 where they are independent.
    """
    _check_installed()
    from scipy.special import kolmogorov

    n, m = len(found.values), found.normal / normal_effect
    if n < FEWEST or m < FEWEST:
        return None
    effect = design_effect(ranks(found.placements), callers)
    effective = n / effect
    distance = _from_even(found.placements)
    size = effective * m / (effective + m)
    if min(effective, m) < FEW:
        p = _permuted_distance(found.placements, distance, effective, m, seed)
    else:
        # Stephens 1970, J. Royal Statistical Society B 32(1), 115-122
        p = float(kolmogorov(distance * (math.sqrt(size) + 0.12 + 0.11 / math.sqrt(size))))
    before, after = float(found.expected.mean()), float(found.values.mean())
    error = float(np.std(found.values - found.expected)) * math.sqrt(1 / effective + 1 / m)
    return Tested(min(max(p, 0.0), 1.0), error, before, after, n, effective)


def class_test(
    classes: Sequence[str],
    expected: Mapping[str, float],
    normal: float,
    callers: Sequence[object],
    normal_effect: float,
) -> Tested | None:
    """Whether classes come in their normal shares. None: there are too few, or only one class.

    Args:
        classes: (n,) of the window.
        expected: the normal share of each class, at the lengths of the window.
        normal: how many normal things these shares are of.
        callers, normal_effect: as for numbers.
    """
    _check_installed()
    from scipy.special import chdtrc

    n, m = len(classes), normal / normal_effect
    if n < FEWEST or m < FEWEST:
        return None
    names = sorted({*classes, *(name for name, share in expected.items() if share > 0)})
    table = np.array([[name == one for name in names] for one in classes], np.float64)
    effective = n / design_effect(table, callers)
    ours, theirs = table.mean(0), np.array([expected.get(name, 0.0) for name in names])
    most = _told_by(ours - theirs)
    together = (effective * ours + m * theirs) / (effective + m)
    # The rarest are taken together, for chi-squared wants a few of each.
    order = np.argsort(together, kind="stable")
    few = int(np.searchsorted((together[order] * min(effective, m)).cumsum(), _LEAST_EXPECTED)) + 1
    if few >= len(names):
        return None
    ours, theirs, together = (
        np.append(shares[order[few:]], shares[order[:few]].sum()) for shares in (ours, theirs, together)
    )
    p = float(chdtrc(len(ours) - 1, ((ours - theirs) ** 2 / together).sum() / (1 / effective + 1 / m)))
    name, after = names[most], float(table[:, most].mean())
    error = math.sqrt(after * (1 - after) / effective)
    return Tested(p, error, expected.get(name, 0.0), after, n, effective, name)


def design_effect(values: NDArray[np.float64], clusters: Sequence[object]) -> float:
    """How many times fewer independent values these are: 1 + (mean size of a cluster - 1) x their likeness.

    The likeness is the intraclass correlation by the analysis of variance, its 90 % upper bound (Searle 1971, Linear
    Models, section 9.9), 0 where it would be negative.

    Args:
        values: (n,) or (n, K).
        clusters: (n,) whose each is. Fewer than `FIXED_CALLERS`: 1.
    """
    _check_installed()
    from scipy.special import fdtri

    _, which, sizes = np.unique(
        np.array([str(one) for one in clusters]), return_inverse=True, return_counts=True
    )
    n, count = len(which), len(sizes)
    if count < FIXED_CALLERS or count == n:
        return 1.0
    table = np.asarray(values, np.float64).reshape(n, -1)
    means = np.stack([np.bincount(which, column) for column in table.T], axis=1) / sizes[:, None]
    between = float((sizes[:, None] * (means - table.mean(0)) ** 2).sum()) / (count - 1)
    within = float(((table - means[which]) ** 2).sum()) / (n - count)
    usual = (n - (sizes**2).sum() / n) / (count - 1)
    # The few clusters that there are may by chance be less alike than others: the upper bound is what holds a level.
    between /= float(fdtri(count - 1, n - count, 1 - _SURE))
    spread = between + (usual - 1) * within
    likeness = min(max((between - within) / spread, 0.0), 1.0) if spread > 0 else 0.0
    return float(1 + ((sizes**2).sum() / n - 1) * likeness)


def holm(found: Mapping[str, float]) -> dict[str, float]:
    """Each chance corrected for there being several; rising, at most 1."""
    corrected: dict[str, float] = {}
    highest = 0.0
    for place, (name, p) in enumerate(sorted(found.items(), key=lambda one: one[1])):
        highest = max(highest, min(1.0, p * (len(found) - place)))
        corrected[name] = highest
    return corrected


def change_point(values: NDArray[np.float64]) -> int:
    """Where a series changed, if it did: the first place of the new, by the greatest sum of deviations.

    Hinkley 1971, Biometrika 58(3), 509-523.
    """
    if len(values) < 2:
        return 0
    sums = np.abs(np.cumsum(values - values.mean()))
    return int(np.argmax(sums[:-1])) + 1


def _told_by(differences: Floats) -> int:
    """The class that a change is told by: the one that rose most, unless what fell tells at least twice as much."""
    risen, fallen = int(np.argmax(differences)), int(np.argmin(differences))
    return fallen if -differences[fallen] >= 2 * differences[risen] and differences[fallen] < 0 else risen


def _from_even(placements: NDArray[np.float64]) -> float:
    """The greatest distance of their shares from those of an even spread."""
    ordered, n = np.sort(placements), len(placements)
    steps = np.arange(n + 1) / n
    return float(max((steps[1:] - ordered).max(), (ordered - steps[:-1]).max()))


def _permuted_distance(
    placements: NDArray[np.float64], distance: float, effective: float, m: float, seed: int
) -> float:
    """How frequent such a distance is between so many and so many drawn from one even spread.

    As ranks are all that counts, this is what permuting the labels of the two samples gives. It ends early where
    the answer is plain (Besag and Clifford 1991, Biometrika 78(2), 301-304).
    """
    rng = np.random.default_rng([seed, 1])
    few, many = max(round(effective), 1), min(max(round(m), 1), _MOST_PERMUTED)
    steps = np.full(few + many, -1.0 / many)
    steps[:few] = 1.0 / few
    hits = tried = 0
    while tried < PERMUTATIONS and hits < _PLAIN:
        drawn = rng.permuted(np.tile(steps, (_AT_ONCE, 1)), axis=1)
        hits += int((np.abs(drawn.cumsum(1)).max(1) >= distance - 1e-12).sum())
        tried += _AT_ONCE
    return (hits + 1) / (tried + 1)


def ranks(values: NDArray[np.float64]) -> Floats:
    """(n,) the place of each value among all, from 0; equal ones share the mean of theirs."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((counts.cumsum() - (counts + 1) / 2)[which], np.float64)


def _check_installed() -> None:
    try:
        import scipy.special  # noqa: F401
    except ImportError as error:
        raise MissingExtra("monitoring", "monitor") from error
