"""Rolling hashes of every window of a text at once, and a table of the windows of some texts.

The polynomial hash of Karp and Rabin 1987 (IBM Journal of Research and Development 31(2)), modulo 2^64, from
prefix sums. A hash proposes and never decides: whoever uses it compares the characters themselves.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.uint32]
"""Code points, one number a character."""
Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]
Flags = NDArray[np.bool_]

_BASE = 0x9E3779B97F4A7C15
"""Odd, so that it has an inverse modulo 2^64; 5 modulo 8, so that its powers repeat only after 2^62."""
_INVERSE = pow(_BASE, -1, 1 << 64)
_FILTER_BITS = 19


def code_points(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def as_text(codes: Codes) -> str:
    return codes.tobytes().decode("utf-32-le", "surrogatepass")


class Powers:
    """Powers of the base and of its inverse, for texts of up to `length` characters."""

    def __init__(self, length: int):
        self.base = _powers(1, _BASE, length)
        # One factor of the base is left in, to spread short windows over the high bits of the hash.
        self.inverse = _powers(_BASE, _INVERSE, length)

    def prefix(self, codes: Codes) -> Hashes:
        """(n + 1,) sums of (code + 1) * base^i over the first 0, 1 ... n characters."""
        sums = np.zeros(len(codes) + 1, np.uint64)
        np.cumsum((codes.astype(np.uint64) + np.uint64(1)) * self.base[: len(codes)], out=sums[1:])
        return sums

    def hashes(self, prefix: Hashes, length: int) -> Hashes:
        """(n - length + 1,) hash of each window of `length`; equal windows have equal hashes anywhere."""
        difference = prefix[length:] - prefix[: max(0, len(prefix) - length)]
        difference *= self.inverse[: len(difference)]
        return difference


def _powers(first: int, factor: int, length: int) -> Hashes:
    steps = np.full(length, factor, np.uint64)
    steps[:1] = first
    return np.cumprod(steps, dtype=np.uint64)


class Windows:
    """Windows of one length in a text, found again by their hash.

    Args:
        hashes: (windows,) of every window of the text, in order.
        kept: (windows,) those that are asked for; all of them by default.
    """

    def __init__(self, hashes: Hashes, kept: Flags | None = None):
        places = np.arange(len(hashes)) if kept is None else np.flatnonzero(kept)
        self.places: Places = places[np.argsort(hashes[places], kind="stable")]
        self.hashes: Hashes = hashes[self.places]
        # A small table of bits answers for nearly all of a stream; a binary search for the rest.
        self._filter = np.zeros(1 << _FILTER_BITS, np.bool_)
        self._filter[_high(self.hashes)] = True

    def candidates(self, stream: Hashes) -> tuple[Places, Places]:
        """(found,) positions in the stream with a known hash, and for each the first index of that hash."""
        maybe = np.flatnonzero(self._filter[_high(stream)]) if len(self.hashes) else np.zeros(0, np.int64)
        index = np.searchsorted(self.hashes, stream[maybe])
        index[index == len(self.hashes)] = 0
        hit = self.hashes[index] == stream[maybe]
        return maybe[hit], index[hit]

    def group(self, index: int) -> Places:
        """Places of every window that has the hash at `index`."""
        return self.places[index : np.searchsorted(self.hashes, self.hashes[index], side="right")]


def _high(hashes: Hashes) -> Places:
    return (hashes >> np.uint64(64 - _FILTER_BITS)).view(np.int64)
