"""Learning to predict the next token, the state carried from window to window. Text and melody.

B rows, T time. Each row of a batch reads on where it stopped, so its state carries over. Now and then a
row starts again from the empty state, so that the model knows how a document begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bowerbird.base.device import Precision, seed_noise
from bowerbird.learning.loop import Arrays, NotFinite
from bowerbird.learning.optimizers import OptimizerConfig, build_adamw, optimizer_state, restore_optimizer
from bowerbird.learning.pace import rate_at
from bowerbird.learning.parts import Parts
from bowerbird.models.ngrams import Tables
from bowerbird.models.rnn import RNN, State

FORGET = 0.03
"""Chance that a row starts a window from the empty state."""


class NextToken:
    """The learner of a recurrent network. One that counts n-grams is told the `parts` of its text."""

    def __init__(
        self,
        network: RNN,
        config: OptimizerConfig,
        *,
        rows: int,
        seed: int,
        precision: Precision = "float32",
        parts: Parts | None = None,
    ):
        self.network = network
        self.parts = parts
        self._tables: Tables | None = None
        self.config = config
        self.seed = seed
        self.precision = precision
        self.optimizer = build_adamw(network, config)
        self.device = network.embedding.weight.device
        self.state: State = network.start(rows)
        self.scale = 1.0

    def step(self, batch: NDArray[np.int64], step: int, progress: float) -> dict[str, float]:
        seed_noise(self.seed, step)
        tokens = torch.from_numpy(batch).to(self.device)
        rate = self.config.learning_rate * rate_at(progress) * self.scale
        self.network.train()
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits, after = self.network(tokens[:, :-1], self._forgetful(len(batch)), self._held(step))
        loss = F.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.config.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            self.optimizer.zero_grad(set_to_none=True)
            raise NotFinite(f"loss {loss.item():.4g}, gradient norm {norm.item():.4g} at step {step}")
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.state = tuple(part.detach().float() for part in after)
        return {
            "loss": loss.item(),
            "gradient_norm": norm.item(),
            "rate": rate,
            "tokens": tokens[:, 1:].numel(),
        }

    def _forgetful(self, rows: int) -> State:
        keep = (torch.rand(rows, 1, device=self.device) >= FORGET).float()
        return tuple(part * keep for part in self.state)

    def _held(self, step: int) -> tuple[Tables, Tensor] | None:
        """Tables that have not counted what they are asked about."""
        if self.parts is None or self.network.ngrams is None:
            return None
        if self._tables is None:
            self._tables = self.network.ngrams.tables(self.parts.counted)
        return self._tables, torch.from_numpy(self.parts.numbers(step)).to(self.device)

    def shipped(self) -> Arrays:
        return {name: value.detach() for name, value in self.network.state_dict().items()}

    def partners(self) -> Arrays:
        return {}

    def resume_state(self) -> Arrays:
        carried = {f"state/{index}": part for index, part in enumerate(self.state)}
        optimizer = {
            f"optimizer/{key}": value for key, value in optimizer_state(self.network, self.optimizer).items()
        }
        return {**carried, **optimizer, "scale": torch.tensor(self.scale, dtype=torch.float64)}

    def restore(
        self,
        shipped: Mapping[str, Tensor],
        partners: Mapping[str, Tensor],
        resume_state: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.network.load_state_dict(dict(shipped), strict=True)
        self._tables = None
        if resume_state is None:
            return
        self.state = tuple(
            _as_large(resume_state[f"state/{index}"], part).clone().to(self.device)
            for index, part in enumerate(self.state)
        )
        kept = {
            key.removeprefix("optimizer/"): value
            for key, value in resume_state.items()
            if key.startswith("optimizer/")
        }
        restore_optimizer(self.network, self.optimizer, kept)
        self.scale = float(resume_state["scale"])

    def calm(self, factor: float) -> None:
        self.scale *= factor


def _as_large(value: Tensor, part: Tensor) -> Tensor:
    if value.shape != part.shape:
        raise ValueError(f"a carried state is {tuple(value.shape)} where it must be {tuple(part.shape)}")
    return value


@torch.no_grad()
def window_loss(network: RNN, tokens: NDArray[np.int64], held: tuple[Tables, Tensor] | None = None) -> float:
    """Nats a token over rows of consecutive tokens (B, T + 1), each from the empty state.

    `held` are n-gram tables to ask instead of the network's own, and which of them for each target (B, T).
    """
    network.eval()
    device = network.embedding.weight.device
    state, total = network.start(len(tokens)), 0.0
    for start in range(0, tokens.shape[1] - 1, 256):
        part = torch.from_numpy(np.ascontiguousarray(tokens[:, start : start + 257])).to(device)
        here = None if held is None else (held[0], held[1][:, start : start + 256].to(device))
        logits, state = network(part[:, :-1], state, here)
        total += float(F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="sum"))
    return float(total / (tokens.shape[0] * (tokens.shape[1] - 1)))


@torch.no_grad()
def token_nats(
    network: RNN,
    sequences: Sequence[NDArray[np.int64]],
    chunk: int = 512,
    possible: Sequence[NDArray[np.bool_]] | None = None,
) -> list[NDArray[np.float64]]:
    """Nats of each token after the first of each sequence (T,), its state carried throughout: (T - 1,) each.

    Sequences are computed side by side, padded at their ends; a row never sees another. With `possible`,
    (T - 1, V) of each, tokens that are not have no probability.
    """
    network.eval()
    device = network.embedding.weight.device
    longest = max(len(sequence) for sequence in sequences)
    padded = np.zeros((len(sequences), longest), np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    state, parts = network.start(len(sequences)), []
    for start in range(0, longest - 1, chunk):
        part = torch.from_numpy(np.ascontiguousarray(padded[:, start : start + chunk + 1])).to(device)
        logits, state = network(part[:, :-1], state)
        for index, mask in enumerate(possible or ()):
            allowed = torch.from_numpy(mask[start : start + chunk]).to(device)
            logits[index, : len(allowed)].masked_fill_(~allowed, -torch.inf)
        nats = F.cross_entropy(logits.float().flatten(0, 1), part[:, 1:].flatten(), reduction="none")
        parts.append(nats.view(len(sequences), -1).double().cpu().numpy())
    table = np.concatenate(parts, axis=1) if parts else np.zeros((len(sequences), 0))
    return [row[: max(len(sequence) - 1, 0)] for row, sequence in zip(table, sequences, strict=True)]
