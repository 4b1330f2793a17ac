"""A session of pictures: each is made in one go from a seed's noise, many side by side.

F frames, H height, W width, C channels, Z the latent's size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.sampling.session import Chunk

TILE = 16
"""Pictures computed together. A product of another shape may round otherwise: a picture is what it is among so many."""
SMALLER = (1, 2, 4, 8)
"""Pictures that may be computed together where their bits are found to be those of a tile."""
MOST_FRAMES = 64
"""Of one step, unless a single request wants more: what a server makes beside them has its turn soon."""


@dataclass(frozen=True, slots=True)
class ImageJob:
    """One picture, or a walk of `frames` pictures from its seed to another."""

    seed: int
    label: int | None = None
    """Number of the class, where the network knows classes."""
    truncation: float = 1.0
    to_seed: int | None = None
    frames: int = 1


def latent(seed: int, size: int, truncation: float = 1.0) -> NDArray[np.float32]:
    """(Z,) normal noise of a seed, the same everywhere; `truncation` under 1 draws it towards the mean."""
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(size)
    return (noise * truncation).astype(np.float32)


def walk(begin: NDArray[np.float32], end: NDArray[np.float32], frames: int) -> NDArray[np.float32]:
    """(F, Z) from one latent to another, both included, along the great circle between them.

    A straight line would pass through lengths that normal noise never has (White 2016, arXiv:1609.04468).
    """
    shares = np.linspace(0.0, 1.0, frames)[:, None]
    a, b = begin.astype(np.float64), end.astype(np.float64)
    lengths = np.linalg.norm(a), np.linalg.norm(b)
    cosine = float(np.dot(a, b) / max(lengths[0] * lengths[1], 1e-12))
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    if np.sin(angle) < 1e-6:
        return ((1 - shares) * a + shares * b).astype(np.float32)
    shares_of = np.sin((1 - shares) * angle) / lengths[0], np.sin(shares * angle) / lengths[1]
    directions = (shares_of[0] * a + shares_of[1] * b) / np.sin(angle)
    return np.asarray(directions * ((1 - shares) * lengths[0] + shares * lengths[1]), np.float32)


def latents(job: ImageJob, size: int) -> NDArray[np.float32]:
    """(F, Z), one for each picture of the request."""
    begin = latent(job.seed, size, job.truncation)
    if job.to_seed is None:
        return begin[None]
    return walk(begin, latent(job.to_seed, size, job.truncation), job.frames)


@torch.no_grad()
def pictures(
    network: nn.Module, noise: NDArray[np.float32], labels: NDArray[np.int64] | None
) -> NDArray[np.uint8]:
    """(N, H, W, C) from (N, Z) latents and (N,) classes, in tiles of `TILE` so that company changes nothing.

    Fewer are computed together where that has been found to give the same bits.
    """
    network.eval()
    device = next(network.parameters()).device
    made = []
    for start in range(0, len(noise), TILE):
        rows = noise[start : start + TILE]
        size = (
            TILE if len(rows) == TILE else _size_for(network, len(rows), noise.shape[1], labels is not None)
        )
        classes = None if labels is None else _filled(labels[start : start + TILE], size).to(device)
        values = network(_filled(rows, size).to(device), classes)[: len(rows)].float()
        pixels = values.add(1).mul(127.5).round_().clamp_(0, 255).to(torch.uint8)
        made.append(pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy())
    return np.concatenate(made)


def _filled(rows: NDArray[Any], size: int) -> Tensor:
    """The rows, and as many of zeros as make them `size`."""
    given = torch.from_numpy(np.ascontiguousarray(rows))
    full = given.new_zeros((size, *given.shape[1:]))
    full[: len(given)] = given
    return full


@dataclass(slots=True)
class _Tried:
    """What is known of a network: under which conditions, how often it made less than a tile, and what came of it."""

    conditions: tuple[Any, ...]
    times: int = 0
    sizes: tuple[int, ...] = ()


_TRIED: WeakKeyDictionary[nn.Module, _Tried] = WeakKeyDictionary()


def _size_for(network: nn.Module, rows: int, latent_size: int, labelled: bool) -> int:
    """How many to compute together for fewer than a tile: the first time a tile, for trying costs three of them."""
    weight = next(network.parameters())
    if weight.device.type != "cpu":
        return TILE  # which takes a GPU no longer than one picture
    conditions = (torch.get_num_threads(), weight.device, weight.dtype, latent_size, labelled)
    tried = _TRIED.get(network)
    if tried is None or tried.conditions != conditions:
        tried = _TRIED[network] = _Tried(conditions)
    tried.times += 1
    if tried.times == 2:
        tried.sizes = sizes_with_equal_bits(network, latent_size, labelled)
    return next((size for size in tried.sizes if size >= rows), TILE)


@torch.no_grad()
def sizes_with_equal_bits(network: nn.Module, latent_size: int, labelled: bool) -> tuple[int, ...]:
    """Those of `SMALLER` that give each bit of `TILE` pictures that a tile gives, on this processor and threads.

    What libraries choose for a shape does not depend on the numbers, so what holds for these holds for others.
    """
    network.eval()
    noise = np.stack([latent(seed, latent_size) for seed in range(TILE)])

    def made(start: int, size: int) -> Tensor:
        labels = torch.zeros(size, dtype=torch.int64) if labelled else None
        values: Tensor = network(_filled(noise[start : start + size], size), labels)
        return values

    tile = made(0, TILE)
    return tuple(
        size
        for size in SMALLER
        if all(torch.equal(made(at, size), tile[at : at + size]) for at in range(0, TILE, size))
    )


class ImageSession:
    """Makes what was admitted, first come first made. A picture depends on its job and the network alone.

    Args:
        network: a generator, called as `network(z, labels)`.
        slots: requests held at the same time.
        size: of the network's latent.
        classes: how many the network knows; 0 for none.
    """

    def __init__(self, network: nn.Module, slots: int, *, size: int, classes: int):
        self.network = network
        self.size = size
        self.classes = classes
        self._free = list(range(slots))[::-1]
        self._jobs: dict[int, ImageJob] = {}
        self._paused: set[int] = set()

    def admit(self, request: ImageJob) -> int | None:
        if not self._free:
            return None
        slot = self._free.pop()
        self._jobs[slot] = request
        return slot

    def admit_many(self, requests: Sequence[ImageJob]) -> list[int | None]:
        return [self.admit(request) for request in requests]

    def pause(self, slot: int) -> None:
        self._paused.add(slot)

    def resume(self, slot: int) -> None:
        self._paused.discard(slot)

    def state(self, slot: int, unread: int = 0) -> None:
        """A picture is made in one go, and nothing goes on from it."""

    def release(self, slot: int) -> None:
        del self._jobs[slot]
        self._paused.discard(slot)
        self._free.append(slot)

    def step(self) -> list[Chunk]:
        """Each request is done at once; those over `MOST_FRAMES` wait for the next step."""
        chosen, noise = self._due()
        if not chosen:
            return []
        made = pictures(self.network, np.concatenate(noise), self._labels(chosen, noise))
        ends = np.cumsum([len(part) for part in noise])[:-1]
        chunks = [
            Chunk(slot, frames, "stop") for slot, frames in zip(chosen, np.split(made, ends), strict=True)
        ]
        for slot in chosen:
            self.release(slot)
        return chunks

    def _due(self) -> tuple[list[int], list[NDArray[np.float32]]]:
        """The slots to make now, and the latents of each."""
        chosen: list[int] = []
        noise: list[NDArray[np.float32]] = []
        frames = 0
        for slot, job in self._jobs.items():
            if slot in self._paused:
                continue
            frames += 1 if job.to_seed is None else job.frames
            if chosen and frames > MOST_FRAMES:
                break
            chosen.append(slot)
            noise.append(latents(job, self.size))
        return chosen, noise

    def _labels(
        self, chosen: Sequence[int], noise: Sequence[NDArray[np.float32]]
    ) -> NDArray[np.int64] | None:
        if not self.classes:
            return None
        numbers = [self._jobs[slot].label for slot in chosen]
        each = [-1 if number is None else number for number in numbers]
        return np.repeat(np.array(each, np.int64), [len(part) for part in noise])
