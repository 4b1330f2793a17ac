"""Sampling tokens from a recurrent network: one state row a request, a shared step, noise of its own.

B rows, V vocabulary. Rows are computed in tiles of a fixed size, because a product's last bits may change
with the number of rows: so a request's tokens do not depend on what runs beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bowerbird.models.rnn import RNN, State
from bowerbird.sampling.session import Chunk, FinishReason, Guide

TILE = 8
_PROMPT_CHUNK = 2048


@dataclass(frozen=True)
class TokenRequest:
    """What to sample. None switches a filter off; filters apply in the order written here."""

    prompt: NDArray[np.int64]
    """(tokens,), at least one."""
    length: int
    """The most tokens to make."""
    ends: frozenset[int]
    """Tokens that end the request; they are not given out."""
    seed: int
    banned: frozenset[int] = frozenset()
    """Tokens that are never made."""
    repetition_penalty: float = 1.0
    """Divides the odds of tokens already used, prompt included (Keskar et al. 2019, arXiv:1909.05858, 4.1)."""
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_k: int | None = None
    top_p: float | None = None
    """Nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751)."""
    min_p: float | None = None
    """Drops tokens less likely than this share of the likeliest (Nguyen et al. 2024, arXiv:2407.01082)."""
    guide: Guide | None = None
    """Allows tokens step by step, after its own prompt; then an end may come whenever the guide allows it."""


@dataclass
class _Stream:
    request: TokenRequest
    noise: np.random.Generator
    made: int = 0


class TokenSession:
    """A `Session` over a network in evaluation mode. Each step gives each request one token."""

    def __init__(self, network: RNN, slots: int = TILE):
        self.network = network.eval()
        self.slots = -(-slots // TILE) * TILE
        self._streams: list[_Stream | None] = [None] * self.slots
        device = network.embedding.weight.device
        self._state = tuple(part.clone() for part in network.start(self.slots))
        self._logits = torch.zeros(self.slots, network.vocab_size, device=device)
        self._used = torch.zeros(self.slots, network.vocab_size, dtype=torch.bool, device=device)
        self._banned = torch.zeros_like(self._used)
        self._device = device

    @torch.no_grad()
    def admit(self, request: TokenRequest) -> int | None:
        if None not in self._streams:
            return None
        slot = self._streams.index(None)
        prompt = torch.from_numpy(np.ascontiguousarray(request.prompt, np.int64)).to(self._device)
        logits, state = read_prompt(self.network, prompt)
        for mine, value in zip(self._state, state, strict=True):
            mine[slot] = value[0]
        self._logits[slot] = logits
        if request.guide is None:
            self._logits[slot, sorted(request.ends)] = -torch.inf  # an answer is never empty
        self._banned[slot] = False
        self._banned[slot, sorted(request.banned)] = True
        self._used[slot] = False
        self._used[slot, prompt] = True
        self._streams[slot] = _Stream(request, np.random.default_rng(request.seed))
        return slot

    @torch.no_grad()
    def step(self) -> list[Chunk]:
        used = max((slot + 1 for slot, stream in enumerate(self._streams) if stream), default=0)
        rows = slice(0, -(-used // TILE) * TILE)
        streams = self._streams[rows]
        if not streams:
            return []
        for slot, stream in enumerate(streams):
            if stream is not None and stream.request.guide is not None:
                self._obey(slot, stream.request.guide, stream.request.banned)
        allowed = self._logits[rows].masked_fill(self._banned[rows], -torch.inf)
        tokens = sample(allowed, self._used[rows], streams)  # row by row: only products need tiles
        self._used[rows].scatter_(1, tokens[:, None], True)
        chunks = []
        for slot, (stream, token) in enumerate(zip(streams, tokens.tolist(), strict=True)):
            if stream is None:
                continue
            stream.made += 1
            ended = token in stream.request.ends
            if stream.request.guide is not None and not ended:
                stream.request.guide.push(token)
            finished: FinishReason | None = (
                "stop" if ended else "length" if stream.made >= stream.request.length else None
            )
            chunks.append(Chunk(slot, np.array([] if ended else [token], np.int64), finished))
            if finished:
                self._streams[slot] = None
        for first in range(0, len(streams), TILE):
            if any(self._streams[first : first + TILE]):
                self._read_tile(slice(first, first + TILE), tokens[first : first + TILE])
        return chunks

    def release(self, slot: int) -> None:
        self._streams[slot] = None

    def _obey(self, slot: int, guide: Guide, banned: frozenset[int]) -> None:
        self._banned[slot] = torch.from_numpy(~guide.allowed()).to(self._device)
        if banned:
            self._banned[slot, sorted(banned)] = True

    def _read_tile(self, rows: slice, tokens: Tensor) -> None:
        logits, state = self.network.step(tokens, tuple(part[rows] for part in self._state))
        for mine, value in zip(self._state, state, strict=True):
            mine[rows] = value
        self._logits[rows] = logits.float()


def read_prompt(network: RNN, prompt: Tensor) -> tuple[Tensor, State]:
    """Logits (V,) after a prompt (tokens,), and the state of its one row."""
    state = network.start(1)
    for first in range(0, len(prompt), _PROMPT_CHUNK):
        logits, state = network(prompt[None, first : first + _PROMPT_CHUNK], state)
    return logits[0, -1].float(), state


def sample(logits_BV: Tensor, used_BV: Tensor, streams: list[_Stream | None]) -> Tensor:
    """One token a row, (B,) int64, by each row's own settings and noise. Rows without a stream get 0."""
    requests = [stream.request if stream else None for stream in streams]

    def column(name: str, off: float) -> Tensor | None:
        """The (B, 1) values of a setting, or None where no request uses it."""
        values = [getattr(request, name, None) for request in requests]
        filled = [off if value is None else float(value) for value in values]
        if all(value == off for value in filled):
            return None
        return torch.tensor(filled, dtype=torch.float32, device=logits_BV.device)[:, None]

    logits = logits_BV
    vocab_size = logits.shape[1]
    if (penalty := column("repetition_penalty", 1.0)) is not None:
        penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
        logits = torch.where(used_BV, penalised, logits)
    likeliest = logits.argmax(1)
    temperature = column("temperature", 1.0)
    if temperature is not None:
        logits = logits / temperature.clamp(min=1e-6)
    probabilities = logits.softmax(1)
    top_k, top_p = column("top_k", float(vocab_size)), column("top_p", 2.0)
    if top_k is not None or top_p is not None:
        ordered, order = probabilities.sort(1, descending=True)
        kept = torch.ones_like(ordered, dtype=torch.bool)
        if top_k is not None:
            kept &= torch.arange(vocab_size, device=logits.device)[None] < top_k
        if top_p is not None:
            ordered = ordered * kept
            ordered = ordered / ordered.sum(1, keepdim=True)
            kept &= ordered.cumsum(1) - ordered < top_p
        probabilities = probabilities * torch.zeros_like(kept).scatter(1, order, kept)
    if (min_p := column("min_p", 0.0)) is not None:
        floor = min_p * probabilities.max(1, keepdim=True).values
        probabilities = torch.where(probabilities >= floor, probabilities, 0)
    cumulative = probabilities.double().cumsum(1)
    draws = [stream.noise.random() if stream else 0.0 for stream in streams]
    noise = torch.tensor(draws, dtype=torch.float64, device=logits.device)[:, None]
    drawn = (cumulative <= noise * cumulative[:, -1:]).sum(1).clamp(max=vocab_size - 1)
    if temperature is None:
        return drawn
    return torch.where(temperature[:, 0] == 0, likeliest, drawn)
