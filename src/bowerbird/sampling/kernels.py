"""The fused loop: read a token in each row of a block, given or drawn, step the network by it, and again.

Every row is computed by the same instructions in the same order whatever stands beside it, and a token that
was given by the same as one that was drawn.

S slots, V tokens, D width, G gates, L layers, K the highest order of n-grams, W window of the cache.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from bowerbird.sampling.draw import BANNED, END, GUIDED, USED, draw
from bowerbird.sampling.layout import PANEL
from bowerbird.sampling.mathematics import F, compiled, sigmoid, tanh
from bowerbird.sampling.memory import add_counted, add_past, remember
from bowerbird.sampling.vectors import has_wide_vectors, tile

_ONE = F(1)
# Sums of a tile that do not fit into the processor's vector registers go through memory, at half the speed or less.
_MANY, _SOME, _PAIR, _ABREAST = (8, 4, 4, 4) if has_wide_vectors() else (2, 2, 1, 2)
"""Rows of a tile where there are many and where some are left; panels beside each other for two rows, and for one."""
_tile_many, _tile_some = tile(_MANY, 1), tile(_SOME, 1)
_tile_pair, _tile_2x1 = tile(2, _PAIR), tile(2, 1)
_tile_abreast, _tile_1x1 = tile(1, _ABREAST), tile(1, 1)


@compiled
def decode(layout: Any, rows: Any, turns: Any, given: Any, scratch: Any, slots: Any) -> None:
    """In each slot of a block, read the tokens given to it, then make up to so many more and read them.

    Args:
        layout: the network's.
        rows: what the streams remember.
        turns: what each slot is given and may make; how many it made, and whether it ended, is written there.
        given: (tokens,) those given, of one slot after the other.
        scratch: for as many rows or more.
        slots: (block,) which to step; written to.
    """
    active = len(slots)
    for index in range(active):
        turns.drawn[slots[index]] = 0
        turns.ended[slots[index]] = False
    turn = 0
    while active:
        going = 0
        for index in range(active):
            slot = slots[index]
            drawn = turn - turns.given[slot]
            if drawn < 0:
                rows.token[slot] = given[turns.place[slot] + turn]
            elif drawn >= turns.limit[slot] or not _make(layout, rows, turns, scratch, slot, drawn):
                continue
            slots[going] = slot
            going += 1
        active = going
        _climb(layout, rows, scratch, slots, active)
        turn += 1
        asked = 0
        for index in range(active):  # a token that is followed by a given one need not be asked what follows
            slot = slots[index]
            if turn >= turns.given[slot]:
                scratch.asked[asked] = slot
                scratch.order[asked] = index
                asked += 1
        _answer(layout, rows, scratch, asked)


@compiled
def _make(layout: Any, rows: Any, turns: Any, scratch: Any, slot: int, drawn: int) -> bool:
    """Draw a token to read next, the call's token of this number for the slot; False for an end."""
    forbidden = BANNED
    if not rows.made[slot] and rows.settings[slot, GUIDED] == 0.0:
        forbidden = BANNED | END  # an answer is never empty, unless a guide has it so
    token = draw(
        rows.scores[slot],
        layout.vocab_size,
        rows.flags[slot],
        forbidden,
        rows.settings[slot],
        turns.noise[slot, turns.at[slot]],
        scratch.chances,
        scratch.ranks,
    )
    turns.at[slot] += 1
    if rows.flags[slot, token] & END:
        turns.ended[slot] = True
        return False
    turns.tokens[slot, drawn] = token
    turns.drawn[slot] = drawn + 1
    rows.made[slot] += 1
    rows.flags[slot, token] |= USED
    rows.token[slot] = token
    return True


@compiled
def _climb(layout: Any, rows: Any, scratch: Any, slots: Any, active: int) -> None:
    """Read its token in each of the first `active` slots: new states; what the top layer gives is left in `x`."""
    layers = len(layout.norms) - 1
    order, x, normed = scratch.order, scratch.x, scratch.normed
    for index in range(active):
        order[index] = index
        _note(layout, rows, slots[index])
    if layout.residual or not layout.folded:
        _look_up(layout.embedded, rows.token, slots, active, x)
    for layer in range(layers):
        if layer == 0 and layout.folded:
            _look_up(layout.table, rows.token, slots, active, scratch.from_input)
        else:
            size = layout.matrices[2 * layer, 1]
            for index in range(active):
                _normalise(layout, layer, x[index], normed[index], size)
            _multiply(layout, 2 * layer, normed, order, scratch.from_input, order, active)
        _multiply(layout, 2 * layer + 1, rows.hidden[layer], slots, scratch.from_output, order, active)
        for index in range(active):
            hidden = rows.hidden[layer, slots[index]]
            if layout.gates == 4:
                memory = rows.memory[layer, slots[index]]
                _lstm(scratch.from_input[index], scratch.from_output[index], hidden, memory)
            else:
                _gru(scratch.from_input[index], scratch.from_output[index], hidden)
            _pass_on(layout.residual, hidden, x[index])


@compiled
def _answer(layout: Any, rows: Any, scratch: Any, asked: int) -> None:
    """Scores of the token to come, in the first `asked` of the slots asked; `order` has their rows of `x`."""
    layers = len(layout.norms) - 1
    for index in range(asked):
        row = scratch.order[index]
        _normalise(layout, layers, scratch.x[row], scratch.normed[row], layout.width)
    _multiply(layout, 2 * layers, scratch.normed, scratch.order, rows.scores, scratch.asked, asked)
    for index in range(asked):
        _weigh_memory(layout, rows, scratch, scratch.asked[index])


@compiled
def _note(layout: Any, rows: Any, slot: int) -> None:
    """Remember the token that is read, for n-grams and cache."""
    token = rows.token[slot]
    if layout.order:
        recent = rows.recent[slot]
        for back in range(layout.order - 2, 0, -1):
            recent[back] = recent[back - 1]
        recent[0] = token
    if layout.window:
        remember(layout, token, rows.written[slot], rows.past[slot], rows.keys[slot])


@compiled
def _weigh_memory(layout: Any, rows: Any, scratch: Any, slot: int) -> None:
    """Add to a row's scores what n-grams and cache know, its token read."""
    scores = rows.scores[slot]
    if layout.order:
        add_counted(layout, rows.recent[slot], scores, scratch.chances, scratch.places)
    if layout.window:
        gate = scores[layout.vocab_size + max(layout.order - 1, 0)]
        past, keys, written = rows.past[slot], rows.keys[slot], rows.written[slot]
        add_past(layout, written, past, keys, gate, scores, scratch.gains, scratch.ranks)


@compiled
def _look_up(table: Any, tokens: Any, slots: Any, active: int, found: Any) -> None:
    """A row of a table, which has one a token, for each slot."""
    for index in range(active):
        row, values = found[index], table[tokens[slots[index]]]
        for unit in range(len(values)):
            row[unit] = values[unit]


@compiled
def recall(layout: Any, tokens: Any, written: Any, past: Any, keys: Any) -> None:
    """Write down tokens read before, into an empty past."""
    written[:] = 0
    for token in tokens:
        remember(layout, token, written, past, keys)


@compiled
def _multiply(
    layout: Any, number: int, inputs: Any, sources: Any, outputs: Any, targets: Any, active: int
) -> None:
    """A matrix and its bias for the first `active` rows; weights are read once for all of them.

    `sources` and `targets` are each one's row of `inputs` and of `outputs`.
    """
    at, size = layout.matrices[number, 0], layout.matrices[number, 1]
    panels, bias = layout.matrices[number, 2], layout.matrices[number, 3]
    weights, biases = layout.weights, layout.biases
    many = active - active % _MANY
    some = many + (active - many) // _SOME * _SOME
    if some:
        for panel in range(panels):
            place, column = at + panel * size * PANEL, panel * PANEL
            told = bias + column
            for first in range(0, many, _MANY):
                _tile_many(
                    weights, place, size, inputs, sources, first, outputs, targets, column, biases, told
                )
            if some > many:
                _tile_some(
                    weights, place, size, inputs, sources, many, outputs, targets, column, biases, told
                )
    first = some
    while first < active:
        rows = 2 if first + 2 <= active else 1
        panel = 0
        while panel < panels:
            place, column = at + panel * size * PANEL, panel * PANEL
            told = bias + column
            abreast = _PAIR if rows == 2 else _ABREAST
            wide = panel + abreast <= panels
            if rows == 2 and wide:
                _tile_pair(
                    weights, place, size, inputs, sources, first, outputs, targets, column, biases, told
                )
            elif rows == 2:
                _tile_2x1(
                    weights, place, size, inputs, sources, first, outputs, targets, column, biases, told
                )
            elif wide:
                _tile_abreast(
                    weights, place, size, inputs, sources, first, outputs, targets, column, biases, told
                )
            else:
                _tile_1x1(
                    weights, place, size, inputs, sources, first, outputs, targets, column, biases, told
                )
            panel += abreast if wide else 1
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
