"""What n-grams say of the next token of one row, compiled: `models.ngrams.Tables` and the gates of `NGrams`.

V vocabulary, K the highest order. Between two orders whose contexts are known nothing changes but the gates,
so these are added up and the logarithm is taken once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bowerbird.models.ngrams import START
from bowerbird.sampling.fused.elementary import log
from bowerbird.sampling.fused.weights import Grams

_F = np.float32


@njit(nogil=True, error_model="numpy")
def add_grams(
    grams: Grams,
    recent: NDArray[Any],
    gates: NDArray[Any],
    logits: NDArray[Any],
    found: NDArray[Any],
    contexts: NDArray[Any],
) -> None:
    """Weighed by the gates (K - 1), after the tokens read last (K - 1), the newest first.

    `found` (V) and `contexts` (K + 1) are to work in.
    """
    size = len(found)
    known = grams.dense - 1 + _find_all(grams, recent, size, contexts)
    row = recent[0] if grams.dense == 2 else 0
    for token in range(size):
        found[token] = grams.base[row, token]
    weight = _F(0)
    for order in range(2, grams.order + 1):
        context = contexts[order] if order > grams.dense else -1
        if context >= 0:
            _weigh(logits, weight, found)
            weight = _F(0)
            left = grams.left[context]
            for token in range(size):
                found[token] *= left
            for entry in range(grams.first[context], grams.first[context + 1]):
                found[grams.symbols[entry]] += grams.shares[entry]
        weight += gates[order - 2] + grams.by_known[known, order - 2]
    _weigh(logits, weight, found)


@njit(nogil=True)
def _find_all(grams: Grams, recent: NDArray[Any], size: int, contexts: NDArray[Any]) -> int:
    """Where the context of each order above the dense ones is, or -1; how many are known."""
    known = 0
    key, place, inside, there = 0, 1, True, True
    step = size ** (grams.order - 1)
    for order in range(2, grams.order + 1):
        token = recent[order - 2] if inside else START
        inside = inside and token != START
        key += token * place
        place *= size
        if order <= grams.dense:
            continue
        contexts[order] = -1
        if there:  # what a known context ends in is known as well
            low, high = grams.levels[order - 1], grams.levels[order]
            contexts[order] = _find(grams.contexts, low, high, key + (order - 1) * step)
        there = contexts[order] >= 0
        known += there
    return known


@njit(nogil=True)
def _find(contexts: NDArray[Any], low: int, high: int, wanted: int) -> int:
    """Where a context is between two places, or -1."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if contexts[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and contexts[low] == wanted else -1


@njit(nogil=True)
def _weigh(logits: NDArray[Any], weight: Any, found: NDArray[Any]) -> None:
    if weight != 0:
        for token in range(len(found)):
            logits[token] += weight * log(found[token])
