"""What an extractor is: a fixed function from pictures to features, in which sets of pictures are compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]
"""(N, H, W, C), C 1 (grey), 3 (RGB) or 4 (RGB and alpha)."""
Features = NDArray[np.float32]
"""(N, F)."""


class PictureSet(Protocol):
    """What an extractor asks of a dataset of pictures."""

    @property
    def path(self) -> Path: ...

    @property
    def digest(self) -> str: ...

    @property
    def codec(self) -> Any:
        """Has `classes`, the names of the labels."""
        ...

    def images(self, split: str) -> Pictures: ...

    def labels(self, split: str) -> NDArray[np.int32]:
        """(N,), -1 where a picture has none."""
        ...


@dataclass(frozen=True)
class Extractor:
    """A picture's features are the same whatever the others in its batch are."""

    name: str
    size: int
    """Features of a picture."""
    digest: str
    """Of all that the features depend on. Scores of extractors with different digests are not comparable."""
    features: Callable[[Pictures], Features]
    """(N, H, W, C) to (N, size), for any N from 0."""
    note: str = ""
    """What a reader of its scores should know."""
    classify: Callable[[Pictures], NDArray[np.int64]] | None = None
    """(N, H, W, C) to (N,) numbers of classes, where it was trained to know them."""


@dataclass(frozen=True)
class ExtractorPart:
    """An entry of the shelf: how to come by an extractor for a dataset."""

    build: Callable[[PictureSet, float], Extractor]
    """From a dataset, and the seconds that training may take where there is any."""
    about: str
    """One line for a list of extractors."""


def tiles(pictures: Pictures, size: int) -> Iterator[tuple[slice, Pictures]]:
    """Pictures in batches of exactly `size`, the last filled up with black; and where they stood.

    Kernels may be chosen by the size of a batch, so that its size would show in a picture's last digits.
    """
    for first in range(0, len(pictures), size):
        tile = np.asarray(pictures[first : first + size])
        place = slice(first, first + len(tile))
        if len(tile) < size:
            tile = np.concatenate([tile, np.zeros((size - len(tile), *tile.shape[1:]), np.uint8)])
        yield place, tile


def on_white(pictures: Pictures) -> NDArray[np.float32]:
    """(N, H, W, 3) RGB from 0 to 1; what is transparent shows white, grey is repeated."""
    numbers: NDArray[np.float32] = np.asarray(pictures, np.float32) / np.float32(255)
    if numbers.shape[-1] == 1:
        return np.repeat(numbers, 3, axis=-1)
    if numbers.shape[-1] == 4:
        colours, alpha = numbers[..., :3], numbers[..., 3:]
        return np.asarray(colours * alpha + (1 - alpha), np.float32)
    return numbers
