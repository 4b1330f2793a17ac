"""Interval of a share of things counted. Wilson 1927, J. American Statistical Association 22(158), 209-212."""

from __future__ import annotations

import math

_DEVIATIONS = 1.959964


def wilson(hits: int, trials: int) -> tuple[float, float] | None:
    """95 % score interval of hits / trials; None without trials."""
    if not trials:
        return None
    share, spread = hits / trials, _DEVIATIONS**2 / trials
    middle = (share + spread / 2) / (1 + spread)
    half = math.sqrt(spread * (share * (1 - share) + spread / 4)) / (1 + spread)
    return max(0.0, min(middle - half, share)), min(1.0, max(middle + half, share))
