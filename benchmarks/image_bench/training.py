"""Trains a baseline by the clock and keeps the weights that did best on held-out pictures.

In the baselines' favour: their clock starts after imports and reading, stands still while they are judged, and they
run in the fastest of several ways. Only what the papers and tutorials say of learning is done as they say it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import learning
from image_bench.making import BATCH
from image_bench.networks import LATENT, Critic, Generator, as_in_the_paper
from learning import Learnt

EVALUATIONS = 15
CRITIC_STEPS, PENALTY = 5, 10.0


@dataclass(frozen=True)
class Way:
    """How a baseline computes: what it learns is the same, but for rounding."""

    channels_last: bool = False
    bfloat16: bool = False

    def placed(self, network: nn.Module) -> nn.Module:
        return network.to(memory_format=torch.channels_last) if self.channels_last else network

    def autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16)


class Shuffled:
    """Batches (B, C, R, R) in -1..1 of (N, H, W, C) uint8 pictures, in a new order each time round."""

    def __init__(self, pictures: NDArray[np.uint8], seed: int, way: Way):
        self.pictures, self.way = pictures, way
        self.size = min(BATCH, len(pictures))
        self.noise = np.random.default_rng(seed)
        self.order = self.noise.permutation(len(pictures))
        self.at = 0

    def next(self) -> Tensor:
        if self.at + self.size > len(self.order):
            self.order, self.at = self.noise.permutation(len(self.pictures)), 0
        chosen = np.asarray(self.pictures[np.sort(self.order[self.at : self.at + self.size])])
        self.at += self.size
        batch = torch.from_numpy(chosen).permute(0, 3, 1, 2).float().div_(127.5).sub_(1)
        return batch.contiguous(
            memory_format=torch.channels_last if self.way.channels_last else torch.contiguous_format
        )


class Pupil(Protocol):
    """A baseline that learns. `pictures` counts the real ones it was shown, `last_loss` is of its last step."""

    generator: Generator
    pictures: int
    last_loss: Tensor

    def step(self) -> None: ...


class DCGAN:
    """Real and fake each told apart by cross-entropy; Adam 2e-4 with betas .5 and .999 for both networks."""

    def __init__(self, pictures: NDArray[np.uint8], seed: int, way: Way):
        torch.manual_seed(seed)
        resolution, channels = pictures.shape[1], pictures.shape[3]
        self.way, self.batches = way, Shuffled(pictures, seed, way)
        self.generator, self.critic = (
            Generator(resolution, channels),
            Critic(resolution, channels, normalised=True),
        )
        for network in (self.generator, self.critic):
            as_in_the_paper(network)
            way.placed(network)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=2e-4, betas=(0.5, 0.999))
        self.pictures, self.last_loss = 0, torch.zeros(())

    def step(self) -> None:
        real = self.batches.next()
        self.pictures += len(real)
        with self.way.autocast():
            fake = self.generator(torch.randn(len(real), LATENT))
            told_real, told_fake = self.critic(real), self.critic(fake.detach())
        loss = told_apart(told_real, 1.0) + told_apart(told_fake, 0.0)
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()

        with self.way.autocast():
            told_fake = self.critic(fake)
        generator_loss = told_apart(told_fake, 1.0)
        self.optimizer.zero_grad()
        generator_loss.backward()
        self.optimizer.step()
        self.last_loss = (loss + generator_loss).detach()


def told_apart(logits: Tensor, label: float) -> Tensor:
    logits = logits.float()
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


class WassersteinGP:
    """Wasserstein distance with gradient penalty (Gulrajani et al. 2017, arXiv:1704.00028, algorithm 1).

    The critic has no batch normalisation and is taught 5 times a step, with a penalty of 10; Adam 1e-4 with betas 0
    and .9 for both networks, weights as torch draws them.
    """

    def __init__(self, pictures: NDArray[np.uint8], seed: int, way: Way):
        torch.manual_seed(seed)
        resolution, channels = pictures.shape[1], pictures.shape[3]
        self.way, self.batches = way, Shuffled(pictures, seed, way)
        self.generator, self.critic = (
            Generator(resolution, channels),
            Critic(resolution, channels, normalised=False),
        )
        for network in (self.generator, self.critic):
            way.placed(network)
        self.optimizer = torch.optim.Adam(self.generator.parameters(), lr=1e-4, betas=(0.0, 0.9))
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=1e-4, betas=(0.0, 0.9))
        self.pictures, self.last_loss = 0, torch.zeros(())

    def step(self) -> None:
        for _ in range(CRITIC_STEPS):
            real = self.batches.next()
            self.pictures += len(real)
            loss = self.critic_loss(real)
            self.critic_optimizer.zero_grad()
            loss.backward()
            self.critic_optimizer.step()
        with self.way.autocast():
            generator_loss = (
                -self.critic(self.generator(torch.randn(self.batches.size, LATENT))).float().mean()
            )
        self.optimizer.zero_grad()
        generator_loss.backward()
        self.optimizer.step()
        self.last_loss = (loss + generator_loss).detach()

    def critic_loss(self, real: Tensor) -> Tensor:
        with self.way.autocast():
            with torch.no_grad():
                fake = self.generator(torch.randn(len(real), LATENT)).to(real.dtype)
            between = torch.lerp(fake, real, torch.rand(len(real), 1, 1, 1)).requires_grad_()
            told_real, told_fake = self.critic(real).float(), self.critic(fake).float()
            told_between = self.critic(between).float()
        (slopes,) = torch.autograd.grad(told_between.sum(), between, create_graph=True)
        penalty = (slopes.flatten(1).norm(dim=1) - 1).square().mean()
        return told_fake.mean() - told_real.mean() + PENALTY * penalty


PUPILS: dict[str, type[DCGAN] | type[WassersteinGP]] = {"dcgan": DCGAN, "wgan-gp": WassersteinGP}


def learn(pupil: Pupil, seconds: float, judge: Callable[[Generator], float] | None) -> Learnt:
    """Train for so many seconds; judging, which gives a FID, comes on top."""

    def step(progress: float) -> Tensor:
        pupil.step()
        return pupil.last_loss

    judged = None if judge is None else partial(judge, pupil.generator)
    return learning.learn(pupil.generator, step, judged, seconds, looks=EVALUATIONS)
