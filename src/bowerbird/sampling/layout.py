"""A network's numbers laid out for the fused kernels: packed, folded, and checked to be in bounds.

The first layer's product with its input depends on the token alone, so it becomes a table with a row a token.
Output layer, n-gram gates and cache gate all multiply the same vector: they become one matrix, the head.

V tokens, D width, G gates of a cell, I inputs of the first layer, L layers, K the highest order of n-grams.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.models.cells.gru import GRU
from bowerbird.models.cells.lstm import LSTM
from bowerbird.models.rnn import RNN

PANEL = 32
"""Outputs whose weights lie together, input by input."""
_MOST_TABLE_BYTES = 64 << 20
_NORMS = {"none": 0, "rms": 1, "layer": 2}

Floats = NDArray[np.float32]
Wholes = NDArray[np.int64]


class Layout(NamedTuple):
    """What the kernels read; they take any array in it to be as long as is said here."""

    vocab_size: int
    width: int
    gates: int
    """4 for an LSTM, 3 for a GRU."""
    residual: bool
    norm: int
    """0 none, 1 rms, 2 layer."""
    epsilon: float
    folded: bool
    """Whether `table` holds the first layer's products."""
    weights: Floats
    """(numbers,) all matrices, in panels."""
    biases: Floats
    """(numbers,) of all matrices, and the weights and biases of all norms (zeros where there are none)."""
    matrices: Wholes
    """(2L + 1, 4): place in `weights`, inputs, panels, place in `biases`. Each layer's two, then the head."""
    norms: Wholes
    """(L + 1, 2): places in `biases` of weight and bias."""
    table: Floats
    """(V, G x D) first layer's products with bias."""
    embedded: Floats
    """(V, I) the first layer's input, where it is needed."""
    order: int
    """K, 0 without n-grams."""
    dense: int
    base: Floats
    contexts: Wholes
    left: Floats
    first: Wholes
    symbols: NDArray[np.int32]
    shares: Floats
    buckets: NDArray[np.int32]
    """(a power of two,) places in `contexts` by hash, -1 where there is none; filled by `memory.fill_buckets`."""
    by_known: Floats
    """(K, K - 1)."""
    window: int
    """Of the cache, 0 without one."""
    shortest: int
    by_length: Floats


def supported(network: RNN) -> bool:
    """Whether the kernels know this network's parts, and it lies where they can read it."""
    weights = network.embedding.weight
    return (
        weights.device.type == "cpu"
        and weights.dtype == torch.float32
        and len({type(cell) for cell in network.cells}) == 1
        and isinstance(network.cells[0], LSTM | GRU)
    )


class _Packed:
    """Matrices and vectors laid end to end as they come."""

    def __init__(self) -> None:
        self.weights: list[Floats] = []
        self.biases: list[Floats] = []
        self.matrices: list[tuple[int, int, int, int]] = []
        self._weights_end = self._biases_end = 0

    def vector(self, values: Floats) -> int:
        """Its place among the biases."""
        place = self._biases_end
        self.biases.append(values)
        self._biases_end += len(values)
        return place

    def matrix(self, weights: Tensor, bias: Tensor) -> None:
        """(outputs, inputs) and (outputs,), filled up to whole panels."""
        outputs, inputs = weights.shape
        panels = -(-outputs // PANEL)
        padded = np.zeros((panels * PANEL, inputs), np.float32)
        padded[:outputs] = weights.numpy()
        added = np.zeros(panels * PANEL, np.float32)
        added[:outputs] = bias.numpy()
        self.matrices.append((self._weights_end, inputs, panels, self.vector(added)))
        self.weights.append(padded.reshape(panels, PANEL, inputs).transpose(0, 2, 1).ravel())
        self._weights_end += padded.size


@torch.no_grad()
def lay_out(network: RNN) -> Layout:
    """The layout of a supported network."""
    assert supported(network), "its session is opened by sampling.sessions"
    config, vocab_size = network.config, network.vocab_size
    packed = _Packed()
    first = network.widen(network.embedding.weight)
    table = torch.zeros(1, 1)
    cells = [cast(LSTM | GRU, cell) for cell in network.cells]
    gates = 4 if isinstance(cells[0], LSTM) else 3
    folded = vocab_size * gates * config.width * 4 <= _MOST_TABLE_BYTES
    for index, cell in enumerate(cells):
        weights = cell.weights
        if index == 0 and folded:
            table = F.linear(network.norms[0](first), weights.input, weights.input_bias)
            packed.matrix(torch.zeros(1, 1), torch.zeros(1))  # stands for the table
        else:
            packed.matrix(weights.input, weights.input_bias)
        packed.matrix(weights.recurrent, weights.recurrent_bias)
    packed.matrix(*_head(network))
    norms = [
        (packed.vector(_numbers(norm, "weight")), packed.vector(_numbers(norm, "bias")))
        for norm in network.norms
    ]
    return Layout(
        vocab_size=vocab_size,
        width=config.width,
        gates=gates,
        residual=config.residual,
        norm=_NORMS[config.norm],
        epsilon=_epsilon(network.norms[0]),
        folded=folded,
        weights=np.concatenate(packed.weights),
        biases=np.concatenate(packed.biases),
        matrices=np.array(packed.matrices, np.int64),
        norms=np.array(norms, np.int64),
        table=_array(table),
        embedded=_array(first if config.residual or not folded else torch.zeros(1, 1)),
        **_counted(network),
        window=network.cache.config.window if network.cache else 0,
        shortest=network.cache.config.shortest if network.cache else 1,
        by_length=_array(network.cache.by_length if network.cache else torch.zeros(1)),
    )


def _head(network: RNN) -> tuple[Tensor, Tensor]:
    """Weights and bias of all that the top layer's output is multiplied by."""
    weights = network.embedding.weight if network.config.tied else network.output
    if isinstance(network.narrow, nn.Linear):
        weights = weights @ network.narrow.weight
    rows: list[Tensor] = [weights]
    biases: list[Tensor] = [network.bias]
    if network.ngrams is not None:
        rows.append(network.ngrams.gates.weight)
        biases.append(network.ngrams.gates.bias)
    if network.cache is not None:
        rows.append(network.cache.gate[None])
        biases.append(torch.zeros(1))
    return torch.cat(rows), torch.cat(biases)


def _counted(network: RNN) -> dict[str, Any]:
    """The n-gram fields of a layout.

    Raises:
        ValueError: the tables point outside themselves.
    """
    if network.ngrams is None:
        empty = {name: np.zeros(0, np.float32) for name in ("left", "shares")}
        empty |= {name: np.zeros(0, np.int64) for name in ("contexts", "first")}
        nothing = np.zeros((1, 1), np.float32)
        return {
            **empty,
            "order": 0,
            "dense": 0,
            "base": nothing,
            "symbols": np.zeros(0, np.int32),
            "buckets": np.full(1, -1, np.int32),
            "by_known": nothing,
        }
    tables = network.ngrams.tables()
    names = ("base", "contexts", "left", "first", "symbols", "shares")
    arrays = {name: _array(getattr(tables, name)) for name in names}
    first, symbols = arrays["first"], arrays["symbols"]
    if (
        (np.diff(first) < 0).any()
        or not (first[0] == 0 and first[-1] == len(symbols) == len(arrays["shares"]))
        or not len(first) == len(arrays["contexts"]) + 2 == len(arrays["left"]) + 1
        or ((symbols < 0) | (symbols >= network.vocab_size)).any()
    ):
        raise ValueError("the n-gram tables point outside themselves")
    return {
        **arrays,
        "order": tables.order,
        "dense": tables.dense,
        "buckets": np.full(1 << max(1, (2 * len(arrays["contexts"])).bit_length()), -1, np.int32),
        "by_known": _array(network.ngrams.by_known),
    }


def _numbers(norm: nn.Module, name: str) -> Floats:
    value = getattr(norm, name, None)
    if value is not None:
        return _array(value)
    weight = getattr(norm, "weight", None)
    return np.zeros(1 if weight is None else len(weight), np.float32)


def _epsilon(norm: nn.Module) -> float:
    """What torch adds under the root; None means as little as matters to float32."""
    given = getattr(norm, "eps", None)
    return torch.finfo(torch.float32).eps if given is None else float(given)


def _array(tensor: Tensor) -> NDArray[Any]:
    return np.ascontiguousarray(tensor.detach().numpy())
