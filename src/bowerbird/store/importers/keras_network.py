"""A row of Keras' layers as our network: Embedding or one-hot input, LSTM, GRU or SimpleRNN, Dense.

U units, I inputs. Keras keeps a kernel as (I, gates * U) where PyTorch has (gates * U, I). Its LSTM has PyTorch's
order of gates and one bias; its GRU has update, reset, candidate where PyTorch has reset, update, candidate, and
two biases if the reset gate comes after the product, as in ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bowerbird.base.errors import DataError
from bowerbird.store.importers.importer import Foreign
from bowerbird.store.importers.keras_config import Described, check_row
from bowerbird.store.importers.stack import Layer, assemble
from bowerbird.store.importers.symbols import Symbols

CELLS = {"LSTM": "lstm", "GRU": "gru", "SimpleRNN": "rnn"}
_PASSED = (
    "InputLayer",
    "Dropout",
    "SpatialDropout1D",
    "GaussianDropout",
    "GaussianNoise",
    "ActivityRegularization",
)
"""Layers that do nothing once a network has learnt."""
_MOST_CELLS = 64
_WHY = {
    "AttentionWeightedAverage": "an average by attention over a window of the last tokens, which textgenrnn has: "
    "our networks read token by token and keep no window",
    "Bidirectional": "a layer that reads texts from both ends, which cannot go on from one",
    "Concatenate": "connections past layers (as textgenrnn has): our output layer reads the last layer alone",
    "RNN": "a layer made of cells of another kind",
}
_HINT = "a model of bowerbird's own is imported from its .safetensors or .pth export, or is a bundle already"
Arrays = Callable[[Described], Sequence[Tensor]]
"""The weights of a layer in Keras' order."""


def network(
    form: str, layers: Sequence[Described], arrays: Arrays, symbols: Symbols | None, where: Path
) -> Foreign:
    """The network of these layers.

    Raises:
        DataError: our networks cannot be it; says what of it they have not.
    """
    for layer in layers:
        if layer.kind not in (*CELLS, *_PASSED, "Embedding", "Dense", "Activation", "Softmax"):
            why = _WHY.get(layer.kind, f"a `{layer.kind[:100]}`, which our networks have not")
            raise DataError(f"its layer `{layer.name}` is {why}", where=where, hint=_HINT)
    check_row(list(layers), where)
    working = [layer for layer in layers if layer.kind not in _PASSED]
    order = [
        {"Embedding": 0, "Dense": 2, "Activation": 3, "Softmax": 3}.get(layer.kind, 1) for layer in working
    ]
    if order != sorted(order) or order.count(0) > 1 or order.count(2) != 1 or order.count(3) > 1:
        raise DataError(
            "it is no embedding, recurrent layers and one dense layer in a row: "
            f"{', '.join(layer.kind for layer in working)}",
            where=where,
        )
    embedding, cells, dense = ([layer for layer, place in zip(working, order, strict=True) if place == at]
                               for at in range(3))  # fmt: skip
    if not 1 <= len(cells) <= _MOST_CELLS:
        raise DataError(f"it has {len(cells)} recurrent layers, not 1 to {_MOST_CELLS}", where=where)
    if len({layer.kind for layer in cells}) != 1:
        raise DataError(
            f"its recurrent layers are not all of one kind: {', '.join(layer.kind for layer in cells)}",
            where=where,
        )
    last = working[-1]
    _check_activation(
        dense[0], ("linear",) if last is not dense[0] else ("softmax", "linear"), "activation", where
    )
    if last.kind == "Activation":
        _check_activation(last, ("softmax", "linear"), "activation", where)
    kernel, bias = _sized(arrays(dense[0]), (1, 2), dense[0], where)
    return assemble(
        form,
        CELLS[cells[0].kind],
        [_layer(layer, arrays(layer), where) for layer in cells],
        kernel.T if kernel.ndim == 2 else kernel,
        bias,
        embedding_VE=_sized(arrays(embedding[0]), (1,), embedding[0], where)[0] if embedding else None,
        symbols=symbols,
        notes=_notes(layers),
    )


def _sized(
    found: Sequence[Tensor], counts: tuple[int, ...], layer: Described, where: Path
) -> tuple[Tensor, Tensor | None]:
    """The first two arrays of a layer that may have so many."""
    if len(found) not in counts:
        raise DataError(f"its layer `{layer.name}` has {len(found)} arrays of weights", where=where)
    return found[0], found[1] if len(found) > 1 else None


def _layer(layer: Described, found: Sequence[Tensor], where: Path) -> Layer:
    _check_cell(layer, where)
    if len(found) not in (2, 3) or found[0].ndim != 2 or found[1].ndim != 2:
        raise DataError(f"its layer `{layer.name}` has not the weights of a {layer.kind}", where=where)
    kernel, recurrent, bias = found[0].T, found[1].T, found[2] if len(found) == 3 else None
    if layer.kind != "GRU":
        return Layer(kernel, recurrent, bias, None)
    if bias is not None and bias.ndim != 2:
        raise _reset_before(layer, where)
    if (
        kernel.shape[0] % 3
        or recurrent.shape[0] % 3
        or (bias is not None and (len(bias) != 2 or bias.shape[1] % 3))
    ):
        raise DataError(f"its layer `{layer.name}` has not the weights of a GRU", where=where)
    biases = [None, None] if bias is None else [_reset_first(bias[0]), _reset_first(bias[1])]
    return Layer(_reset_first(kernel), _reset_first(recurrent), biases[0], biases[1])


def _reset_first(value: Tensor) -> Tensor:
    """Gates update, reset, candidate along the first dimension, as reset, update, candidate."""
    update, reset, candidate = value.chunk(3)
    return torch.cat([reset, update, candidate])


def _check_cell(layer: Described, where: Path) -> None:
    config = layer.config
    _check_activation(layer, ("tanh",), "activation", where)
    if layer.kind != "SimpleRNN":
        _check_activation(layer, ("sigmoid",), "recurrent_activation", where)
    if layer.kind == "GRU" and config.get("reset_after", False) is not True:
        raise _reset_before(layer, where)
    if config.get("go_backwards", False) is not False:
        raise DataError(f"its layer `{layer.name}` reads texts backwards (go_backwards)", where=where)


def _reset_before(layer: Described, where: Path) -> DataError:
    return DataError(
        f"its layer `{layer.name}` is a GRU whose reset gate comes before the product (reset_after=False): ours comes "
        "after it, as in cuDNN, and the weights of one mean nothing in the other",
        where=where,
        hint="train it with reset_after=True, or take an LSTM",
    )


def _check_activation(layer: Described, known: tuple[str, ...], key: str, where: Path) -> None:
    found = layer.config.get(key, known[0])
    if isinstance(found, Mapping):
        found = found.get("config")
    if found not in known:
        raise DataError(
            f"its layer `{layer.name}` has {key} {str(found)[:100]!r}, not {' or '.join(known)}", where=where
        )


def _notes(layers: Sequence[Described]) -> tuple[str, ...]:
    for layer in layers[:2]:  # what is read first: the input and its embedding
        config: Any = layer.config
        shape = config.get("batch_shape") or config.get("batch_input_shape")
        length = shape[1] if isinstance(shape, list) and len(shape) > 1 else config.get("input_length")
        if type(length) is int and length > 1:
            return (
                f"It learnt from windows of {length} tokens, each read from an empty state; here its state goes on "
                "through a whole text.",
            )
    return ()
