"""A session whose tokens are made in compiled loops: a quantum of tokens a call, sampling inside.

The plain twin is `tokens.TokenSession`: the same filters and noise, logits alike to 1e-4. Prompts are read by
the network itself, one at a time, and what it then remembers is copied into the kernels' rows.
"""

from __future__ import annotations

import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bowerbird.models.rnn import RNN, State
from bowerbird.sampling import draw
from bowerbird.sampling.kernels import decode, recall, room
from bowerbird.sampling.layout import Layout, lay_out
from bowerbird.sampling.memory import fill_buckets
from bowerbird.sampling.session import Chunk, FinishReason, Guide
from bowerbird.sampling.tokens import TokenRequest, read_prompt

_BLOCK = 64
"""Rows a kernel steps together: their states and products stay in the cache."""
_MOST_QUANTUM = 32
_CALL_SECONDS = 0.01
"""About how long a call takes, after which streams may come and go."""
_FEW, _FEW_SECONDS = 4, 0.06
"""Handing over costs as much as some tokens do: so many are made in a call that takes no longer than this."""
_SUMS_A_SECOND, _BYTES_A_SECOND = 4e10, 3e10
"""Weights multiplied and read by a middling processor, to guess how long a token takes."""


_Seen = list[tuple[Tensor, int, int]]
_laid_out: weakref.WeakKeyDictionary[RNN, tuple[_Seen, Layout]] = weakref.WeakKeyDictionary()


def _kept_layout(network: RNN) -> Layout:
    """The network's layout, made anew only if it has learnt since: a short text must not pack it all again."""
    tensors = [*network.parameters(), *network.buffers()]
    seen = [(tensor, tensor.data_ptr(), tensor._version) for tensor in tensors]
    kept = _laid_out.get(network)
    if kept is not None and len(kept[0]) == len(seen):
        pairs = zip(kept[0], seen, strict=True)
        if all(old[0] is new[0] and old[1:] == new[1:] for old, new in pairs):
            return kept[1]
    layout = lay_out(network)
    if len(layout.contexts):
        fill_buckets(layout.contexts, layout.buckets)
    _laid_out[network] = (seen, layout)
    return layout


class FusedSession:
    """A `Session` over a network in evaluation mode whose layout is supported.

    `quantum` is the most tokens a request gets in a step; one with a guide gets one.
    """

    def __init__(self, network: RNN, slots: int = 1, quantum: int = _MOST_QUANTUM):
        self.network = network.eval()
        self.slots = slots
        self._quantum = quantum
        self._layout = _kept_layout(network)
        self._rows = room(self._layout, slots)
        self._requests: list[TokenRequest | None] = [None] * slots
        self._noise = [np.random.default_rng(0)] * slots
        self._uniform = np.zeros((slots, quantum))
        self._limits = np.zeros(slots, np.int64)
        self._tokens = np.zeros((slots, quantum), np.int64)
        self._counts = np.zeros(slots, np.int64)
        self._ended = np.zeros(slots, np.bool_)
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None

    @torch.no_grad()
    def admit(self, request: TokenRequest) -> int | None:
        """Raises ValueError for tokens that are not in the vocabulary."""
        if None not in self._requests:
            return None
        size = self._layout.vocab_size
        prompt = np.ascontiguousarray(request.prompt, np.int64)
        named = np.array([*prompt.tolist(), *request.ends, *request.banned])
        if not len(prompt) or named.min() < 0 or named.max() >= size:
            raise ValueError(f"a request names tokens outside 0 to {size - 1}, or has no prompt")
        slot = self._requests.index(None)
        logits, state = read_prompt(self.network, torch.from_numpy(prompt))
        rows = self._rows
        rows.scores[slot, :size] = logits.numpy()
        self._hand_over(slot, state)
        flags = rows.flags[slot]
        flags[:] = 0
        flags[prompt] = draw.USED
        flags[sorted(request.banned)] |= draw.BANNED
        flags[sorted(request.ends)] |= draw.END
        settings = rows.settings[slot]
        settings[draw.PENALTY] = request.repetition_penalty
        settings[draw.TEMPERATURE] = request.temperature
        settings[draw.TOP_K] = size if request.top_k is None else min(request.top_k, size)
        settings[draw.TOP_P] = 2.0 if request.top_p is None else request.top_p
        settings[draw.MIN_P] = request.min_p or 0.0
        settings[draw.GUIDED] = request.guide is not None
        rows.made[slot] = 0
        self._noise[slot] = np.random.default_rng(request.seed)
        self._requests[slot] = request
        return slot

    def step(self) -> list[Chunk]:
        active = [slot for slot, request in enumerate(self._requests) if request is not None]
        if not active:
            return []
        fresh = any(self._rows.made[slot] == 0 for slot in active)
        quantum = 1 if fresh else self._tokens_a_call(len(active))
        for slot in active:
            request = self._request(slot)
            limit = min(quantum, request.length - int(self._rows.made[slot]))
            if request.guide is not None:
                limit = 1
                self._obey(slot, request.guide, request.banned)
            self._limits[slot] = limit
            self._uniform[slot, :limit] = self._noise[slot].random(limit)
        self._decode(np.array(active, np.int64))
        return [self._chunk(slot) for slot in active]

    def release(self, slot: int) -> None:
        self._requests[slot] = None

    def _tokens_a_call(self, active: int) -> int:
        """As many for each stream as the time of a call holds, by the size of the network."""
        weights = self._layout.weights
        blocks = -(-active // _BLOCK)
        seconds = active * weights.size / _SUMS_A_SECOND + blocks * weights.nbytes / _BYTES_A_SECOND
        few = min(_FEW, int(_FEW_SECONDS / seconds))
        return min(self._quantum, max(1, few, int(_CALL_SECONDS / seconds)))

    def _decode(self, slots: NDArray[np.int64]) -> None:
        told = (self._limits, self._uniform, self._tokens, self._counts, self._ended)
        blocks = max(-(-len(slots) // _BLOCK), min(self._threads, len(slots) // 8), 1)
        parts = np.array_split(slots, blocks)
        if self._pool is None or blocks == 1:
            for part in parts:
                decode(self._layout, self._rows, part, *told)
            return
        for done in [self._pool.submit(decode, self._layout, self._rows, part, *told) for part in parts]:
            done.result()

    def _obey(self, slot: int, guide: Guide, banned: frozenset[int]) -> None:
        flags = self._rows.flags[slot]
        flags &= ~np.uint8(draw.BANNED)
        np.bitwise_or(flags, draw.BANNED, out=flags, where=~guide.allowed())
        if banned:
            flags[sorted(banned)] |= draw.BANNED

    def _chunk(self, slot: int) -> Chunk:
        finished: FinishReason | None = None
        guide = self._request(slot).guide
        if guide is not None and self._counts[slot]:
            guide.push(int(self._tokens[slot, 0]))
        if self._ended[slot]:
            finished = "stop"
        elif self._rows.made[slot] >= self._request(slot).length:
            finished = "length"
        if finished:
            self._requests[slot] = None
        return Chunk(slot, self._tokens[slot, : self._counts[slot]].copy(), finished)

    def _hand_over(self, slot: int, state: State) -> None:
        """Copy what a network remembers, one row of it, into a slot."""
        layout, rows = self._layout, self._rows
        parts = [part[0].numpy() for part in state]
        layers = len(rows.hidden)
        for layer, part in enumerate(parts[:layers]):
            rows.hidden[layer, slot] = part[: layout.width]
            if layout.gates == 4:
                rows.memory[layer, slot] = part[layout.width :]
        if layout.order:
            rows.recent[slot] = parts[layers]
        if layout.window:
            read = parts[-1][parts[-1] > 0].astype(np.int64) - 1
            recall(layout, read, rows.written[slot], rows.past[slot], rows.keys[slot])

    def _request(self, slot: int) -> TokenRequest:
        request = self._requests[slot]
        assert request is not None, "an admitted slot"
        return request
