"""One token from logits, compiled: the rules of `sampling.tokens.sample`, row by row and without sorting all.

V vocabulary. What is kept and drawn is the same but where rounding decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bowerbird.sampling.fused.elementary import exp

BANNED, END, USED = 1, 2, 4
"""Marks of a token, of which it may have several."""
TEMPERATURE, TOP_K, TOP_P, MIN_P, PENALTY = range(5)
"""Places in a row of settings."""
OFF = (1.0, 0.0, 2.0, 0.0, 1.0)
"""The settings of a row without filters."""

_F = np.float32
_COOLEST = _F(1e-6)


@njit(nogil=True, error_model="numpy")
def choose(
    logits: NDArray[Any],
    marks: NDArray[Any],
    settings: NDArray[Any],
    draw: float,
    weights: NDArray[Any],
    kept: NDArray[Any],
    heap: NDArray[Any],
) -> int:
    """The token for a draw in [0, 1). `weights`, `kept` and `heap` are (V,) to work in."""
    size = len(marks)
    penalty = _F(settings[PENALTY])
    for token in range(size):
        x = logits[token]
        penalised = x / penalty if x > 0 else x * penalty
        x = penalised if marks[token] & USED else x
        weights[token] = -np.inf if marks[token] & BANNED else x
    likeliest, top = 0, _F(-np.inf)
    for token in range(size):
        if weights[token] > top:
            likeliest, top = token, weights[token]
    if settings[TEMPERATURE] == 0:
        return likeliest
    coldness = _F(1) / max(_F(settings[TEMPERATURE]), _COOLEST)
    for token in range(size):
        weights[token] = exp((weights[token] - top) * coldness)
    if 0 < settings[TOP_K] < size or settings[TOP_P] <= 1:
        _keep(weights, settings[TOP_K], settings[TOP_P], kept, heap)
    if settings[MIN_P] > 0:
        most = _F(0)
        for token in range(size):
            most = max(most, weights[token])
        floor = _F(settings[MIN_P]) * most
        for token in range(size):
            weights[token] = weights[token] if weights[token] >= floor else _F(0)
    total = _total(weights)
    goal, reached, last = draw * total, 0.0, likeliest
    for token in range(size):
        if weights[token] > 0:
            reached += weights[token]
            last = token
            if reached > goal:
                break
    return last


@njit(nogil=True)
def _total(values: NDArray[Any]) -> float:
    total = 0.0
    for index in range(len(values)):
        total += values[index]
    return total


@njit(nogil=True, error_model="numpy")
def _keep(weights: NDArray[Any], top_k: float, top_p: float, kept: NDArray[Any], heap: NDArray[Any]) -> None:
    """Nought all but the likeliest: `top_k` of them, then as many as hold the share `top_p`."""
    size = len(weights)
    limit = size if top_k < 1 else min(size, int(top_k))
    whole = _total(weights)
    floor = 0.0
    if limit == size and top_p < 1:
        # Everything below this holds less than what may be left out: it never needs to be ordered.
        floor = (1 - top_p) * whole / size * 0.999
    count = 0
    for token in range(size):
        kept[token] = 0
        if weights[token] > 0 and weights[token] >= floor:
            heap[count] = token
            count += 1
    for place in range(count // 2 - 1, -1, -1):
        _sink(heap, weights, place, count)
    taken, reached = 0, 0.0
    while count and taken < limit and (limit < size or reached < top_p * whole):
        token = heap[0]
        kept[token] = weights[token]
        reached += weights[token]
        taken += 1
        count -= 1
        heap[0], heap[count] = heap[count], token  # the taken end up behind, the likeliest last
        _sink(heap, weights, 0, count)
    if limit < size and top_p <= 1:
        share, reached = top_p * reached, 0.0
        for place in range(count + taken - 1, count - 1, -1):
            token = heap[place]
            if reached >= share:
                kept[token] = 0
            reached += weights[token]
    for token in range(size):
        weights[token] = kept[token]


@njit(nogil=True)
def _sink(heap: NDArray[Any], weights: NDArray[Any], place: int, count: int) -> None:
    """Move what stands at a place down until nothing likelier is below; of equals the first token wins."""
    token = heap[place]
    while 2 * place + 1 < count:
        below = 2 * place + 1
        if below + 1 < count and _before(weights, heap[below + 1], heap[below]):
            below += 1
        if not _before(weights, heap[below], token):
            break
        heap[place] = heap[below]
        place = below
    heap[place] = token


@njit(inline="always")
def _before(weights: NDArray[Any], one: int, other: int) -> bool:
    return bool(weights[one] > weights[other] or (weights[one] == weights[other] and one < other))
