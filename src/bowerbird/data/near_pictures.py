"""Near duplicates of pictures: a perceptual hash proposes, the pixels decide.

The hash is that of Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010),
section 3.2.1, as in ImageHash's `phash`: which of the 64 lowest frequencies of a 32 x 32 grey copy (the
discrete cosine transform) are above their median. Two hashes that differ in at most 3 of 64 bits agree in
at least one band of 16. N pictures, B pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.picture import Picture

MOST_BITS = 3
MOST_DIFFERENCE = 4.0
"""Of 255: thumbnails whose colours differ by less on average are of the same picture."""

THUMBNAIL = 16
MOST_NEIGHBOURS = 512
"""A picture is compared with at most so many that share a band with it: those with the nearest numbers."""

_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""ITU-R BT.601"""

_HASHED = 32
_LOW = 8
_BAND_BITS = 16
_AT_ONCE = 256

Hashes = NDArray[np.uint64]


def phash(pictures: Picture) -> Hashes:
    """(N,) hashes of (N, S, S, 3) square pictures whose side S is a power of two from 16."""
    grey = _resized(pictures, _HASHED) @ _GREY
    waves = _waves()
    low = (waves @ grey @ waves.T).reshape(len(pictures), _LOW * _LOW)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").astype(np.uint64)[:, 0]


def _waves() -> NDArray[np.float32]:
    """(8, 32): the lowest frequencies of the discrete cosine transform (type II)."""
    places, frequencies = np.arange(_HASHED), np.arange(_LOW)[:, None]
    return np.cos(np.pi * (2 * places + 1) * frequencies / (2 * _HASHED)).astype(np.float32)


def _resized(pictures: Picture, side: int) -> NDArray[np.float32]:
    """(N, S, S, C) to (N, side, side, C): areas averaged, or pixels repeated."""
    count, here, _, channels = pictures.shape
    if here <= side:
        return pictures.repeat(side // here, axis=1).repeat(side // here, axis=2).astype(np.float32)
    block = here // side
    areas = pictures.reshape(count, side, block, side, block, channels)
    means: NDArray[np.float32] = areas.mean(axis=(2, 4), dtype=np.float32)
    return means


def resembling(
    pictures: Callable[[NDArray[np.int64]], Picture], left_out: NDArray[np.bool_]
) -> dict[int, tuple[int, float]]:
    """Picture -> (the kept one before it that it resembles, how much their colours differ, of 255).

    `pictures` gives those of the numbers it is asked for, as (n, S, S, 3). `left_out` is (N,), true for
    those dropped already.
    """
    rows = np.flatnonzero(~left_out)
    if len(rows) < 2:
        return {}
    hashes = np.concatenate([phash(pictures(block)) for block in _blocks(rows)])
    found: list[tuple[int, int, float]] = []
    for pairs in _proposed(hashes):
        numbers = rows[pairs]
        for block in _blocks(numbers):
            differences = _differences(pictures, block)
            near = differences < MOST_DIFFERENCE
            found += zip(
                block[near, 1].tolist(), block[near, 0].tolist(), differences[near].tolist(), strict=True
            )
    alike: dict[int, tuple[int, float]] = {}
    for later, earlier, difference in sorted(set(found)):
        if earlier not in alike and later not in alike:
            alike[later] = (earlier, difference)
    return alike


def _blocks(rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    return (rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE))


def _proposed(hashes: Hashes) -> Iterator[NDArray[np.int64]]:
    """(B, 2) pairs (earlier, later) whose hashes differ in at most `MOST_BITS`; some more than once."""
    for shift in range(0, 64, _BAND_BITS):
        band = hashes >> np.uint64(shift) & np.uint64((1 << _BAND_BITS) - 1)
        order = np.lexsort((hashes, band))
        band, sorted_hashes = band[order], hashes[order]
        at = np.arange(len(order))
        for apart in range(1, MOST_NEIGHBOURS + 1):
            at = at[at < len(order) - apart]
            at = at[band[at] == band[at + apart]]
            if not len(at):
                break
            near = at[np.bitwise_count(sorted_hashes[at] ^ sorted_hashes[at + apart]) <= MOST_BITS]
            if len(near):
                yield np.sort(np.stack([order[near], order[near + apart]], axis=1), axis=1)


def _differences(
    pictures: Callable[[NDArray[np.int64]], Picture], pairs: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(B,) mean absolute differences of the thumbnails of (B, 2) pictures, in levels of 255."""
    numbers, places = np.unique(pairs, return_inverse=True)
    thumbnails = _resized(pictures(numbers), THUMBNAIL)
    first, second = places.reshape(pairs.shape).T
    apart = np.abs(thumbnails[first] - thumbnails[second])
    means: NDArray[np.float64] = apart.mean(axis=(1, 2, 3), dtype=np.float64)
    return means
