"""The fused loop: draw a token for each row of a block, step the network by it, and again.

Every row is computed by the same instructions in the same order whatever stands beside it.

S slots, V tokens, D width, G gates, L layers, K the highest order of n-grams, W window of the cache.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bowerbird.sampling.draw import BANNED, END, GUIDED, SETTINGS, USED, draw
from bowerbird.sampling.layout import PANEL, Floats, Layout, Wholes
from bowerbird.sampling.mathematics import F, compiled, sigmoid, tanh
from bowerbird.sampling.memory import add_counted, add_past, remember
from bowerbird.sampling.vectors import tile

_ONE = F(1)
_tile_8x1, _tile_4x1 = tile(8, 1), tile(4, 1)
_tile_2x4, _tile_2x1 = tile(2, 4), tile(2, 1)
_tile_1x4, _tile_1x1 = tile(1, 4), tile(1, 1)


class Rows(NamedTuple):
    """A row a slot of all that streams remember, and room to compute in."""

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
    x: Floats
    normed: Floats
    from_input: Floats
    from_output: Floats
    chances: Floats
    gains: Floats
    ranks: NDArray[np.int32]
    places: Wholes
    """(S, K)."""


def room(layout: Layout, slots: int) -> Rows:
    """Rows for so many slots."""
    layers = len(layout.norms) - 1
    products = -(-layout.gates * layout.width // PANEL) * PANEL
    widest = max(layout.width, layout.embedded.shape[1])
    size = layout.vocab_size

    def floats(*shape: int) -> Floats:
        return np.zeros(shape, np.float32)

    return Rows(
        hidden=floats(layers, slots, layout.width),
        memory=floats(layers, slots, layout.width),
        recent=np.zeros((slots, max(layout.order - 1, 1)), np.int64),
        past=np.zeros((slots, 2 * max(layout.window, 1)), np.int32),
        keys=np.zeros((slots, 2 * max(layout.window, 1)), np.int32),
        written=np.zeros((slots, 2), np.int64),
        scores=floats(slots, int(layout.matrices[-1, 2]) * PANEL),
        flags=np.zeros((slots, size), np.uint8),
        settings=np.zeros((slots, SETTINGS)),
        made=np.zeros(slots, np.int64),
        x=floats(slots, widest),
        normed=floats(slots, widest),
        from_input=floats(slots, products),
        from_output=floats(slots, products),
        chances=floats(slots, size),
        gains=floats(slots, size),
        ranks=np.zeros((slots, size), np.int32),
        places=np.zeros((slots, max(layout.order, 1)), np.int64),
    )


@compiled
def decode(
    layout: Any, rows: Any, slots: Any, limits: Any, noise: Any, tokens: Any, counts: Any, ended: Any
) -> None:
    """Make up to so many tokens for each slot of a block.

    Args:
        layout: the network's.
        rows: what the streams remember.
        slots: (block,) which to step; written to.
        limits: (S,) tokens to make, at most Q.
        noise: (S, Q) a uniform number for each.
        tokens: (S, Q) those made.
        counts: (S,) how many.
        ended: (S,) whether an end was drawn, which is not counted.
    """
    active = len(slots)
    for index in range(active):
        counts[slots[index]] = 0
        ended[slots[index]] = False
    for turn in range(tokens.shape[1]):
        going = 0
        for index in range(active):
            slot = slots[index]
            if turn == limits[slot]:
                continue
            forbidden = BANNED
            if not rows.made[slot] and rows.settings[slot, GUIDED] == 0.0:
                forbidden = BANNED | END  # an answer is never empty, unless a guide has it so
            token = draw(
                rows.scores[slot],
                layout.vocab_size,
                rows.flags[slot],
                forbidden,
                rows.settings[slot],
                noise[slot, turn],
                rows.chances[slot],
                rows.ranks[slot],
            )
            if rows.flags[slot, token] & END:
                ended[slot] = True
                continue
            tokens[slot, turn] = token
            counts[slot] = turn + 1
            rows.made[slot] += 1
            rows.flags[slot, token] |= USED
            slots[going] = slot
            going += 1
        active = going
        if not active:
            return
        step(layout, rows, slots, active, tokens, turn)


@compiled
def step(layout: Any, rows: Any, slots: Any, active: int, tokens: Any, turn: int) -> None:
    """Read `tokens[slot, turn]` in each of the first `active` slots: new states and scores."""
    layers = len(layout.norms) - 1
    if layout.residual or not layout.folded:
        _look_up(layout.embedded, tokens, turn, slots, active, rows.x)
    for layer in range(layers):
        if layer == 0 and layout.folded:
            _look_up(layout.table, tokens, turn, slots, active, rows.from_input)
        else:
            size = layout.matrices[2 * layer, 1]
            for index in range(active):
                _normalise(layout, layer, rows.x[slots[index]], rows.normed[slots[index]], size)
            _multiply(layout, 2 * layer, rows.normed, slots, active, rows.from_input)
        _multiply(layout, 2 * layer + 1, rows.hidden[layer], slots, active, rows.from_output)
        for index in range(active):
            slot = slots[index]
            hidden = rows.hidden[layer, slot]
            if layout.gates == 4:
                _lstm(rows.from_input[slot], rows.from_output[slot], hidden, rows.memory[layer, slot])
            else:
                _gru(rows.from_input[slot], rows.from_output[slot], hidden)
            _pass_on(layout.residual, hidden, rows.x[slot])
    for index in range(active):
        _normalise(layout, layers, rows.x[slots[index]], rows.normed[slots[index]], layout.width)
    _multiply(layout, 2 * layers, rows.normed, slots, active, rows.scores)
    for index in range(active):
        _weigh_memory(layout, rows, slots[index], tokens[slots[index], turn])


@compiled
def _weigh_memory(layout: Any, rows: Any, slot: int, token: int) -> None:
    """Add to a row's scores what n-grams and cache know, this token read."""
    scores = rows.scores[slot]
    if layout.order:
        recent = rows.recent[slot]
        for back in range(layout.order - 2, 0, -1):
            recent[back] = recent[back - 1]
        recent[0] = token
        add_counted(layout, recent, scores, rows.chances[slot], rows.places[slot])
    if layout.window:
        past, keys, written = rows.past[slot], rows.keys[slot], rows.written[slot]
        remember(layout, token, written, past, keys)
        gate = scores[layout.vocab_size + max(layout.order - 1, 0)]
        add_past(layout, written, past, keys, gate, scores, rows.gains[slot], rows.ranks[slot])


@compiled
def _look_up(table: Any, tokens: Any, turn: int, slots: Any, active: int, found: Any) -> None:
    """Each slot's row of a table with a row a token."""
    for index in range(active):
        row, values = found[slots[index]], table[tokens[slots[index], turn]]
        for unit in range(len(values)):
            row[unit] = values[unit]


@compiled
def recall(layout: Any, tokens: Any, written: Any, past: Any, keys: Any) -> None:
    """Write down tokens read before, into an empty past."""
    written[:] = 0
    for token in tokens:
        remember(layout, token, written, past, keys)


@compiled
def _multiply(layout: Any, number: int, inputs: Any, slots: Any, active: int, outputs: Any) -> None:
    """A matrix and its bias for the first `active` slots; weights are read once for all of them."""
    at, size = layout.matrices[number, 0], layout.matrices[number, 1]
    panels, bias = layout.matrices[number, 2], layout.matrices[number, 3]
    weights, biases = layout.weights, layout.biases
    eights = active - active % 8
    fours = active - active % 4
    if fours:
        for panel in range(panels):
            place, column = at + panel * size * PANEL, panel * PANEL
            for first in range(0, eights, 8):
                _tile_8x1(weights, place, size, inputs, slots, first, outputs, column, biases, bias + column)
            if fours > eights:
                _tile_4x1(weights, place, size, inputs, slots, eights, outputs, column, biases, bias + column)
    first = fours
    while first < active:
        rows = 2 if first + 2 <= active else 1
        panel = 0
        while panel < panels:
            place, column = at + panel * size * PANEL, panel * PANEL
            wide = panel + 4 <= panels
            if rows == 2 and wide:
                _tile_2x4(weights, place, size, inputs, slots, first, outputs, column, biases, bias + column)
            elif rows == 2:
                _tile_2x1(weights, place, size, inputs, slots, first, outputs, column, biases, bias + column)
            elif wide:
                _tile_1x4(weights, place, size, inputs, slots, first, outputs, column, biases, bias + column)
            else:
                _tile_1x1(weights, place, size, inputs, slots, first, outputs, column, biases, bias + column)
            panel += 4 if wide else 1
        first += rows


@compiled
def _lstm(from_input: Any, from_output: Any, hidden: Any, memory: Any) -> None:
    width = len(hidden)
    for unit in range(width):
        enter = sigmoid(from_input[unit] + from_output[unit])
        forget = sigmoid(from_input[width + unit] + from_output[width + unit])
        candidate = tanh(from_input[2 * width + unit] + from_output[2 * width + unit])
        output = sigmoid(from_input[3 * width + unit] + from_output[3 * width + unit])
        memory[unit] = forget * memory[unit] + enter * candidate
        hidden[unit] = output * tanh(memory[unit])


@compiled
def _gru(from_input: Any, from_output: Any, hidden: Any) -> None:
    width = len(hidden)
    for unit in range(width):
        reset = sigmoid(from_input[unit] + from_output[unit])
        update = sigmoid(from_input[width + unit] + from_output[width + unit])
        candidate = tanh(from_input[2 * width + unit] + reset * from_output[2 * width + unit])
        hidden[unit] = (_ONE - update) * candidate + update * hidden[unit]


@compiled
def _pass_on(residual: bool, hidden: Any, x: Any) -> None:
    for unit in range(len(hidden)):
        x[unit] = x[unit] + hidden[unit] if residual else hidden[unit]


@compiled
def _normalise(layout: Any, number: int, x: Any, normed: Any, size: int) -> None:
    """The input of a layer, and after the last of the head: (size,) of `normed`."""
    if layout.norm == 0:
        for unit in range(size):
            normed[unit] = x[unit]
        return
    mean = F(0)
    if layout.norm == 2:
        for unit in range(size):
            mean += x[unit]
        mean /= F(size)
    squares = F(0)
    for unit in range(size):
        squares += (x[unit] - mean) * (x[unit] - mean)
    scale = _ONE / np.sqrt(squares / F(size) + F(layout.epsilon))
    weight, bias = layout.norms[number, 0], layout.norms[number, 1]
    for unit in range(size):
        normed[unit] = (x[unit] - mean) * scale * layout.biases[weight + unit] + layout.biases[bias + unit]
