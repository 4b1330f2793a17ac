"""A state dict of PyTorch's own layers: nn.Embedding (or one-hot input), nn.LSTM, nn.GRU or nn.RNN, nn.Linear."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from bowerbird.base.errors import DataError
from bowerbird.store.importers.importer import Foreign
from bowerbird.store.importers.stack import GATES, Layer, assemble

_PART = re.compile(r"(.*?)(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)_l(\d{1,3})(_reverse)?")
_EMBEDDING = re.compile(r"emb|encoder|lookup", re.IGNORECASE)
_KNOWN = "an nn.Embedding or one-hot input, an nn.LSTM, nn.GRU or nn.RNN, and an nn.Linear"


def from_state_dict(form: str, tensors: Mapping[str, Tensor], **told: Any) -> Foreign:
    """The network that these weights are of; `told` is what else is known of it.

    Raises:
        DataError: they are of none that ours can be.
    """
    parts: dict[tuple[str, int], Tensor] = {}
    prefixes: set[str] = set()
    rest: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if not value.is_floating_point():
            raise DataError(f"its weights are not floating-point numbers: {name[:100]} is {value.dtype}")
        found = _PART.fullmatch(name)
        if found is None:
            rest[name] = value
            continue
        if found[4]:
            raise DataError("it reads texts from both ends: a bidirectional network cannot go on from one")
        if found[2] == "weight_hr":
            raise DataError("its LSTM has a projection (proj_size), which our cells have not")
        prefixes.add(found[1])
        parts[found[2], int(found[3])] = value
    if len(prefixes) != 1:
        told_of = (
            f"recurrent layers under several names: {', '.join(sorted(prefixes))}" if prefixes else "none"
        )
        raise DataError(
            f"a network that can be imported has {_KNOWN}; of recurrent layers this has {told_of}"
        )
    layers = _layers(parts)
    cell = _cell(layers[0])
    embedding, output, bias = _ends(rest)
    notes = told.pop("notes", ())
    if cell == "rnn":
        notes = (*notes, "Its recurrent layer is taken to be one with tanh, which its weights do not tell.")
    return assemble(form, cell, layers, output, bias, embedding_VE=embedding, notes=notes, **told)


def _layers(parts: Mapping[tuple[str, int], Tensor]) -> list[Layer]:
    count = 1 + max(number for _, number in parts)
    missing = [
        f"{part}_l{number}"
        for number in range(count)
        for part in ("weight_ih", "weight_hh")
        if (part, number) not in parts
    ]
    if missing:
        raise DataError(f"some of its recurrent layers' weights are missing: {', '.join(missing[:4])}")
    return [
        Layer(
            parts["weight_ih", number],
            parts["weight_hh", number],
            parts.get(("bias_ih", number)),
            parts.get(("bias_hh", number)),
        )
        for number in range(count)
    ]


def _cell(layer: Layer) -> str:
    shape = tuple(layer.recurrent.shape)
    for cell, gates in GATES.items():
        if len(shape) == 2 and shape[1] and shape[0] == gates * shape[1]:
            return cell
    raise DataError(f"its recurrent weights {shape} are of no LSTM, GRU or RNN")


def _ends(rest: Mapping[str, Tensor]) -> tuple[Tensor | None, Tensor, Tensor | None]:
    """The embedding, if there is one, and weight and bias of the output layer."""
    matrices = [name for name, value in rest.items() if name.endswith("weight") and value.ndim == 2]
    bias_of = {
        name: name.removesuffix("weight") + "bias"
        for name in matrices
        if name.removesuffix("weight") + "bias" in rest
    }
    strange = sorted(set(rest) - set(matrices) - set(bias_of.values()))
    biased = [name for name in matrices if name in bias_of]
    if strange or len(matrices) not in (1, 2) or len(biased) > 1:
        shown = strange or matrices
        raise DataError(
            f"a network that can be imported has {_KNOWN}, and nothing else; this one has {', '.join(shown[:6])}"
        )
    if len(matrices) == 1:
        output = matrices[0]
    elif biased:
        output = biased[0]
    else:
        output = next((name for name in reversed(matrices) if not _EMBEDDING.search(name)), matrices[1])
    embedding = next((rest[name] for name in matrices if name != output), None)
    return embedding, rest[output], rest.get(bias_of.get(output, ""))
