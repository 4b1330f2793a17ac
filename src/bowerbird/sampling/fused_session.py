"""A session whose tokens are read and made in compiled loops: many a call, sampling inside.

The plain twin is `tokens.TokenSession`: the same filters and noise, logits alike to 1e-4. Prompts are read by
the same loops that make tokens, beside them; so it is the same to the bit whether a text was read at once, in
parts, or as it was made.
"""

from __future__ import annotations

import queue
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bowerbird.models.rnn import RNN
from bowerbird.sampling import draw
from bowerbird.sampling.adjustments import Adjustments, adjustments
from bowerbird.sampling.carrying import put, take
from bowerbird.sampling.kernels import decode
from bowerbird.sampling.layouts import kept_layout
from bowerbird.sampling.logprobs import TokenLogprobs, token_logprobs
from bowerbird.sampling.pacing import BLOCK, MOST_QUANTUM, Pace
from bowerbird.sampling.prompts import PromptScan, read_some
from bowerbird.sampling.request import TokenRequest, check_request
from bowerbird.sampling.rows import Scratch, copied, rows_for, scratch_for, turns_for
from bowerbird.sampling.session import Chunk, FinishReason
from bowerbird.sampling.slots import Slots
from bowerbird.sampling.state import StreamState

Slot = NDArray[np.int64]
_FIRST_SLOTS = 16
"""Slots there is room for from the beginning."""
_NONE_GIVEN = np.zeros(0, np.int64)


@dataclass(slots=True)
class _Stream:
    request: TokenRequest
    noise: np.random.Generator
    adjustments: Adjustments | None
    scan: PromptScan | None
    """While the log-probabilities of its prompt are found; it is read only then."""
    prompt_logprobs: TokenLogprobs | None = None
    """Until they are told."""
    logits: NDArray[np.float32] | None = None
    """The network's own, while a token is drawn from others."""
    before: StreamState | None = None
    """Of one that keeps its state: that before the newest call."""
    since: NDArray[np.int64] = field(default_factory=lambda: _NONE_GIVEN)
    """What it read and made in that call."""

    @property
    def told(self) -> bool:
        """Whether the network's own logits are needed beside those drawn from."""
        return self.adjustments is not None or self.request.logprobs is not None


class FusedSession:
    """A `Session` over a network in evaluation mode whose layout is supported.

    `quantum` is the most tokens a request gets in a step. One with a guide, bias, penalties by what it made or
    log-probabilities gets one, since each of its tokens passes through Python.
    """

    def __init__(self, network: RNN, slots: int = 1, quantum: int = MOST_QUANTUM):
        self.network = network.eval()
        self.slots = slots
        self._quantum = quantum
        self._layout = kept_layout(network)
        self._pace = Pace(self._layout, quantum)
        self._streams: Slots[_Stream] = Slots(slots)
        self._ended: dict[int, _Stream] = {}
        """Those that ended in the last step, whose rows are still there."""
        self._admitted = 0
        self._room = min(slots, _FIRST_SLOTS)
        self._rows = rows_for(self._layout, self._room)
        self._turns = turns_for(self._room, quantum)
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(self._threads) if self._threads > 1 else None
        self._scratches: queue.SimpleQueue[Scratch] = queue.SimpleQueue()
        for _ in range(self._threads):
            self._scratches.put(scratch_for(self._layout, min(BLOCK, slots)))

    @property
    def bytes_per_slot(self) -> int:
        """Memory that a slot takes once it is used."""
        return sum(array.nbytes for array in (*self._rows, *self._turns)) // self._room

    def admit(self, request: TokenRequest) -> int | None:
        if self._streams.full:
            return None
        check_request(request, self.network)
        return self._admit(request)

    def admit_many(self, requests: Sequence[TokenRequest]) -> list[int | None]:
        for request in requests:
            check_request(request, self.network)
        return [None if self._streams.full else self._admit(request) for request in requests]

    def step(self) -> list[Chunk]:
        self._ended.clear()
        slots = self._ready()
        turns = self._turns
        # What is drawn from must be known before the call that draws, so these read their prompts before it.
        early = slots[turns.single[slots] & (turns.unread[slots] > 0)]
        if len(early):
            self._call(early, making=False)
        if len(slots):
            slots = self._call(slots, making=True)
        chunks = (self._chunk(slot) for slot in slots.tolist())
        return [chunk for chunk in chunks if chunk is not None]

    def pause(self, slot: int) -> None:
        self._streams.pause(slot)

    def resume(self, slot: int) -> None:
        self._streams.resume(slot)

    def release(self, slot: int) -> None:
        if slot in self._streams:
            self._streams.free(slot)

    def state(self, slot: int, unread: int = 0) -> StreamState | None:
        stream = self._streams[slot] if slot in self._streams else self._ended[slot]
        request, layout, rows = stream.request, self._layout, self._rows
        assert request.keep_state or not unread, "only who keeps a state can have an earlier one"
        assert not self._turns.unread[slot], "a request that has got something"
        if unread:
            put(layout, rows, slot, stream.before)
            again = stream.since[: len(stream.since) - unread]
            self._turns.given[slot], self._turns.place[slot], self._turns.limit[slot] = len(again), 0, 0
            self._decode(np.array([slot]), again)
        begun = (request.start.read if request.start else 0) + len(request.prompt)
        return take(layout, rows, slot, begun + int(rows.made[slot]) - unread)

    def _admit(self, request: TokenRequest) -> int:
        size = self._layout.vocab_size
        stream = _Stream(
            request,
            np.random.default_rng(request.seed),
            adjustments(request, size),
            PromptScan(self.network, request) if request.prompt_logprobs else None,
        )
        slot = self._streams.take(stream)
        self._ended.pop(slot, None)
        if slot >= self._room:
            self._room = min(2 * self._room, self.slots)
            self._rows = copied(self._rows, rows_for(self._layout, self._room))
            self._turns = copied(self._turns, turns_for(self._room, self._quantum))
        rows, turns = self._rows, self._turns
        put(self._layout, rows, slot, request.start)
        flags = rows.flags[slot]
        flags[:] = 0
        flags[np.asarray(request.prompt, np.int64)] = draw.USED
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
        turns.unread[slot] = len(request.prompt)
        turns.length[slot] = request.length
        turns.single[slot] = request.guide is not None or stream.told
        turns.kept[slot] = request.keep_state
        turns.arrived[slot] = self._admitted
        turns.at[slot] = turns.noise.shape[1]
        self._admitted += 1
        return slot

    def _ready(self) -> Slot:
        """Those to step. Where a prompt's log-probabilities are wanted, some more of them are found first."""
        going = self._streams.going()
        scans = [stream.scan for _, stream in going if stream.scan is not None]
        if scans:
            read_some(scans)
            for _, stream in going:
                if stream.scan is not None and not stream.scan.left:
                    stream.prompt_logprobs, stream.scan = stream.scan.logprobs, None
        return np.array([slot for slot, stream in going if stream.scan is None], np.int64)

    def _call(self, slots: Slot, *, making: bool) -> Slot:
        """Let these read, and make tokens if told so; which of them it was, for some wait to read."""
        turns = self._turns
        slots = self._give(slots)
        turns.limit[slots] = 0
        if making:
            self._allow(slots)
        pieces = self._pieces(slots)
        for slot in slots[turns.kept[slots]].tolist():
            self._streams[slot].before = take(self._layout, self._rows, slot, 0)
            self._streams[slot].since = pieces.get(slot, _NONE_GIVEN)
        for slot in slots[turns.single[slots] & (turns.limit[slots] > 0)].tolist():
            self._prepare(slot, self._streams[slot])
        self._decode(slots, np.concatenate(list(pieces.values())) if pieces else _NONE_GIVEN)
        turns.unread[slots] -= turns.given[slots]
        return slots

    def _pieces(self, slots: Slot) -> dict[int, NDArray[np.int64]]:
        """What of their prompts is given to them, by slot."""
        turns, pieces, place = self._turns, dict[int, NDArray[np.int64]](), 0
        for slot in slots[turns.given[slots] > 0].tolist():
            prompt, given = self._streams[slot].request.prompt, int(turns.given[slot])
            at = len(prompt) - int(turns.unread[slot])
            pieces[slot] = prompt[at : at + given].astype(np.int64)
            turns.place[slot] = place
            place += given
        return pieces

    def _give(self, slots: Slot) -> Slot:
        """Share out what is read in a call, the shortest first and always some to the oldest; who has a turn in it."""
        turns = self._turns
        unread = turns.unread[slots]
        turns.given[slots] = 0
        reading = slots[unread > 0]
        if not len(reading):
            return slots
        chosen = reading[np.argsort(turns.unread[reading], kind="stable")][: BLOCK * self._threads]
        oldest = reading[np.argmin(turns.arrived[reading])]
        if oldest not in chosen:
            chosen[-1] = oldest
        turns.given[chosen] = np.minimum(turns.unread[chosen], self._pace.to_read(len(chosen)))
        having: Slot = slots[(unread == 0) | (turns.given[slots] > 0)]
        return having

    def _allow(self, slots: Slot) -> None:
        """How many tokens each may make, and noise for as many."""
        turns, made = self._turns, self._rows.made[slots]
        reading_on = turns.unread[slots] > turns.given[slots]
        fresh = (made == 0)[~reading_on]
        quantum = 1 if fresh.all() else self._pace.to_make(len(slots), waiting=bool(fresh.any()))
        limits = np.minimum(turns.length[slots] - made, quantum)
        single = turns.single[slots]
        limits[single] = np.minimum(limits[single], turns.given[slots][single] == 0)
        limits[reading_on] = 0
        turns.limit[slots] = limits
        for slot in slots[turns.at[slots] + limits > turns.noise.shape[1]].tolist():
            noise, at = turns.noise[slot], int(turns.at[slot])
            noise[: len(noise) - at] = noise[at:].copy()
            noise[len(noise) - at :] = self._streams[slot].noise.random(at)
            turns.at[slot] = 0

    def _decode(self, slots: Slot, given: NDArray[np.int64]) -> None:
        def run(part: Slot) -> None:
            scratch = self._scratches.get()
            decode(self._layout, self._rows, self._turns, given, scratch, part)
            self._scratches.put(scratch)

        blocks = max(-(-len(slots) // BLOCK), min(self._threads, len(slots) // 8), 1)
        parts = np.array_split(slots.copy(), blocks)
        if self._pool is None or blocks == 1:
            for part in parts:
                run(part)
            return
        for done in [self._pool.submit(run, part) for part in parts]:
            done.result()

    def _prepare(self, slot: int, stream: _Stream) -> None:
        """Before the draw: what the guide allows, and the logits to draw from."""
        request = stream.request
        if request.guide is not None:
            flags = self._rows.flags[slot]
            flags &= ~np.uint8(draw.BANNED)
            np.bitwise_or(flags, draw.BANNED, out=flags, where=~request.guide.allowed())
            if request.banned:
                flags[sorted(request.banned)] |= draw.BANNED
        if stream.told:
            scores = self._rows.scores[slot, : self._layout.vocab_size]
            stream.logits = scores.copy()
            if stream.adjustments is not None:
                scores[:] = stream.adjustments.applied(stream.logits)

    def _learn(self, slot: int, stream: _Stream, content: NDArray[np.int64]) -> TokenLogprobs | None:
        """After the draw: tell what was made to who has a say in what follows."""
        for token in content.tolist():
            if stream.request.guide is not None:
                stream.request.guide.push(token)
            if stream.adjustments is not None:
                stream.adjustments.note(token)
        logits, stream.logits = stream.logits, None
        if logits is None:
            return None
        if not len(content):  # an end, after which nothing was read
            self._rows.scores[slot, : self._layout.vocab_size] = logits
            return None
        alternatives = stream.request.logprobs
        return None if alternatives is None else token_logprobs(logits[None], content, alternatives)

    def _chunk(self, slot: int) -> Chunk | None:
        """What a request got in the last call; None where that is nothing."""
        stream, turns = self._streams[slot], self._turns
        content = turns.tokens[slot, : turns.drawn[slot]].copy()
        finished: FinishReason | None = None
        if turns.ended[slot]:
            finished = "stop"
        elif self._rows.made[slot] >= turns.length[slot] and not turns.unread[slot]:
            finished = "length"
        if not len(content) and finished is None:
            return None
        logprobs = self._learn(slot, stream, content) if turns.single[slot] else None
        told, stream.prompt_logprobs = stream.prompt_logprobs, None
        if stream.request.keep_state:
            stream.since = np.concatenate([stream.since, content])
        state = self.state(slot) if finished and stream.request.keep_state else None
        if finished:
            self._ended[slot] = self._streams.free(slot)
        return Chunk(slot, content, finished, logprobs, told, state)
