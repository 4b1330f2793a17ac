"""Byte n-grams with interpolated modified Kneser-Ney smoothing, as a baseline: `models.kneser_ney` over bytes.

An n-gram is one uint64: its bytes, the newest lowest. Every document begins after `order - 1` bytes 0xFF,
which UTF-8 never holds; they are context and never counted as something to predict. At the bottom stands
the uniform distribution, so every byte has some probability.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from bowerbird.evaluation.evidence import Floats
from bowerbird.models.kneser_ney import levels, looked_up, runs

Grams = NDArray[np.uint64]
START = 0xFF


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
        self._levels = levels(*runs(grams), order, 256)

    def probabilities(self, grams: Grams) -> Floats:
        """(n,) probability of the newest byte of each n-gram after the others."""
        found = np.full(len(grams), 1 / 256)
        for size, level in enumerate(self._levels, start=1):
            keys = grams & np.uint64((1 << 8 * size) - 1)
            left = looked_up(level.contexts, level.left, keys >> np.uint64(8), 1.0)
            found = looked_up(level.grams, level.share, keys, 0.0) + left * found
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
