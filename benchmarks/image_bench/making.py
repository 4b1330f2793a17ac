"""Pictures by a baseline or a model of ours, and how many a second. Pictures are (N, H, W, C) uint8."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from image_bench.networks import LATENT, Generator
from learning import NotNumbers

Pictures = NDArray[np.uint8]
Make = Callable[[int, int], Pictures]
"""(how many at once, seed) -> pictures."""
BATCH = 64


def to_pictures(made: Tensor) -> Pictures:
    """From (N, C, H, W) in -1..1.

    Raises:
        NotNumbers: not all of it is finite.
    """
    made = made.float()
    if not bool(torch.isfinite(made).all()):
        raise NotNumbers("a generator makes what is not a number")
    levels = ((made + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy()


@torch.no_grad()
def sampled(generator: Generator, count: int, seed: int) -> Pictures:
    """So many pictures in batches of 64, by the statistics that the generator's mode says."""
    noise = torch.Generator().manual_seed(seed)
    parts = [
        to_pictures(generator(torch.randn(BATCH, LATENT, generator=noise))) for _ in range(0, count, BATCH)
    ]
    return np.concatenate(parts)[:count]


def baseline(generator: Generator, *, channels_last: bool, bfloat16: bool) -> Make:
    generator.eval()
    if channels_last:
        generator.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def make(count: int, seed: int) -> Pictures:
        latent = torch.randn(count, LATENT, generator=torch.Generator().manual_seed(seed))
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            return to_pictures(generator(latent))

    return make


def ours(model: Any) -> Make:
    """As `generate` makes them, in memory."""
    return lambda count, seed: stacked(model.generate(n=count, seed=seed))


def stacked(samples: Any) -> Pictures:
    """The pictures of samples, one each."""
    arrays = [np.asarray(sample.content) for sample in samples]
    return np.stack([array.reshape(array.shape[-3:]) for array in arrays])


def asked_for(labels: NDArray[np.int32], count: int, seed: int) -> NDArray[np.int64]:
    """(count,) classes as frequent as among the labels, in order; -1, which stands for none, is left out."""
    known = labels[labels >= 0]
    drawn = np.random.default_rng(seed).choice(known, count) if len(known) else np.zeros(0)
    return np.sort(drawn).astype(np.int64)


def by_class(model: Any, asked: NDArray[np.int64], seed: int) -> Pictures:
    """A picture of each class asked for, in that order; `asked` is sorted."""
    parts = []
    for label, count in zip(*np.unique(asked, return_counts=True), strict=True):
        for done in range(0, int(count), BATCH * 8):
            size = min(BATCH * 8, int(count) - done)
            parts.append(stacked(model.generate(n=size, seed=seed, label=int(label))))
            seed += size  # sample i of a call has the seed `seed + i`: none is used twice
    return np.concatenate(parts)


def unasked(model: Any, count: int, seed: int) -> Pictures:
    starts = range(0, count, BATCH * 8)
    return np.concatenate(
        [stacked(model.generate(n=min(BATCH * 8, count - at), seed=seed + at)) for at in starts]
    )


def rates(
    makers: dict[str, Make], batches: list[int], seconds: float, repeats: int
) -> dict[str, dict[str, Any]]:
    """Median pictures a second by contestant and batch, contestants taking turns."""
    found: dict[str, dict[int, list[float]]] = {name: {batch: [] for batch in batches} for name in makers}
    for batch in batches:
        for repeat in range(repeats):
            for name, make in makers.items():
                if repeat == 0:
                    make(batch, 0)
                found[name][batch].append(rate(make, batch, seconds))
    return {
        name: {
            "pictures_per_second": {str(batch): median(several) for batch, several in rated.items()},
            "all": {str(batch): several for batch, several in rated.items()},
        }
        for name, rated in found.items()
    }


def rate(make: Make, batch: int, seconds: float) -> float:
    made, began = 0, time.perf_counter()
    while True:
        made += len(make(batch, made + 1))
        if (passed := time.perf_counter() - began) >= seconds:
            return made / passed
