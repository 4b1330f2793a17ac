"""Drawing one token from logits, compiled: the filters of `tokens.sample`, in the same order."""

from __future__ import annotations

from typing import Any

import numpy as np

from bowerbird.sampling.mathematics import F, compiled, exponential

USED, BANNED, END = 1, 2, 4
"""Flags of a token in a request."""
PENALTY, TEMPERATURE, TOP_K, TOP_P, MIN_P, GUIDED, SETTINGS = 0, 1, 2, 3, 4, 5, 6
"""Columns of a request's settings."""
_COLDEST = F(1e-6)
_NEVER, _ZERO = F(-3e38), F(0)


@compiled
def draw(
    logits: Any, size: int, flags: Any, forbidden: int, settings: Any, noise: float, chances: Any, ranks: Any
) -> int:
    """A token.

    Args:
        logits: (V or more,), left as they are.
        size: V.
        flags: (V,) of each token.
        forbidden: the flags by which a token cannot be drawn.
        settings: (SETTINGS,).
        noise: in [0, 1).
        chances: (V,) to write to.
        ranks: (V,) to write to.
    """
    penalty, temperature = F(settings[PENALTY]), settings[TEMPERATURE]
    if penalty == F(1):
        for token in range(size):
            chances[token] = _NEVER if flags[token] & forbidden else logits[token]
    else:
        for token in range(size):
            value = logits[token]
            if flags[token] & USED:
                value = value / penalty if value > _ZERO else value * penalty
            chances[token] = _NEVER if flags[token] & forbidden else value
    most, likeliest = chances[0], 0
    for token in range(1, size):
        most = max(most, chances[token])
    if temperature == 0.0:
        while likeliest < size - 1 and chances[likeliest] != most:
            likeliest += 1
        return likeliest
    colder = F(1) / max(F(temperature), _COLDEST)
    for token in range(size):
        chances[token] = exponential((chances[token] - most) * colder)
    if settings[TOP_K] < size or settings[TOP_P] < 1.0:
        _keep_likeliest(chances, size, settings[TOP_K], settings[TOP_P], ranks)
    floor = F(settings[MIN_P])  # the likeliest token's chance is 1 here
    if floor > _ZERO:
        for token in range(size):
            chances[token] = chances[token] if chances[token] >= floor else _ZERO
    return _at_quantile(chances, size, noise)


@compiled
def _at_quantile(chances: Any, size: int, noise: float) -> int:
    """The first token up to which lies more than this share of all chances."""
    total = 0.0
    for token in range(size):
        total += np.float64(chances[token])
    wanted, reached, last = noise * total, 0.0, 0
    for token in range(size):
        if chances[token] > _ZERO:
            last = token
            reached += np.float64(chances[token])
            if reached > wanted:
                return token
    return last  # the two sums may differ in their last bits


@compiled
def _drop_tail(chances: Any, size: int, top_p: float, ranks: Any) -> None:
    """Chances of 0 for the least likely, as many as leave the share `top_p` or more.

    Whatever is below its share of what may be left out, is left out; only what remains is ordered, in a heap
    with the least likely on top. So the cost is that of what is dropped, not of what is kept.
    """
    total = 0.0
    for token in range(size):
        total += np.float64(chances[token])
    floor, left, heap = F((1.0 - top_p) * total / size * 0.999), 0.0, 0
    for token in range(size):
        if chances[token] >= floor and chances[token] > _ZERO:
            left += np.float64(chances[token])
            ranks[heap] = token
            heap += 1
        else:
            chances[token] = _ZERO
    for parent in range(heap // 2 - 1, -1, -1):
        _sift_least(chances, ranks, parent, heap)
    while heap > 1:
        least = ranks[0]
        left -= np.float64(chances[least])
        if left < top_p * total:
            return
        chances[least] = _ZERO
        heap -= 1
        ranks[0] = ranks[heap]
        _sift_least(chances, ranks, 0, heap)


@compiled
def _sift_least(chances: Any, ranks: Any, parent: int, size: int) -> None:
    """Let an entry sink below less likely ones; as `_sift`, the other way round."""
    entry = ranks[parent]
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size and _likelier(chances, ranks[child], ranks[child + 1]):
            child += 1
        if not _likelier(chances, entry, ranks[child]):
            break
        ranks[parent] = ranks[child]
        parent = child
    ranks[parent] = entry


@compiled
def _keep_likeliest(chances: Any, size: int, top_k: float, top_p: float, ranks: Any) -> None:
    """Chances of 0 for all but the `top_k` likeliest, and of those all but the first `top_p` of their sum.

    A heap, because most requests keep few of many tokens.
    """
    if top_k >= size:
        _drop_tail(chances, size, top_p, ranks)
        return
    for token in range(size):
        ranks[token] = token
    for parent in range(size // 2 - 1, -1, -1):
        _sift(chances, ranks, parent, size)
    left = size
    sum_kept = 0.0
    while left and size - left < top_k:  # the likeliest so far lie behind the heap, the last found first
        sum_kept += np.float64(chances[ranks[0]])
        left = _pop(chances, ranks, left)
    if top_p < 1.0:
        before, place = 0.0, size
        while place > left and before < top_p * sum_kept:
            place -= 1
            before += np.float64(chances[ranks[place]])
        left = place
    for place in range(left):
        chances[ranks[place]] = _ZERO


@compiled
def _pop(chances: Any, ranks: Any, size: int) -> int:
    """Move the likeliest of the heap behind it; the new size."""
    ranks[0], ranks[size - 1] = ranks[size - 1], ranks[0]
    _sift(chances, ranks, 0, size - 1)
    return size - 1


@compiled
def _sift(chances: Any, ranks: Any, parent: int, size: int) -> None:
    """Let an entry sink below likelier ones; of equals the lower token counts as likelier."""
    while 2 * parent + 1 < size:
        child = 2 * parent + 1
        if child + 1 < size and _likelier(chances, ranks[child + 1], ranks[child]):
            child += 1
        if not _likelier(chances, ranks[child], ranks[parent]):
            return
        ranks[child], ranks[parent] = ranks[parent], ranks[child]
        parent = child


@compiled
def _likelier(chances: Any, one: int, other: int) -> bool:
    return chances[one] > chances[other] or (chances[one] == chances[other] and one < other)
