"""Byte n-grams with interpolated modified Kneser-Ney smoothing. Chen and Goodman 1999, section 3.

Computer Speech and Language 13(4), 359-394. An n-gram is one uint64: its bytes, the newest lowest. Every
document begins after `order - 1` bytes 0xFF, which UTF-8 never holds; they are context and never counted as
something to predict. At the bottom stands the uniform distribution, so every byte has some probability.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bowerbird.evaluation.evidence import Floats

Grams = NDArray[np.uint64]
START = 0xFF


@dataclass(frozen=True)
class _Level:
    """Probabilities at one order: what each n-gram gets, and what its context leaves to the order below."""

    grams: Grams
    share: Floats
    """(grams,) max(count - discount, 0) / count of the context."""
    contexts: Grams
    left: Floats
    """(contexts,) discounted probability, spread by the order below."""


class NGram:
    """A model of bytes learnt from documents.

    Args:
        documents: UTF-8; some megabytes together.
        order: bytes in an n-gram, 1 to 8.
    """

    def __init__(self, documents: Iterable[bytes], order: int = 6):
        self.order = order
        grams = _grams(documents, order)
        grams.sort()
        grams, counts = _runs(grams)
        levels = []
        for size in range(order, 0, -1):
            levels.append(_level(grams, counts))
            # Below the top an n-gram counts once for each byte seen before it, however often.
            shorter = grams & np.uint64((1 << 8 * (size - 1)) - 1)
            shorter.sort()
            grams, counts = _runs(shorter)
        self._levels = levels[::-1]

    def probabilities(self, grams: Grams) -> Floats:
        """(n,) probability of the newest byte of each n-gram after the others."""
        found = np.full(len(grams), 1 / 256)
        for size, level in enumerate(self._levels, start=1):
            keys = grams & np.uint64((1 << 8 * size) - 1)
            left = _looked_up(level.contexts, level.left, keys >> np.uint64(8), 1.0)
            found = _looked_up(level.grams, level.share, keys, 0.0) + left * found
        return found

    def after(self, context: bytes) -> Floats:
        """(256,) the distribution of the byte after a context; only its last `order - 1` bytes matter."""
        padded = bytes([START] * (self.order - 1)) + context
        above = int.from_bytes(padded[len(padded) - self.order + 1 :], "big") << 8
        return self.probabilities(np.uint64(above) | np.arange(256, dtype=np.uint64))

    def bits(self, document: bytes) -> float:
        """What the whole document costs."""
        return float(-np.log2(self.probabilities(_grams([document], self.order))).sum())


def _grams(documents: Iterable[bytes], order: int) -> Grams:
    """(bytes,) the n-gram that ends at each byte of each document."""
    pad = bytes([START] * (order - 1))
    stream = np.frombuffer(b"".join(pad + document for document in documents), np.uint8)
    grams: Grams = np.zeros(max(0, len(stream) - order + 1), np.uint64)
    for offset in range(order):
        grams <<= np.uint64(8)
        grams |= stream[offset : offset + len(grams)]
    predicted = stream[order - 1 :] != START
    return np.asarray(grams[predicted], np.uint64)


def _runs(ordered: NDArray[np.uint64]) -> tuple[Grams, NDArray[np.int64]]:
    """Different values of a sorted array, and how often each stands in it."""
    first = np.ones(len(ordered), np.bool_)
    first[1:] = ordered[1:] != ordered[:-1]
    at = np.flatnonzero(first)
    return ordered[at], np.diff(at, append=len(ordered))


def _level(grams: Grams, counts: NDArray[np.int64]) -> _Level:
    discount = _discounts(counts)[np.minimum(counts, 3)]
    contexts, sizes = _runs(grams >> np.uint64(8))
    begins = np.cumsum(sizes) - sizes
    if not len(grams):
        return _Level(grams, np.zeros(0), contexts, np.zeros(0))
    totals = np.add.reduceat(counts, begins)
    left = np.add.reduceat(discount, begins) / totals
    return _Level(grams, (counts - discount) / np.repeat(totals, sizes), contexts, left)


def _discounts(counts: NDArray[np.int64]) -> Floats:
    """(4,) what is taken from a count of 0, 1, 2, and 3 or more. Equation 17 of the paper."""
    once, twice, thrice, four = (int(np.count_nonzero(counts == times)) for times in range(1, 5))
    if not (once and twice and thrice and four):
        # Too little text to estimate them from.
        return np.array([0.0, 0.5, 0.75, 1.0])
    rate = once / (once + 2 * twice)
    estimates = [1 - 2 * rate * twice / once, 2 - 3 * rate * thrice / twice, 3 - 4 * rate * four / thrice]
    # Odd counts of counts can carry an estimate out of its range; a discount of 0 would leave nothing below.
    return np.array([0.0, *(min(max(value, 0.1), times - 0.1) for times, value in enumerate(estimates, 1))])


def _looked_up(keys: Grams, values: Floats, wanted: Grams, otherwise: float) -> Floats:
    if not len(keys):
        return np.full(len(wanted), otherwise)
    at = np.searchsorted(keys, wanted)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, values[at], otherwise)
