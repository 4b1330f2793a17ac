"""Counted n-grams as probabilities: interpolated modified Kneser-Ney. Chen and Goodman 1999, section 3.

Computer Speech and Language 13(4), 359-394. A gram is one whole number: its tokens as digits in a base of at
least as many as there are tokens, the newest lowest. Its context is the gram without that digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Grams = NDArray[Any]
"""Sorted, each once, of one integer type."""
Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Level:
    """Probabilities at one order: what each gram gets, and what its context leaves to the order below."""

    grams: Grams
    share: Floats
    """(grams,) max(count - discount, 0) / count of the context."""
    contexts: Grams
    first: Counts
    """(contexts + 1,) where the grams of each context begin."""
    left: Floats
    """(contexts,) discounted probability, spread by the order below."""


def levels(grams: Grams, counts: Counts, order: int, base: int) -> list[Level]:
    """The orders 1 to `order`, from the grams of the highest and how often each was seen."""
    found = []
    for size in range(order, 0, -1):
        found.append(_level(grams, counts, base))
        # Below the top a gram counts once for each token seen before it, however often.
        shorter = grams % np.asarray(base ** (size - 1), grams.dtype)
        shorter.sort()
        grams, counts = runs(shorter)
    return found[::-1]


def runs(ordered: Grams) -> tuple[Grams, Counts]:
    """Different values of a sorted array, and how often each stands in it."""
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    at = np.flatnonzero(first)
    return ordered[at], np.diff(at, append=len(ordered))


def looked_up(keys: Grams, values: NDArray[Any], wanted: Grams, otherwise: float) -> NDArray[Any]:
    """The value of each wanted key, and `otherwise` for those that are not among the sorted keys."""
    if not len(keys):
        return np.full(len(wanted), otherwise, values.dtype)
    at = np.searchsorted(keys, wanted)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, values[at], np.asarray(otherwise, values.dtype))


def _level(grams: Grams, counts: Counts, base: int) -> Level:
    discount = _discounts(counts)[np.minimum(counts, 3)]
    contexts, sizes = runs(grams // np.asarray(base, grams.dtype))
    first = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    if not len(grams):
        return Level(grams, np.zeros(0), contexts, first, np.zeros(0))
    totals = np.add.reduceat(counts, first[:-1])
    left = np.add.reduceat(discount, first[:-1]) / totals
    return Level(grams, (counts - discount) / np.repeat(totals, sizes), contexts, first, left)


def _discounts(counts: Counts) -> Floats:
    """(4,) what is taken from a count of 0, 1, 2, and 3 or more. Equation 17 of the paper."""
    once, twice, thrice, four = (int(np.count_nonzero(counts == times)) for times in range(1, 5))
    if not (once and twice and thrice and four):
        # Too little text to estimate them from.
        return np.array([0.0, 0.5, 0.75, 1.0])
    rate = once / (once + 2 * twice)
    estimates = [1 - 2 * rate * twice / once, 2 - 3 * rate * thrice / twice, 3 - 4 * rate * four / thrice]
    # Odd counts of counts can carry an estimate out of its range; a discount of 0 would leave nothing below.
    return np.array([0.0, *(min(max(value, 0.1), times - 0.1) for times, value in enumerate(estimates, 1))])
