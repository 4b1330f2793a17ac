"""Bootstrap intervals of a ratio of sums, and of the difference of two ratios on the same units.

The percentile bootstrap of Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bowerbird.evaluation.evidence import Floats

RESAMPLES = 1_000
_MOST_UNITS = 20_000
_INDICES_AT_ONCE = 2_000_000


def resampled_ratios(numerators: ArrayLike, denominators: ArrayLike, seed: int) -> Floats:
    """(RESAMPLES, columns) ratios sum(numerators) / sum(denominators) over units drawn with replacement.

    Args:
        numerators: (units,) or (units, columns); every column is resampled with the same draws.
        denominators: (units,), at least one of them above 0.
        seed: of the draws.

    More than 20,000 units are first gathered at random into 20,000 groups, which are then resampled.
    """
    top = np.asarray(numerators, np.float64)
    top = top[:, None] if top.ndim == 1 else top
    bottom = np.asarray(denominators, np.float64)
    rng = np.random.default_rng([seed, len(bottom)])
    if len(bottom) > _MOST_UNITS:
        group = rng.permutation(len(bottom)) % _MOST_UNITS
        top = np.stack([np.bincount(group, column) for column in top.T], axis=1)
        bottom = np.bincount(group, bottom).astype(np.float64)
    table = np.concatenate([top, bottom[:, None]], axis=1)
    sums = np.empty((RESAMPLES, table.shape[1]))
    rows = max(1, _INDICES_AT_ONCE // len(table))
    for first in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - first)
        drawn = rng.integers(0, len(table), (count, len(table)))
        sums[first : first + count] = _summed(table, drawn)
    below = sums[:, -1:]
    ratios = np.divide(sums[:, :-1], below, out=np.full_like(sums[:, :-1], np.nan), where=below > 0)
    return np.asarray(ratios, np.float64)


def _summed(table: Floats, drawn: NDArray[np.int64]) -> Floats:
    """(draws, columns) sums of the rows drawn: a count of each row, times the table."""
    units = len(table)
    offsets = np.arange(len(drawn))[:, None] * units
    counts = np.bincount((drawn + offsets).ravel(), minlength=len(drawn) * units)
    return np.asarray(counts.reshape(len(drawn), units).astype(np.float64) @ table, np.float64)


def interval(numerators: ArrayLike, denominators: ArrayLike, seed: int) -> tuple[float, float] | None:
    """95 % interval of sum(numerators) / sum(denominators).

    None for fewer than two units with any size, and where all units agree: then resampling shows nothing of
    what other units might have been.
    """
    top, bottom = np.asarray(numerators, np.float64), np.asarray(denominators, np.float64)
    if np.count_nonzero(bottom > 0) < 2 or not np.all(np.isfinite(top)):
        return None
    low, high = np.nanpercentile(resampled_ratios(top, bottom, seed)[:, 0], [2.5, 97.5])
    return (float(low), float(high)) if low < high else None
