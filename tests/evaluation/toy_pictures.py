"""A stand-in for a dataset of pictures, with two classes that nobody could mistake: bars lying and standing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Toy:
    path: Path
    pictures: Mapping[str, Pictures]
    classes_of: Mapping[str, NDArray[np.int32]]
    digest: str = "sha256:" + "0" * 64
    codec: Any = field(default_factory=lambda: SimpleNamespace(classes=("lying", "standing")))
    info: Mapping[str, Any] = field(default_factory=dict)

    def images(self, split: str) -> Pictures:
        return self.pictures[split]

    def labels(self, split: str) -> NDArray[np.int32]:
        return self.classes_of[split]


def bars(count: int, seed: int, side: int = 16, channels: int = 3) -> tuple[Pictures, NDArray[np.int32]]:
    """Pictures (count, side, side, channels) of one bar each on a noisy ground, and 0 if it lies, 1 if it stands.

    As those of a dataset, mapped from disk, they cannot be written to.
    """
    rng = np.random.default_rng(seed)
    pictures = rng.integers(150, 256, (count, side, side, channels), dtype=np.uint8)
    labels = rng.integers(0, 2, count).astype(np.int32)
    for picture, label, at in zip(pictures, labels, rng.integers(2, side - 4, count), strict=True):
        bar = picture[at : at + 3] if label == 0 else picture[:, at : at + 3]
        bar[..., :3] = rng.integers(0, 100, min(channels, 3))
    pictures.setflags(write=False)
    labels.setflags(write=False)
    return pictures, labels


def toy(folder: Path, *, labelled: bool = True, side: int = 16, channels: int = 3) -> Toy:
    made = {
        split: bars(count, seed, side, channels)
        for split, count, seed in (("train", 60, 1), ("valid", 40, 2), ("test", 40, 3))
    }
    labels = {split: found if labelled else np.full_like(found, -1) for split, (_, found) in made.items()}
    classes = SimpleNamespace(classes=("lying", "standing") if labelled else ())
    return Toy(folder, {split: pictures for split, (pictures, _) in made.items()}, labels, codec=classes)
