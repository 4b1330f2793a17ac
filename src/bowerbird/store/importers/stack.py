"""Recurrent layers as PyTorch lays them out, made into the weights of our network.

V tokens of the file, E embedding, I inputs and D width of a layer, W the widest, G gates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bowerbird.base.errors import DataError
from bowerbird.store.importers.importer import Foreign

GATES = {"lstm": 4, "gru": 3, "rnn": 1}
_MOST_ONE_HOT = 4096
"""Symbols that a network may read without an embedding, which then is a square matrix."""
_MOST_FILLED = 4
"""By how much more numbers layers of unlike widths may have once all are as wide as the widest."""


@dataclass(frozen=True)
class Layer:
    """One layer, gates in torch's order; a bias that is None is zero."""

    input: Tensor
    """(G * D, I)."""
    recurrent: Tensor
    """(G * D, D)."""
    input_bias: Tensor | None
    recurrent_bias: Tensor | None

    @property
    def width(self) -> int:
        return self.recurrent.shape[1]


def assemble(
    form: str,
    cell: str,
    layers: Sequence[Layer],
    output_VD: Tensor,
    bias_V: Tensor | None,
    *,
    embedding_VE: Tensor | None,
    **told: Any,
) -> Foreign:
    """The network of an embedding, layers of one cell, and an output layer; `told` is what else is known of it.

    Without an embedding the first layer reads tokens one-hot. Layers narrower than the widest are filled up
    with units that are always zero: a unit whose weights are zero stays at zero in each of these cells.

    Raises:
        DataError: the parts do not fit together, or there are numbers that are not finite.
    """
    tokens = output_VD.shape[0] if output_VD.ndim == 2 else 0
    if embedding_VE is None:
        if tokens > _MOST_ONE_HOT:
            raise DataError(
                f"a network without an embedding can have {_MOST_ONE_HOT:,} tokens, not {tokens:,}"
            )
        embedding_VE = torch.eye(tokens)
    bias_V = torch.zeros(tokens) if bias_V is None else bias_V
    _check(cell, layers, embedding_VE, output_VD, bias_V)
    width = max(layer.width for layer in layers)
    given = sum(layer.input.numel() + layer.recurrent.numel() for layer in layers)
    if len(layers) * GATES[cell] * width**2 > _MOST_FILLED * given + 1_000_000:
        raise DataError("its layers are of widths too unlike for one network", hint="train a new model")
    weights = {
        "embedding.weight": embedding_VE,
        "output": F.pad(output_VD, (0, width - output_VD.shape[1])),
        "bias": bias_V,
    }
    for index, layer in enumerate(layers):
        inputs = width if index else embedding_VE.shape[1]
        for name, value in _filled(layer, GATES[cell], inputs, width).items():
            weights[f"cells.{index}.weights.{name}"] = value
    weights = {name: value.float().contiguous() for name, value in weights.items()}
    strange = [name for name, value in weights.items() if not bool(value.isfinite().all())]
    if strange:
        raise DataError(f"its weights are not all finite numbers: {', '.join(strange)}")
    shape = {"cell": cell, "width": width, "layers": len(layers), "embedding": embedding_VE.shape[1]}
    return Foreign(form, weights, shape, **told)


def _check(cell: str, layers: Sequence[Layer], embedding: Tensor, output: Tensor, bias: Tensor) -> None:
    """Raises DataError unless each part takes what the one before it gives."""
    if not layers:
        raise DataError("it has no recurrent layer")
    size = embedding.shape[1] if embedding.ndim == 2 else 0
    for number, layer in enumerate(layers, 1):
        rows = GATES[cell] * layer.width if layer.recurrent.ndim == 2 else 0
        found = [layer.input.shape, layer.recurrent.shape]
        biases = [part.shape for part in (layer.input_bias, layer.recurrent_bias) if part is not None]
        if (
            not rows
            or found != [(rows, size), (rows, layer.width)]
            or any(part != (rows,) for part in biases)
        ):
            raise DataError(
                f"its recurrent layer {number} does not fit: {', '.join(str(tuple(shape)) for shape in found)} "
                f"after {size} inputs"
            )
        size = layer.width
    tokens = len(embedding)
    if not tokens or tuple(output.shape) != (tokens, size) or tuple(bias.shape) != (tokens,):
        raise DataError(
            f"its output layer does not fit: {tuple(output.shape)} for {tokens} tokens and {size} inputs"
        )


def _filled(layer: Layer, gates: int, inputs: int, width: int) -> dict[str, Tensor]:
    """The layer with zeros for what it lacks of `inputs` and `width`, gate by gate."""
    more = width - layer.width

    def matrix(value: Tensor, columns: int) -> Tensor:
        blocks = value.reshape(gates, layer.width, value.shape[1])
        return F.pad(blocks, (0, columns - blocks.shape[2], 0, more)).reshape(gates * width, columns)

    def vector(value: Tensor | None) -> Tensor:
        blocks = torch.zeros(gates, layer.width) if value is None else value.reshape(gates, layer.width)
        return F.pad(blocks, (0, more)).flatten()

    return {
        "input": matrix(layer.input, inputs),
        "recurrent": matrix(layer.recurrent, width),
        "input_bias": vector(layer.input_bias),
        "recurrent_bias": vector(layer.recurrent_bias),
    }
