"""The decode loop, compiled: for each of a few rows choose a token, read it, and again; many tokens a call.

B rows, L layers, D width, G gates, V vocabulary, Q tokens a call. Nothing a row gets depends on the rows beside
it: its products are summed in one order, all else is done row by row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from bowerbird.base.digest import digest_file
from bowerbird.sampling.fused.cells import elman, gru, lstm, normalise
from bowerbird.sampling.fused.choice import END, USED, choose
from bowerbird.sampling.fused.grams import add_grams
from bowerbird.sampling.fused.products import add_product
from bowerbird.sampling.fused.weights import NO_NORM, PANEL, Grams, Weights

_F = np.float32
RUNS, STOPPED, FULL = 0, 1, 2
"""What became of a row."""


@njit(nogil=True)
def _multiply(net: Weights, given: NDArray[Any], matrix: NDArray[Any], rows: int, out: NDArray[Any]) -> None:
    """out += given @ matrix, of the first rows of both."""
    add_product(
        out.reshape(-1), out.shape[1], given.reshape(-1), given.shape[1], rows, net.weights, net.scales, matrix
    )  # fmt: skip


@njit(nogil=True)
def _norm(net: Weights, place: int, x: NDArray[Any], rows: int, out: NDArray[Any]) -> None:
    """The norm before a layer, or before the output at the place after the last."""
    width = net.width
    scale, shift = net.norm_scales[place], net.norm_shifts[place]
    for row in range(rows):
        if net.norm == NO_NORM:
            out[row, :width] = x[row, :width]
        else:
            normalise(x[row, :width], scale, shift, net.epsilon, net.norm, out[row])


@njit(nogil=True)
def _turn(
    net: Weights,
    from_input: NDArray[Any],
    from_output: NDArray[Any],
    h: NDArray[Any],
    c: NDArray[Any],
    rows: int,
    x: NDArray[Any],
) -> None:
    """One layer's states (B, D) from its products, and x with what the layer puts out."""
    width = net.width
    for row in range(rows):
        own = h[row]
        if net.gates == 4:
            lstm(from_input[row, : 4 * width], own, c[row])
        elif net.gates == 3:
            gru(from_input[row, : 3 * width], from_output[row, : 3 * width], own)
        else:
            elman(from_input[row, :width], own)
        for unit in range(width):
            x[row, unit] = x[row, unit] + own[unit] if net.residual else own[unit]


@njit(nogil=True)
def _layers(
    net: Weights, tokens: NDArray[Any], h: NDArray[Any], c: NDArray[Any], rows: int, work: Any
) -> None:
    """One token more in each row: the states (L, B, D) change in place, the last layer's output is left in x."""
    from_input, from_output, x, normed = work
    width, inputs = net.width, net.first.shape[1]
    for row in range(rows):
        if net.residual:
            x[row, :width] = net.widened[tokens[row]]
        if net.folded:
            from_input[row] = net.first[tokens[row]]
        else:
            normed[row, :inputs] = net.first[tokens[row]]
    for layer in range(len(net.recurrent_matrices)):
        if layer:
            _norm(net, layer, x, rows, normed)
        if layer or not net.folded:
            for row in range(rows):
                from_input[row] = net.input_biases[layer]
            _multiply(net, normed, net.input_matrices[layer], rows, from_input)
        if net.gates == 3:
            for row in range(rows):
                from_output[row] = net.recurrent_biases[layer]
        _multiply(
            net, h[layer], net.recurrent_matrices[layer], rows, from_output if net.gates == 3 else from_input
        )
        _turn(net, from_input, from_output, h[layer], c[layer], rows, x)


@njit(nogil=True)
def _head(
    net: Weights, grams: Grams, recent: NDArray[Any], x: NDArray[Any], rows: int, work: Any, logits: NDArray[Any]
) -> None:  # fmt: skip
    """Logits (B, V padded) from the last layer's output."""
    normed, narrow, gates, found, contexts = work
    _norm(net, len(net.recurrent_matrices), x, rows, normed)
    for row in range(rows):
        logits[row] = net.output_bias
    if net.head[0, 3]:
        narrow[:rows] = 0
        _multiply(net, normed, net.head[0], rows, narrow)
        _multiply(net, narrow, net.head[1], rows, logits)
    else:
        _multiply(net, normed, net.head[1], rows, logits)
    if grams.order:
        for row in range(rows):
            gates[row] = grams.gate_bias
        _multiply(net, normed, net.head[2], rows, gates)
        for row in range(rows):
            add_grams(grams, recent[row], gates[row], logits[row], found, contexts)


@njit(nogil=True)
def _remember(recent: NDArray[Any], token: int) -> None:
    for place in range(len(recent) - 1, 0, -1):
        recent[place] = recent[place - 1]
    if len(recent):
        recent[0] = token


def _compiled(sources: str) -> Any:
    """The loop. Its compiled form is kept between runs, for as long as no file of `sources` changes."""

    @njit(cache=True, nogil=True)
    def decode(
        net: Weights, grams: Grams, slots: NDArray[Any], h: NDArray[Any], c: NDArray[Any], recent: NDArray[Any],
        logits: NDArray[Any], marks: NDArray[Any], settings: NDArray[Any], left: NDArray[Any],
        draws: NDArray[Any], made: NDArray[Any], counts: NDArray[Any], ends: NDArray[Any],
    ) -> None:  # fmt: skip
        """Up to Q tokens for each slot named (B). What is in slots changes in place; draws and made are (B, Q)."""
        _ = sources
        rows, most = draws.shape
        layers, width, size = len(net.recurrent_matrices), net.width, net.vocab_size
        own_h, own_c = np.empty((layers, rows, width), _F), np.empty((layers, rows, c.shape[2]), _F)
        own_recent = np.empty((rows, recent.shape[1]), np.int64)
        own_logits = np.empty((rows, logits.shape[1]), _F)
        wide = max(width, 0 if net.folded else net.first.shape[1])
        products = net.input_biases.shape[1]
        from_input, from_output = np.empty((rows, products), _F), np.empty((rows, products), _F)
        x, normed = np.empty((rows, wide), _F), np.empty((rows, wide), _F)
        narrow, gates = (
            np.empty((rows, net.head[0, 3] * PANEL), _F),
            np.empty((rows, len(grams.gate_bias)), _F),
        )
        found, contexts = np.empty(size, _F), np.empty(grams.order + 1, np.int64)
        weights, kept, heap = np.empty(size, _F), np.empty(size, _F), np.empty(size, np.int64)
        indices, tokens = np.arange(rows), np.empty(rows, np.int64)
        for row in range(rows):
            slot = slots[row]
            own_h[:, row], own_c[:, row] = h[slot], c[slot]
            own_recent[row], own_logits[row] = recent[slot], logits[slot]
        live = rows
        for time in range(most):
            before, live = live, 0
            for row in range(before):
                index = indices[row]
                slot = slots[index]
                draw = draws[index, time]
                token = choose(own_logits[row], marks[slot], settings[slot], draw, weights, kept, heap)
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
                _remember(own_recent[live], token)
                live += 1
            if not live:
                break
            _layers(net, tokens, own_h, own_c, live, (from_input, from_output, x, normed))
            _head(net, grams, own_recent, x, live, (normed, narrow, gates, found, contexts), own_logits)
        for row in range(live):
            slot = slots[indices[row]]
            h[slot], c[slot] = own_h[:, row], own_c[:, row]
            recent[slot], logits[slot] = own_recent[row], own_logits[row]

    return decode


def _sources() -> str:
    """Numba looks at one file only to see whether what it kept is stale; these are compiled into one another."""
    return "".join(digest_file(path) for path in sorted(Path(__file__).parent.glob("*.py")))


decode = _compiled(_sources())
