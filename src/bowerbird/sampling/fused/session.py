"""A session over the compiled loop: prompts are read by the network, everything after by the loop.

V vocabulary, D width, K the highest order of n-grams.
"""

from __future__ import annotations

import weakref
from typing import Any, cast

import numpy as np
from torch import Tensor

from bowerbird.models.cells.lstm import LSTM
from bowerbird.models.ngrams import START
from bowerbird.models.rnn import RNN
from bowerbird.sampling.fused.choice import BANNED, END, OFF, USED
from bowerbird.sampling.fused.loop import FULL, RUNS, STOPPED, decode
from bowerbird.sampling.fused.weights import Grams, Precision, Weights, lay_out
from bowerbird.sampling.session import Chunk, FinishReason
from bowerbird.sampling.tokens import Stream, TokenRequest, read_prompt

GROUP = 64
"""Rows computed together: what they need stays near the processor while they make many tokens."""
QUANTUM = 64
"""The most tokens a request gets in a step."""
_STEP_SECONDS = 0.012
_SUMS_A_SECOND, _BYTES_A_SECOND = 4e10, 3e10
"""Of a slow processor, to guess how long a token takes."""
_REASONS: dict[int, FinishReason | None] = {RUNS: None, STOPPED: "stop", FULL: "length"}

_laid_out: weakref.WeakKeyDictionary[RNN, dict[Precision, tuple[Any, Weights, Grams]]] = (
    weakref.WeakKeyDictionary()
)


class FusedSession:
    """A `Session` over a network that `fits`, in evaluation mode. A step gives each request some tokens.

    Args:
        network: is read anew if its parameters have changed since it was laid out.
        slots: requests at the same time.
        precision: of the weights in products; sums and all else are float32.
        quantum: the most tokens a request gets in a step; None aims at steps of about 12 milliseconds.
    """

    def __init__(
        self, network: RNN, slots: int, precision: Precision = "float32", quantum: int | None = None
    ):
        self.network = network.eval()
        self.slots = slots
        self._weights, self._grams = _layout(network, precision)
        self._quantum = quantum
        width, layers = network.config.width, network.config.layers
        self._streams: list[Stream | None] = [None] * slots
        self._h = np.zeros((slots, layers, width), np.float32)
        self._c = np.zeros((slots, layers, width if isinstance(network.cells[0], LSTM) else 0), np.float32)
        self._recent = np.full((slots, max(self._grams.order - 1, 0)), START, np.int64)
        self._logits = np.zeros((slots, len(self._weights.output_bias)), np.float32)
        self._marks = np.zeros((slots, network.vocab_size), np.uint8)
        self._settings = np.tile(np.array(OFF), (slots, 1))
        self._left = np.zeros(slots, np.int64)

    def admit(self, request: TokenRequest) -> int | None:
        if None not in self._streams:
            return None
        slot = self._streams.index(None)
        logits, state = read_prompt(self.network, request.prompt)
        for layer, value in enumerate(state[: self.network.config.layers]):
            parts = value[0].view(-1, self.network.config.width).numpy()
            self._h[slot, layer] = parts[0]
            if len(parts) > 1:
                self._c[slot, layer] = parts[1]
        if self._grams.order:
            self._recent[slot] = state[-1][0].long().numpy()
        size = self.network.vocab_size
        self._logits[slot, :size] = logits.numpy()
        self._logits[slot, sorted(request.ends)] = -np.inf  # an answer is never empty
        marks = self._marks[slot]
        marks[:] = 0
        for mark, tokens in ((BANNED, request.banned), (END, request.ends), (USED, set(request.prompt))):
            marks[sorted(tokens)] |= mark
        self._settings[slot] = [
            request.temperature,
            0 if request.top_k is None else min(request.top_k, size),
            2 if request.top_p is None else request.top_p,
            request.min_p or 0,
            request.repetition_penalty,
        ]
        self._left[slot] = request.length
        self._streams[slot] = Stream(request, np.random.default_rng(request.seed))
        return slot

    def step(self) -> list[Chunk]:
        running = [slot for slot, stream in enumerate(self._streams) if stream is not None]
        chunks: list[Chunk] = []
        quantum = self._tokens_a_step(running)
        for first in range(0, len(running), GROUP):
            chunks += self._step_group(running[first : first + GROUP], quantum)
        return chunks

    def release(self, slot: int) -> None:
        self._streams[slot] = None

    def _tokens_a_step(self, running: list[int]) -> int:
        """One where somebody waits for the first; else as many as the time of a step holds."""
        streams = [cast(Stream, self._streams[slot]) for slot in running]
        if any(stream.made == 0 for stream in streams):
            return 1
        if self._quantum is not None:
            return self._quantum
        weights = self._weights.weights
        groups = -(-len(running) // GROUP)
        seconds = len(running) * weights.size / _SUMS_A_SECOND + groups * weights.nbytes / _BYTES_A_SECOND
        return max(1, min(QUANTUM, int(_STEP_SECONDS / max(seconds, 1e-9))))

    def _step_group(self, slots: list[int], quantum: int) -> list[Chunk]:
        streams = [cast(Stream, self._streams[slot]) for slot in slots]
        # What a request that ends draws too much, nobody misses; the others go on where they were.
        draws = np.stack([stream.noise.random(quantum) for stream in streams])
        made = np.zeros((len(slots), quantum), np.int64)
        counts, ends = np.zeros((2, len(slots)), np.int64)
        decode(
            self._weights, self._grams, np.array(slots), self._h, self._c, self._recent, self._logits,
            self._marks, self._settings, self._left, draws, made, counts, ends,
        )  # fmt: skip
        chunks = []
        for row, (slot, stream) in enumerate(zip(slots, streams, strict=True)):
            finished = _REASONS[int(ends[row])]
            stream.made += int(counts[row])
            chunks.append(Chunk(slot, made[row, : counts[row]], finished))
            if finished:
                self._streams[slot] = None
        return chunks


def _layout(network: RNN, precision: Precision) -> tuple[Weights, Grams]:
    """Laid out once, and again when the network has learnt since."""
    tensors: list[Tensor] = [*network.parameters(), *network.buffers()]
    seen = [(id(tensor), tensor.data_ptr(), tensor._version) for tensor in tensors]
    kept = _laid_out.setdefault(network, {})
    if precision not in kept or kept[precision][0] != seen:
        kept[precision] = (seen, *lay_out(network, precision))
    return kept[precision][1:]
