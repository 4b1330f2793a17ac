"""Trains a baseline by the clock: rates follow the share of the time that has passed, the best weights are kept.

In the baselines' favour: their clock starts after imports, compilation and reading the text, evaluations are few
and short, and the score of the whole held-out text is found after the clock has stopped.
"""

from __future__ import annotations

import itertools
import math
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

import learning
from bowerbird.data.dataset import Dataset
from learning import Learnt, NotNumbers
from text_bench.plain_lstm import PlainLSTM
from text_bench.scoring import Paid, carried_paid, held_out, windows_paid
from text_bench.transformer import CONTEXT, Transformer

EVALUATED_TOKENS = 16_384
EVALUATIONS = 20
EVALUATION_SHARE = 0.02
"""At most this share of the time goes into evaluations."""


class Pupil(Protocol):
    """A baseline that learns: its network and optimiser, the tokens of a step, and what to do with them."""

    network: nn.Module
    optimizer: torch.optim.Optimizer
    tokens_a_step: int

    def loss(self) -> Tensor: ...
    def rate(self, step: int, progress: float) -> float: ...
    def evaluate(self) -> Paid: ...


class TransformerPupil:
    """AdamW 1e-3, betas .9 and .99, decay .1, 100 steps of warm-up, cosine to a tenth, 12 windows of 64."""

    tokens_a_step = 12 * CONTEXT

    def __init__(self, dataset: Dataset, seed: int, *, compiled: bool = False, bfloat16: bool = False):
        torch.manual_seed(seed)
        self.noise = np.random.default_rng(seed)
        self.tokens, self.byte_sizes = dataset.tokens("train"), dataset.codec.byte_sizes
        self.network = Transformer(dataset.codec.vocab_size)
        self.forward = torch.compile(self.network) if compiled else self.network
        self.bfloat16 = bfloat16
        matrices = [weight for weight in self.network.parameters() if weight.dim() > 1]
        others = [weight for weight in self.network.parameters() if weight.dim() == 1]
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": 0.1},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
        self.seen = evaluated(dataset)

    def loss(self) -> Tensor:
        starts = self.noise.integers(0, len(self.tokens) - CONTEXT, 12)
        windows = np.stack([self.tokens[start : start + CONTEXT + 1] for start in starts.tolist()])
        batch = torch.from_numpy(windows.astype(np.int64))
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bfloat16):
            logits = self.forward(batch[:, :-1])
        return F.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())

    def rate(self, step: int, progress: float) -> float:
        return 1e-3 * min(1.0, (step + 1) / 100) * cosine(progress)

    def evaluate(self) -> Paid:
        return windows_paid(self.network, self.seen, self.byte_sizes, CONTEXT)


class PlainLSTMPupil:
    """AdamW 4e-3, betas .9 and .99, cosine to a tenth, 16 rows of 64 that read on, state carried."""

    rows, length = 16, 64
    tokens_a_step = rows * length

    def __init__(self, dataset: Dataset, seed: int):
        torch.manual_seed(seed)
        self.tokens, self.byte_sizes = dataset.tokens("train"), dataset.codec.byte_sizes
        self.network = PlainLSTM(dataset.codec.vocab_size)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=4e-3, betas=(0.9, 0.99), fused=True)
        self.state = self.network.start(self.rows)
        shift = np.random.default_rng(seed).integers(len(self.tokens))
        self.places = shift + np.arange(self.rows) * len(self.tokens) // self.rows
        self.seen = evaluated(dataset)

    def loss(self) -> Tensor:
        windows = self.tokens[(self.places[:, None] + np.arange(self.length + 1)) % len(self.tokens)]
        self.places += self.length
        batch = torch.from_numpy(windows.astype(np.int64))
        logits, (h, c) = self.network(batch[:, :-1], self.state)
        self.state = (h.detach(), c.detach())
        return F.cross_entropy(logits.flatten(0, 1), batch[:, 1:].flatten())

    def rate(self, step: int, progress: float) -> float:
        return 4e-3 * cosine(progress)

    def evaluate(self) -> Paid:
        return carried_paid(self.network, self.seen, self.byte_sizes)


def cosine(progress: float) -> float:
    """From 1 to 0.1 over the run."""
    return 0.1 + 0.45 * (1 + math.cos(math.pi * min(progress, 1.0)))


def evaluated(dataset: Dataset) -> list[NDArray[np.int64]]:
    """About `EVALUATED_TOKENS` of the held-out text, in pieces taken evenly from the whole of it."""
    text = np.concatenate(held_out(dataset))
    size = min(EVALUATED_TOKENS // 16, len(text) // 16)
    return [text[start : start + size + 1] for start in np.linspace(0, len(text) - size - 1, 16).astype(int)]


def learn(pupil: Pupil, seconds: float, *, evaluate: bool = True) -> Learnt:
    """Train until the seconds are over, evaluations included. The scores are bits per byte on a part of the text."""
    steps = itertools.count()

    def step(progress: float) -> Tensor:
        pupil.network.train()
        rate = pupil.rate(next(steps), progress)
        for group in pupil.optimizer.param_groups:
            group["lr"] = rate
        loss = pupil.loss()
        loss.backward()
        nn.utils.clip_grad_norm_(pupil.network.parameters(), 1.0)
        pupil.optimizer.step()
        pupil.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def judge() -> float:
        bits = pupil.evaluate().bits_per_byte
        if not math.isfinite(bits):
            raise NotNumbers("a token has a probability that is no number")
        return bits

    return learning.learn(
        pupil.network, step, judge if evaluate else None, seconds, looks=EVALUATIONS, share=EVALUATION_SHARE
    )


def warm_up(pupil: Pupil) -> None:
    """Pay for compilation: two passes forward and back that teach nothing."""
    for _ in range(2):
        pupil.loss().backward()
        pupil.optimizer.zero_grad(set_to_none=True)
