"""A stream's rows, as the kernels have them, into a state that any session of its network goes on from, and back."""

from __future__ import annotations

import numpy as np

from bowerbird.models.ngrams import START
from bowerbird.sampling.kernels import recall
from bowerbird.sampling.layout import Layout
from bowerbird.sampling.rows import Rows
from bowerbird.sampling.state import StreamState


def put(layout: Layout, rows: Rows, slot: int, state: StreamState | None) -> None:
    """Begin a slot from a state that fits its network; None is the state before any token."""
    if state is None:
        rows.hidden[:, slot] = 0
        rows.memory[:, slot] = 0
        rows.recent[slot] = START
        rows.written[slot] = 0
        return
    parts = [part[0] for part in state.parts]
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
    rows.scores[slot, : layout.vocab_size] = state.logits


def take(layout: Layout, rows: Rows, slot: int, read: int) -> StreamState:
    """The state of a slot that has read so many tokens ever."""
    parts = [hidden[slot : slot + 1] for hidden in rows.hidden]
    if layout.gates == 4:
        memories = [memory[slot : slot + 1] for memory in rows.memory]
        parts = [np.concatenate(pair, 1) for pair in zip(parts, memories, strict=True)]
    else:
        parts = [part.copy() for part in parts]
    if layout.order:
        parts.append(rows.recent[slot : slot + 1].astype(np.float32))
    if layout.window:
        filled = int(rows.written[slot, 0])
        last = rows.past[slot, max(filled - layout.window, 0) : filled]
        past = np.zeros((1, layout.window), np.float32)
        past[0, layout.window - len(last) :] = last + 1
        parts.append(past)
    return StreamState(tuple(parts), rows.scores[slot, : layout.vocab_size].copy(), read)
