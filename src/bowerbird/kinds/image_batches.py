"""Which pictures an image run reads at each step, and in which size.

N pictures, B of a batch, H height, W width, C channels.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import UsageError
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.image_settings import ImageRun

Pictures = NDArray[np.uint8]
Batch = tuple[Pictures, NDArray[np.int64]]


def batches(dataset: Dataset, config: ImageRun) -> Callable[[int], Batch]:
    """The batch of a step as a pure function of (seed, step): (B, H, W, C) pictures and (B,) classes.

    Every picture is read once before any is read again, each time in another order. -1 is no class.
    """
    images, side = dataset.images("train"), config.model.resolution
    labels = dataset.labels("train").astype(np.int64)
    if not config.model.classes:
        labels = np.full(len(images), -1, np.int64)
    total, size = len(images), config.batch_size

    @lru_cache(maxsize=2)
    def order(round_: int) -> NDArray[np.int64]:
        return np.random.default_rng([config.seed, round_]).permutation(total)

    def read(step: int) -> Batch:
        places = np.arange(step * size, (step + 1) * size)
        rounds, within = np.divmod(places, total)
        chosen = np.array(
            [order(round_)[place] for round_, place in zip(rounds.tolist(), within.tolist(), strict=True)]
        )
        return shrunk(images[chosen], side), labels[chosen]

    return read


def shrunk(pictures: Pictures, side: int) -> Pictures:
    """(N, H, H, C) pictures at (N, side, side, C), each pixel the mean of those it stands for.

    Opacity weighs nothing here: what is transparent keeps its colour.

    Raises:
        UsageError: the side does not go into theirs.
    """
    own = pictures.shape[1]
    if own == side:
        return np.asarray(pictures)
    if own % side or own < side:
        raise UsageError(
            f"a model of {side} pixels cannot learn from pictures of {own}",
            hint=f"--set model.resolution={own}, or half of it; or prepare them with --set image.size={side}",
        )
    times, channels = own // side, pictures.shape[-1]
    blocks = np.asarray(pictures).reshape(-1, side, times, side, times, channels)
    sums = blocks.sum((2, 4), dtype=np.uint32)
    return np.asarray((sums + times * times // 2) // (times * times), np.uint8)
