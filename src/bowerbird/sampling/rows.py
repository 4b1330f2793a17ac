"""The arrays that the kernels work on: what streams remember, what a call is told, and room to compute in.

S slots there is room for, V tokens, D width, L layers, K the highest order of n-grams, W window of the cache,
G gates of a cell, Q most tokens made in a call, B rows of a block.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from bowerbird.sampling.draw import SETTINGS
from bowerbird.sampling.layout import PANEL, Floats, Layout, Wholes

Arrays = TypeVar("Arrays", bound=NamedTuple)


class Rows(NamedTuple):
    """A row a slot of all that streams remember."""

    hidden: Floats
    """(L, S, D)."""
    memory: Floats
    """(L, S, D), of an LSTM."""
    recent: Wholes
    """(S, K - 1) tokens read last, the newest first."""
    past: NDArray[np.int32]
    """(S, 2W) tokens."""
    keys: NDArray[np.int32]
    """(S, 2W) of the matches that end there."""
    written: Wholes
    """(S, 2): tokens in `past`, and where the newest document begins."""
    scores: Floats
    """(S, V + K or more): logits of the next token, then gates."""
    flags: NDArray[np.uint8]
    """(S, V)."""
    settings: NDArray[np.float64]
    """(S, SETTINGS)."""
    made: Wholes
    """(S,) tokens made."""
    token: Wholes
    """(S,) the one being read."""


class Turns(NamedTuple):
    """A row a slot of what calls are told of it, and of what came of the last one."""

    unread: Wholes
    """(S,) tokens of its prompt that are left to read."""
    length: Wholes
    """(S,) the most tokens to make."""
    single: NDArray[np.bool_]
    """(S,) whether it gets one token a call, because something in Python has a say in each."""
    kept: NDArray[np.bool_]
    """(S,) whether its state is wanted."""
    arrived: Wholes
    """(S,) the number of its admission."""
    given: Wholes
    """(S,) tokens to read first, before any is drawn."""
    place: Wholes
    """(S,) where among all given tokens these begin."""
    limit: Wholes
    """(S,) tokens to draw, at most Q."""
    noise: NDArray[np.float64]
    """(S, 2Q) uniform numbers."""
    at: Wholes
    """(S,) which of them is next."""
    tokens: Wholes
    """(S, Q) those made."""
    drawn: Wholes
    """(S,) how many."""
    ended: NDArray[np.bool_]
    """(S,) whether an end was drawn, which is not counted."""


class Scratch(NamedTuple):
    """Room for one block of rows; nothing in it outlives a token."""

    order: Wholes
    """(B,) 0, 1, 2 ..."""
    asked: Wholes
    """(B,) slots whose scores are wanted."""
    x: Floats
    normed: Floats
    """As `x`: (B, D or as many as an embedding has)."""
    from_input: Floats
    from_output: Floats
    """As `from_input`: (B, G x D or more), what a cell's gates add up."""
    chances: Floats
    """(V,)."""
    gains: Floats
    """(V,) zeros between rows."""
    ranks: NDArray[np.int32]
    """(V,)."""
    places: Wholes
    """(K,)."""


def rows_for(layout: Layout, slots: int) -> Rows:
    layers = len(layout.norms) - 1
    window = 2 * layout.window
    return Rows(
        hidden=np.zeros((layers, slots, layout.width), np.float32),
        memory=np.zeros((layers, slots, layout.width if layout.gates == 4 else 1), np.float32),
        recent=np.zeros((slots, max(layout.order - 1, 1)), np.int64),
        past=np.zeros((slots, max(window, 1)), np.int32),
        keys=np.zeros((slots, max(window, 1)), np.int32),
        written=np.zeros((slots, 2), np.int64),
        scores=np.zeros((slots, int(layout.matrices[-1, 2]) * PANEL), np.float32),
        flags=np.zeros((slots, layout.vocab_size), np.uint8),
        settings=np.zeros((slots, SETTINGS)),
        made=np.zeros(slots, np.int64),
        token=np.zeros(slots, np.int64),
    )


def turns_for(slots: int, quantum: int) -> Turns:
    def wholes(*shape: int) -> Wholes:
        return np.zeros((slots, *shape), np.int64)

    return Turns(
        unread=wholes(),
        length=wholes(),
        single=np.zeros(slots, np.bool_),
        kept=np.zeros(slots, np.bool_),
        arrived=wholes(),
        given=wholes(),
        place=wholes(),
        limit=wholes(),
        noise=np.zeros((slots, 2 * quantum)),
        at=wholes(),
        tokens=wholes(quantum),
        drawn=wholes(),
        ended=np.zeros(slots, np.bool_),
    )


def scratch_for(layout: Layout, rows: int) -> Scratch:
    products = -(-layout.gates * layout.width // PANEL) * PANEL
    widest = max(layout.width, layout.embedded.shape[1])
    size = layout.vocab_size

    def floats(*shape: int) -> Floats:
        return np.zeros(shape, np.float32)

    return Scratch(
        order=np.arange(rows),
        asked=np.zeros(rows, np.int64),
        x=floats(rows, widest),
        normed=floats(rows, widest),
        from_input=floats(rows, products),
        from_output=floats(rows, products),
        chances=floats(size),
        gains=floats(size),
        ranks=np.zeros(size, np.int32),
        places=np.zeros(max(layout.order, 1), np.int64),
    )


def copied(old: Arrays, new: Arrays) -> Arrays:
    """`new`, which has more slots, with all that `old` holds."""
    for before, after in zip(old, new, strict=True):
        after[tuple(slice(size) for size in before.shape)] = before
    return new
