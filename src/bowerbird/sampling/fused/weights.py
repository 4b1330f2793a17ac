"""A network laid out for the compiled loop: flat arrays, checked so that nothing is read outside of them.

D width, G gates of a cell, V vocabulary, K the highest order of n-grams. No numba here.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.models.cells.cell import RecurrentWeights
from bowerbird.models.cells.gru import GRU
from bowerbird.models.cells.lstm import LSTM
from bowerbird.models.cells.rnn import Elman
from bowerbird.models.rnn import RNN

PANEL = 32
"""Outputs of a product that lie side by side."""
Precision = Literal["float32", "bfloat16", "int8"]
GATES: dict[type, int] = {Elman: 1, GRU: 3, LSTM: 4}
"""Cells the loop knows, and their gates."""
NO_NORM, LAYER_NORM, RMS_NORM = 0, 1, 2
_MOST_FOLDED = 1 << 24
"""Numbers in the table of every token's first products, 64 MB."""

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Weights(NamedTuple):
    """A matrix is a row of four numbers: [first weight, first scale, inputs, panels]; no panels, no matrix."""

    gates: int
    width: int
    vocab_size: int
    norm: int
    epsilon: float
    folded: bool
    """`first` holds the first cell's products of each token, not its input."""
    residual: bool
    first: Floats
    """(V, G x D padded), or (V, inputs) where that would be too large."""
    widened: Floats
    """(V, D) what the first layer adds to, with residual layers; else nothing."""
    input_matrices: Ints
    """(layers, 4)"""
    recurrent_matrices: Ints
    """(layers, 4)"""
    input_biases: Floats
    """(layers, G x D padded)"""
    recurrent_biases: Floats
    """(layers, G x D padded); nought but for GRU, where a gate stands between the two."""
    norm_scales: Floats
    """(layers + 1, widest)"""
    norm_shifts: Floats
    head: Ints
    """(3, 4): narrow, output and the n-grams' gates."""
    output_bias: Floats
    """(V padded)"""
    weights: NDArray[Any]
    scales: Floats


class Grams(NamedTuple):
    """Tables of n-grams as in `models.ngrams.Tables`, for one table. Order 0: there are none."""

    order: int
    dense: int
    base: Floats
    """(1 or V, V)"""
    contexts: Ints
    levels: Ints
    """(K + 1): where the contexts of each size begin; those of a size end where the next begins."""
    left: Floats
    first: Ints
    symbols: NDArray[np.int32]
    shares: Floats
    gate_bias: Floats
    """(K - 1 padded)"""
    by_known: Floats
    """(K, K - 1)"""


def fits(network: nn.Module) -> bool:
    """Whether the loop knows this network: its cells, on the CPU, in float32."""
    if not isinstance(network, RNN) or any(type(cell) not in GATES for cell in network.cells):
        return False
    return all(part.device.type == "cpu" and part.dtype == torch.float32 for part in network.parameters())


class _Packer:
    """Puts matrices one after another, each in panels, in the precision wanted."""

    def __init__(self, precision: Precision):
        self._precision = precision
        self._weights: list[NDArray[Any]] = []
        self._scales: list[Floats] = []
        self._ends = [0, 0]

    def add(self, matrix_NK: Floats) -> list[int]:
        outputs, inputs = matrix_NK.shape
        padded = np.zeros((-(-outputs // PANEL) * PANEL, inputs), np.float32)
        padded[:outputs] = matrix_NK
        scale = np.ones(len(padded), np.float32)
        if self._precision == "int8":
            scale = np.maximum(np.abs(padded).max(1), np.float32(1e-30)) / np.float32(127)
            padded = np.rint(padded / scale[:, None])
        panels = padded.reshape(-1, PANEL, inputs).transpose(0, 2, 1).reshape(-1)
        place = [*self._ends, inputs, len(padded) // PANEL]
        self._weights.append(_stored(panels, self._precision))
        self._scales.append(scale)
        self._ends = [self._ends[0] + panels.size, self._ends[1] + len(scale)]
        return place

    def packed(self) -> tuple[NDArray[Any], Floats]:
        return np.concatenate(self._weights), np.concatenate(self._scales)


def _stored(values: Floats, precision: Precision) -> NDArray[Any]:
    if precision == "int8":
        return values.astype(np.int8)
    values = np.ascontiguousarray(values)
    if precision == "float32":
        return values
    return torch.from_numpy(values).bfloat16().view(torch.uint16).numpy()


@torch.no_grad()
def lay_out(network: RNN, precision: Precision) -> tuple[Weights, Grams]:
    """Raises `ValueError` where n-gram tables are not what they should be."""
    config, width, layers = network.config, network.config.width, len(network.cells)
    parts = [cast(RecurrentWeights, cast(Any, cell).weights) for cell in network.cells]
    gates = GATES[type(network.cells[0])]
    size = -(-gates * width // PANEL) * PANEL
    pack = _Packer(precision)
    nothing = [0, 0, 0, 0]

    widened = network.widen(network.embedding.weight)
    first = network.norms[0](widened)
    folded = network.vocab_size * size <= _MOST_FOLDED
    input_biases, recurrent_biases = np.zeros((2, layers, size), np.float32)
    input_matrices, recurrent_matrices = [], []
    for layer, part in enumerate(parts):
        input_biases[layer, : gates * width] = _numpy(part.input_bias)
        (recurrent_biases if gates == GATES[GRU] else input_biases)[layer, : gates * width] += _numpy(
            part.recurrent_bias
        )
        input_matrices.append(nothing if folded and not layer else pack.add(_numpy(part.input)))
        recurrent_matrices.append(pack.add(_numpy(part.recurrent)))
    if folded:
        table = np.zeros((network.vocab_size, size), np.float32)
        table[:, : gates * width] = _numpy(first @ parts[0].input.T)
        first_table = table + input_biases[0]
    else:
        first_table = _numpy(first)

    widest = max(width, first.shape[1])
    norm_scales, norm_shifts = np.zeros((2, layers + 1, widest), np.float32)
    for index, norm in enumerate(network.norms):
        for table, name in ((norm_scales, "weight"), (norm_shifts, "bias")):
            if isinstance(value := getattr(norm, name, None), Tensor):
                table[index, : len(value)] = _numpy(value)

    narrow = pack.add(_numpy(network.narrow.weight)) if isinstance(network.narrow, nn.Linear) else nothing
    output = pack.add(_numpy(network.embedding.weight if config.tied else network.output))
    ngrams = network.ngrams
    head = [narrow, output, nothing if ngrams is None else pack.add(_numpy(ngrams.gates.weight))]
    output_bias = np.zeros(output[3] * PANEL, np.float32)
    output_bias[: network.vocab_size] = _numpy(network.bias)
    weights, scales = pack.packed()
    laid = Weights(
        gates=gates,
        width=width,
        vocab_size=network.vocab_size,
        norm={"none": NO_NORM, "layer": LAYER_NORM, "rms": RMS_NORM}[config.norm],
        epsilon=float(getattr(network.norms[-1], "eps", None) or np.finfo(np.float32).eps),
        folded=folded,
        residual=config.residual,
        first=first_table,
        widened=_numpy(widened) if config.residual else np.zeros((0, 0), np.float32),
        input_matrices=np.array(input_matrices, np.int64),
        recurrent_matrices=np.array(recurrent_matrices, np.int64),
        input_biases=input_biases,
        recurrent_biases=recurrent_biases,
        norm_scales=norm_scales,
        norm_shifts=norm_shifts,
        head=np.array(head, np.int64),
        output_bias=output_bias,
        weights=weights,
        scales=scales,
    )
    return laid, _grams(network)


def _numpy(value: Tensor) -> Floats:
    return np.ascontiguousarray(value.detach().float().numpy())


def _grams(network: RNN) -> Grams:
    none = np.zeros(0, np.float32)
    if network.ngrams is None:
        whole = np.zeros(0, np.int64)
        square = none.reshape(0, 0)
        return Grams(0, 0, square, whole, whole, none, whole, np.zeros(0, np.int32), none, none, square)
    tables = network.ngrams.tables()
    contexts = tables.contexts.numpy()
    orders = tables.order - 1
    bias = np.zeros(-(-orders // PANEL) * PANEL, np.float32)
    bias[:orders] = _numpy(network.ngrams.gates.bias)
    grams = Grams(
        order=tables.order,
        dense=tables.dense,
        base=_numpy(tables.base),
        contexts=contexts,
        levels=np.searchsorted(contexts, np.arange(tables.order + 1) * tables.step).astype(np.int64),
        left=_numpy(tables.left),
        first=tables.first.numpy(),
        symbols=tables.symbols.numpy(),
        shares=_numpy(tables.shares),
        gate_bias=bias,
        by_known=_numpy(network.ngrams.by_known),
    )
    _check(grams, network.vocab_size)
    return grams


def _check(grams: Grams, vocab_size: int) -> None:
    """What the loop relies on: it looks nothing up twice."""
    sound = (
        bool((np.diff(grams.contexts) > 0).all())
        and grams.base.shape == (vocab_size if grams.dense == 2 else 1, vocab_size)
        and len(grams.left) == len(grams.contexts) + 1
        and len(grams.first) == len(grams.contexts) + 2
        and grams.first[0] == 0
        and grams.first[-1] == len(grams.symbols) == len(grams.shares)
        and bool((np.diff(grams.first) >= 0).all())
        and bool(((grams.symbols >= 0) & (grams.symbols < vocab_size)).all())
    )
    if not sound:
        raise ValueError("these are no tables of n-grams")
