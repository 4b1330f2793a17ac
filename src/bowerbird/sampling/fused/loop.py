"""The decode loop, compiled: for each of a few rows choose a token, read it, and again; many tokens a call.

B rows, D width, G gates, V vocabulary, Q tokens a call. Nothing a row gets depends on the rows beside it: its
products are summed in one order, all else is done row by row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bowerbird.base.digest import digest_file
from bowerbird.sampling.fused.choice import END, USED, choose
from bowerbird.sampling.fused.elementary import log, sigmoid, tanh
from bowerbird.sampling.fused.products import add_product
from bowerbird.sampling.fused.weights import LAYER_NORM, NO_NORM, Grams, Weights

_F = np.float32
RUNS, STOPPED, FULL = 0, 1, 2
"""What became of a row."""


@njit(nogil=True, error_model="numpy")
def _normalise(given: NDArray[Any], scale: NDArray[Any], shift: NDArray[Any], epsilon: float, kind: int, out: NDArray[Any]) -> None:
    """One row, by its own numbers."""
    size = len(given)
    mean, square = 0.0, 0.0
    if kind == LAYER_NORM:
        for index in range(size):
            mean += given[index]
        mean /= size
    for index in range(size):
        square += (given[index] - mean) ** 2
    factor, middle = _F(1 / np.sqrt(square / size + epsilon)), _F(mean)
    for index in range(size):
        out[index] = (given[index] - middle) * factor * scale[index] + shift[index]


@njit(nogil=True, error_model="numpy")
def _lstm(given: NDArray[Any], h: NDArray[Any], c: NDArray[Any]) -> None:
    width = len(h)
    enter, forget = given[:width], given[width : 2 * width]
    candidate, output = given[2 * width : 3 * width], given[3 * width : 4 * width]
    for unit in range(width):
        memory = sigmoid(forget[unit]) * c[unit] + sigmoid(enter[unit]) * tanh(candidate[unit])
        c[unit] = memory
        h[unit] = sigmoid(output[unit]) * tanh(memory)


@njit(nogil=True, error_model="numpy")
def _gru(from_input: NDArray[Any], from_output: NDArray[Any], h: NDArray[Any]) -> None:
    width = len(h)
    reset_x, update_x, new_x = from_input[:width], from_input[width : 2 * width], from_input[2 * width :]
    reset_h, update_h, new_h = from_output[:width], from_output[width : 2 * width], from_output[2 * width :]
    for unit in range(width):
        update = sigmoid(update_x[unit] + update_h[unit])
        candidate = tanh(new_x[unit] + sigmoid(reset_x[unit] + reset_h[unit]) * new_h[unit])
        h[unit] = (_F(1) - update) * candidate + update * h[unit]


@njit(nogil=True, error_model="numpy")
def _elman(given: NDArray[Any], h: NDArray[Any]) -> None:
    for unit in range(len(h)):
        h[unit] = tanh(given[unit])


@njit(nogil=True)
def _find(contexts: NDArray[Any], low: int, high: int, wanted: int) -> int:
    """Where the context is between two places, or -1."""
    end = high
    while low < high:
        middle = (low + high) // 2
        if contexts[middle] < wanted:
            low = middle + 1
        else:
            high = middle
    return low if low < end and contexts[low] == wanted else -1


@njit(nogil=True)
def _weigh(logits: NDArray[Any], weight: Any, found: NDArray[Any]) -> None:
    for token in range(len(found)):
        logits[token] += weight * log(found[token])


@njit(nogil=True)
def _add_grams(grams: Grams, recent: NDArray[Any], gates: NDArray[Any], logits: NDArray[Any], found: NDArray[Any], at: NDArray[Any]) -> None:
    """What the tables say after the tokens read last, weighed by the gates; `found` (V,) and `at` to work in."""
    size = len(found)
    known = grams.dense - 1
    key, place, inside, there = 0, 1, True, True
    step = size ** (grams.order - 1)
    for longest in range(2, grams.order + 1):
        token = recent[longest - 2] if inside else 0
        inside = inside and token != 0
        key += token * place
        place *= size
        if longest > grams.dense:
            # A context is known only where what it ends in is.
            wanted = key + (longest - 1) * step
            at[longest] = (
                _find(grams.contexts, grams.levels[longest - 1], grams.levels[longest], wanted) if there else -1
            )
            there = at[longest] >= 0
            known += there
    row = recent[0] if grams.dense == 2 else 0
    for token in range(size):
        found[token] = grams.base[row, token]
    weight = _F(0)
    for longest in range(2, grams.order + 1):
        if longest > grams.dense and at[longest] >= 0:
            if weight != 0:
                _weigh(logits, weight, found)
            weight = _F(0)
            context = at[longest]
            left = grams.left[context]
            for token in range(size):
                found[token] *= left
            for entry in range(grams.first[context], grams.first[context + 1]):
                found[grams.symbols[entry]] += grams.shares[entry]
        weight += gates[longest - 2] + grams.by_known[known, longest - 2]
    _weigh(logits, weight, found)


@njit(nogil=True, error_model="numpy")
def _read(
    net: Weights, grams: Grams, tokens: NDArray[Any], h: NDArray[Any], c: NDArray[Any], recent: NDArray[Any],
    rows: int, work: Any, logits: NDArray[Any],
) -> None:  # fmt: skip
    """One token more in each row: the next state, in place, and the logits after it."""
    layers, width, stride = len(net.recurrent_matrices), net.width, net.input_biases.shape[1]
    from_input, from_output, x, normed, narrow, gates, found, at = work
    wide, inputs = x.shape[1], net.first.shape[1]
    for row in range(rows):
        if net.residual:
            x[row, :width] = net.widened[tokens[row]]
    for layer in range(layers):
        for row in range(rows):
            if layer == 0 and net.folded:
                from_input[row] = net.first[tokens[row]]
                continue
            from_input[row] = net.input_biases[layer]
            if layer == 0:
                normed[row, :inputs] = net.first[tokens[row]]
            elif net.norm == NO_NORM:
                normed[row, :width] = x[row, :width]
            else:
                _normalise(
                    x[row, :width], net.norm_scales[layer], net.norm_shifts[layer], net.epsilon, net.norm, normed[row]
                )
        if layer or not net.folded:
            add_product(
                from_input.reshape(-1), stride, normed.reshape(-1), wide, rows, net.weights, net.scales,
                net.input_matrices[layer],
            )  # fmt: skip
        sums = from_input
        if net.gates == 3:
            sums = from_output
            for row in range(rows):
                sums[row] = net.recurrent_biases[layer]
        add_product(
            sums.reshape(-1), stride, h[layer].reshape(-1), width, rows, net.weights, net.scales,
            net.recurrent_matrices[layer],
        )  # fmt: skip
        for row in range(rows):
            if net.gates == 4:
                _lstm(from_input[row, : 4 * width], h[layer, row], c[layer, row])
            elif net.gates == 3:
                _gru(from_input[row, : 3 * width], from_output[row, : 3 * width], h[layer, row])
            else:
                _elman(from_input[row, :width], h[layer, row])
            if net.residual:
                for unit in range(width):
                    x[row, unit] += h[layer, row, unit]
            else:
                x[row, :width] = h[layer, row]
    for row in range(rows):
        logits[row] = net.output_bias
        if net.norm == NO_NORM:
            normed[row, :width] = x[row, :width]
        else:
            _normalise(
                x[row, :width], net.norm_scales[layers], net.norm_shifts[layers], net.epsilon, net.norm, normed[row]
            )
    top, top_stride = normed, wide
    if net.head[0, 3]:
        narrow[:rows] = 0
        add_product(
            narrow.reshape(-1), narrow.shape[1], normed.reshape(-1), wide, rows, net.weights, net.scales, net.head[0]
        )
        top, top_stride = narrow, narrow.shape[1]
    add_product(
        logits.reshape(-1), logits.shape[1], top.reshape(-1), top_stride, rows, net.weights, net.scales, net.head[1]
    )
    if grams.order:
        for row in range(rows):
            gates[row] = grams.gate_bias
        add_product(
            gates.reshape(-1), gates.shape[1], normed.reshape(-1), wide, rows, net.weights, net.scales, net.head[2]
        )
        for row in range(rows):
            for place in range(grams.order - 2, 0, -1):
                recent[row, place] = recent[row, place - 1]
            recent[row, 0] = tokens[row]
            _add_grams(grams, recent[row], gates[row], logits[row], found, at)


def _compiled(sources: str) -> Any:
    """The loop. Its compiled form is kept between runs, for as long as no file of `sources` changes."""

    @njit(cache=True, nogil=True, error_model="numpy")
    def decode(
        net: Weights, grams: Grams, slots: NDArray[Any], h: NDArray[Any], c: NDArray[Any], recent: NDArray[Any],
        logits: NDArray[Any], marks: NDArray[Any], settings: NDArray[Any], left: NDArray[Any],
        draws: NDArray[Any], made: NDArray[Any], counts: NDArray[Any], ends: NDArray[Any],
    ) -> None:  # fmt: skip
        """Up to Q tokens for each slot named. What is in slots is changed in place; draws and made are (B, Q)."""
        _ = sources
        rows, most = draws.shape
        layers, width, size = len(net.recurrent_matrices), net.width, net.vocab_size
        own_h, own_c = np.empty((layers, rows, width), _F), np.empty((layers, rows, c.shape[2]), _F)
        own_recent, own_logits = np.empty((rows, recent.shape[1]), np.int64), np.empty((rows, logits.shape[1]), _F)
        wide = max(width, net.first.shape[1] if not net.folded else 0)
        products = net.input_biases.shape[1]
        work = (
            np.empty((rows, products), _F),
            np.empty((rows, products), _F),
            np.empty((rows, wide), _F),
            np.empty((rows, wide), _F),
            np.empty((rows, net.head[0, 3] * 32), _F),
            np.empty((rows, len(grams.gate_bias)), _F),
            np.empty(size, _F),
            np.empty(grams.order + 1, np.int64),
        )
        weights, kept, heap = np.empty(size, _F), np.empty(size, _F), np.empty(size, np.int64)
        indices, tokens = np.arange(rows), np.empty(rows, np.int64)
        for row in range(rows):
            own_h[:, row], own_c[:, row] = h[slots[row]], c[slots[row]]
            own_recent[row], own_logits[row] = recent[slots[row]], logits[slots[row]]
        live = rows
        for time in range(most):
            before, live = live, 0
            for row in range(before):
                index = indices[row]
                slot = slots[index]
                token = choose(own_logits[row], marks[slot], settings[slot], draws[index, time], weights, kept, heap)
                left[slot] -= 1
                if marks[slot, token] & END:
                    ends[index] = STOPPED
                    continue
                marks[slot, token] |= USED
                made[index, time] = token
                counts[index] += 1
                if not left[slot]:
                    ends[index] = FULL
                    continue
                indices[live], tokens[live] = index, token
                if live < row:  # close the gap of a row that ended
                    own_h[:, live], own_c[:, live] = own_h[:, row], own_c[:, row]
                    own_recent[live] = own_recent[row]
                live += 1
            if not live:
                break
            _read(net, grams, tokens, own_h, own_c, own_recent, live, work, own_logits)
        for row in range(live):
            slot = slots[indices[row]]
            h[slot], c[slot] = own_h[:, row], own_c[:, row]
            recent[slot], logits[slot] = own_recent[row], own_logits[row]

    return decode


def _sources() -> str:
    """Numba looks at one file only to see whether what it kept is stale; these are compiled into one another."""
    return "".join(digest_file(path) for path in sorted(Path(__file__).parent.glob("*.py")))


decode = _compiled(_sources())
