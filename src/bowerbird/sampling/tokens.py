"""Sampling tokens from a recurrent network: one state row a request, a shared step, noise of its own.

B rows, V vocabulary. Rows are computed in tiles of a fixed size, because a product's last bits may change
with the number of rows: so a request's tokens do not depend on what runs beside it. Only rows that are
stepped are put into tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bowerbird.models.rnn import RNN
from bowerbird.sampling.adjustments import Adjustments, adjustments
from bowerbird.sampling.logprobs import TokenLogprobs, token_logprobs
from bowerbird.sampling.prompts import PromptScan, read_some
from bowerbird.sampling.request import TokenRequest, check_request
from bowerbird.sampling.session import Chunk, FinishReason
from bowerbird.sampling.slots import Slots
from bowerbird.sampling.state import StreamState

__all__ = ["TILE", "TokenRequest", "TokenSession", "sample"]

TILE = 8


@dataclass
class _Stream:
    request: TokenRequest
    noise: np.random.Generator
    made: int = 0
    scan: PromptScan | None = None
    """While the prompt is not read to its end."""
    prompt_logprobs: TokenLogprobs | None = None
    """Until they are told."""
    adjustments: Adjustments | None = None

    @property
    def read(self) -> int:
        """Tokens read ever, once the prompt is."""
        start = self.request.start
        return (start.read if start else 0) + len(self.request.prompt) + self.made


class TokenSession:
    """A `Session` over a network in evaluation mode. Each step gives each request one token."""

    def __init__(self, network: RNN, slots: int = TILE):
        self.network = network.eval()
        self.slots = -(-slots // TILE) * TILE
        self._streams: Slots[_Stream] = Slots(self.slots)
        self._ended: dict[int, _Stream] = {}
        """Those that ended in the last step, whose rows are still there."""
        self._device = network.embedding.weight.device
        self._state = tuple(part.clone() for part in network.start(TILE))
        self._logits = torch.zeros(TILE, network.vocab_size, device=self._device)
        self._used = torch.zeros(TILE, network.vocab_size, dtype=torch.bool, device=self._device)
        self._banned = torch.zeros_like(self._used)

    @property
    def bytes_per_slot(self) -> int:
        """Memory that a slot takes once it is used."""
        rows = (*self._state, self._logits, self._used, self._banned)
        return sum(part[0].numel() * part.element_size() for part in rows)

    @torch.no_grad()
    def admit(self, request: TokenRequest) -> int | None:
        if self._streams.full:
            return None
        check_request(request, self.network)
        stream = _Stream(request, np.random.default_rng(request.seed))
        stream.adjustments = adjustments(request, self.network.vocab_size)
        stream.scan = PromptScan(self.network, request)
        slot = self._streams.take(stream)
        self._ended.pop(slot, None)
        if slot >= len(self._logits):
            self._grow()
        self._banned[slot] = False
        self._banned[slot, sorted(request.banned)] = True
        self._used[slot] = False
        self._used[slot, torch.from_numpy(np.unique(request.prompt).astype(np.int64)).to(self._device)] = True
        return slot

    def admit_many(self, requests: Sequence[TokenRequest]) -> list[int | None]:
        for request in requests:
            check_request(request, self.network)
        return [self.admit(request) for request in requests]

    @torch.no_grad()
    def step(self) -> list[Chunk]:
        self._ended.clear()
        self._read_prompts()
        ready = [(slot, stream) for slot, stream in self._streams.going() if stream.scan is None]
        chunks = [self._chunk(slot, None, None) for slot, stream in ready if not stream.request.length]
        drawing = [slot for slot, stream in ready if stream.request.length]
        return chunks + self._draw(drawing) if drawing else chunks

    def pause(self, slot: int) -> None:
        self._streams.pause(slot)

    def resume(self, slot: int) -> None:
        self._streams.resume(slot)

    def release(self, slot: int) -> None:
        if slot in self._streams:
            self._streams.free(slot)

    def state(self, slot: int, unread: int = 0) -> StreamState | None:
        assert not unread, "a chunk has one token at most, and whoever reads it reads it whole"
        stream = self._streams[slot] if slot in self._streams else self._ended[slot]
        assert stream.scan is None, "a request that has got something"
        parts = tuple(part[slot : slot + 1].cpu().numpy().copy() for part in self._state)
        return StreamState(parts, self._logits[slot].cpu().numpy().copy(), stream.read)

    def _read_prompts(self) -> None:
        reading = [(slot, stream.scan) for slot, stream in self._streams.going() if stream.scan is not None]
        read_some([scan for _, scan in reading])
        for slot, scan in reading:
            if not scan.left:
                self._begin(slot, scan)

    def _begin(self, slot: int, scan: PromptScan) -> None:
        """Its prompt is read: from here on it is stepped."""
        assert scan.logits is not None, "a prompt or a state was given"
        stream = self._streams[slot]
        for mine, value in zip(self._state, scan.state, strict=True):
            mine[slot] = value[0]
        self._logits[slot] = scan.logits
        stream.prompt_logprobs = scan.logprobs
        stream.scan = None

    def _draw(self, slots: list[int]) -> list[Chunk]:
        """A token for each of these, and its chunk."""
        rows = self._tiled(slots)
        streams: list[_Stream | None] = [self._streams[slot] for slot in slots]
        logits = self._logits[rows]
        for row, slot in enumerate(slots):
            stream = self._streams[slot]
            if stream.adjustments is not None:
                changed = stream.adjustments.applied(logits[row].cpu().numpy())
                logits[row] = torch.from_numpy(changed).to(self._device)
            if stream.request.guide is not None:
                self._obey(slot, stream.request)
        logits = logits.masked_fill(self._banned[rows], -torch.inf)
        for row, slot in enumerate(slots):
            stream = self._streams[slot]
            if not stream.made and stream.request.guide is None:
                logits[row, sorted(stream.request.ends)] = -torch.inf  # an answer is never empty
        none: list[_Stream | None] = [None] * (len(rows) - len(slots))
        drawn = sample(logits, self._used[rows], streams + none)[: len(slots)]
        self._used[rows[: len(slots)], drawn] = True
        made = dict(zip(slots, drawn.tolist(), strict=True))
        told = {slot: self._logprobs(slot, token) for slot, token in made.items()}
        going = {slot: token for slot, token in made.items() if self._note(slot, token)}
        if going:
            self._read(list(going), list(going.values()))
        return [self._chunk(slot, made[slot], told[slot]) for slot in slots]

    def _note(self, slot: int, token: int) -> bool:
        """Take note of what was drawn; whether it is to be read."""
        stream = self._streams[slot]
        request = stream.request
        if token in request.ends:
            return False
        stream.made += 1
        if stream.adjustments is not None:
            stream.adjustments.note(token)
        if request.guide is not None:
            request.guide.push(token)
        return stream.made < request.length or request.keep_state

    def _logprobs(self, slot: int, token: int) -> TokenLogprobs | None:
        request = self._streams[slot].request
        if request.logprobs is None or token in request.ends:
            return None
        logits = self._logits[slot : slot + 1].cpu().numpy()
        return token_logprobs(logits, np.array([token]), request.logprobs)

    def _chunk(self, slot: int, token: int | None, logprobs: TokenLogprobs | None) -> Chunk:
        """What a request got: this token, read by now, or, where None, nothing but the end."""
        stream = self._streams[slot]
        request, told = stream.request, stream.prompt_logprobs
        stream.prompt_logprobs = None
        finished: FinishReason | None = "length" if stream.made >= request.length else None
        content = np.array([] if token is None or token in request.ends else [token], np.int64)
        if token is not None and not len(content):
            finished = "stop"
        state = self.state(slot) if finished and request.keep_state else None
        if finished:
            self._ended[slot] = self._streams.free(slot)
        return Chunk(slot, content, finished, logprobs, told, state)

    def _read(self, slots: list[int], tokens: list[int]) -> None:
        """A token in each of these slots, tile by tile."""
        rows = self._tiled(slots)
        given = torch.tensor(tokens + [0] * (len(rows) - len(slots)), device=self._device)
        for first in range(0, len(slots), TILE):
            tile = rows[first : first + TILE]
            logits, state = self.network.step(
                given[first : first + TILE], tuple(part[tile] for part in self._state)
            )
            mine = tile[: len(slots) - first]
            for part, value in zip(self._state, state, strict=True):
                part[mine] = value[: len(mine)]
            self._logits[mine] = logits[: len(mine)].float()

    def _tiled(self, slots: list[int]) -> Tensor:
        """The slots, and as many more as fill the last tile, which are computed for nothing."""
        return torch.tensor(slots + slots[:1] * (-len(slots) % TILE), device=self._device)

    def _obey(self, slot: int, request: TokenRequest) -> None:
        assert request.guide is not None, "a guided request"
        self._banned[slot] = torch.from_numpy(~request.guide.allowed()).to(self._device)
        if request.banned:
            self._banned[slot, sorted(request.banned)] = True

    def _grow(self) -> None:
        """Room for twice as many."""

        def grown(rows: Tensor) -> Tensor:
            return torch.cat([rows, torch.zeros_like(rows)])

        self._state = tuple(map(grown, self._state))
        self._logits, self._used, self._banned = map(grown, (self._logits, self._used, self._banned))


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
