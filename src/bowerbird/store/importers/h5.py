"""The importer `h5`: Keras' HDF5 files, whole models and weights alone (as textgenrnn's), read with h5py only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.store.importers import hdf5
from bowerbird.store.importers.importer import Foreign, Importer
from bowerbird.store.importers.keras_config import Described, layers_of, parse
from bowerbird.store.importers.keras_network import CELLS, network
from bowerbird.store.importers.stack import GATES
from bowerbird.store.importers.symbols import TOLD, TOLD_NOTE, beside, told_symbols

_KIND_OF = {cell: kind for kind, cell in CELLS.items()}


def read(path: Path) -> Foreign:
    stored = hdf5.read(path, path)
    top = "model_weights" if "model_weights" in stored.attributes else ""
    names = stored.texts(top, "layer_names")
    if not names:
        raise DataError(
            "there is no Keras model in this file",
            where=path,
            hint="save it as model.save('MODEL.keras') or model.save('MODEL.h5')",
        )
    weights = {name: _arrays(stored, f"{top}/{name}" if top else name, path) for name in names}
    described = stored.texts("", "model_config")
    if not described:
        return _weights_alone(weights, path)
    layers = layers_of(parse(described[0], path), path)
    told = stored.texts("", TOLD)
    symbols = told_symbols(told[0]) if told else None
    found = network("h5", layers, lambda layer: _of(weights, layer, path), symbols or beside(path), path)
    return replace(found, notes=(*found.notes, TOLD_NOTE)) if symbols else found


def _arrays(stored: hdf5.Stored, place: str, where: Path) -> dict[str, Tensor]:
    """A layer's weights by name, in Keras' order."""
    names = stored.texts(place, "weight_names")
    missing = [name for name in names if f"{place}/{name}" not in stored.arrays]
    if place not in stored.attributes or missing:
        raise CorruptFile(f"weights of the layer `{place}` are not in this file", where=where)
    return {name: stored.arrays[f"{place}/{name}"] for name in names}


def _of(weights: Mapping[str, Mapping[str, Tensor]], layer: Described, where: Path) -> list[Tensor]:
    if layer.name not in weights:
        raise CorruptFile(f"the weights of the layer `{layer.name}` are not in this file", where=where)
    return list(weights[layer.name].values())


def _weights_alone(weights: Mapping[str, Mapping[str, Tensor]], path: Path) -> Foreign:
    """The network that layers without a description make, by the names and shapes of their weights."""
    layers = [_guessed(name, arrays, path) for name, arrays in weights.items() if arrays]
    _check_reach(layers, weights, path)
    found = network("h5", layers, lambda layer: list(weights[layer.name].values()), beside(path), path)
    gates = "tanh" if found.architecture["cell"] == "rnn" else "sigmoid gates and tanh"
    assumed = f"The file does not describe its network; its recurrent layers are taken to have {gates}."
    return replace(found, notes=(*found.notes, assumed))


def _guessed(name: str, arrays: Mapping[str, Tensor], where: Path) -> Described:
    ends = [full.rpartition("/")[2].partition(":")[0] for full in arrays]
    shapes = [tuple(value.shape) for value in arrays.values()]
    if ends == ["embeddings"]:
        return Described("Embedding", name, {})
    if ends in (["kernel"], ["kernel", "bias"]):
        return Described("Dense", name, {})
    if ends[:2] == ["kernel", "recurrent_kernel"] and len(shapes[1]) == 2 and shapes[1][0]:
        kind = next(
            (_KIND_OF[cell] for cell, gates in GATES.items() if shapes[1][1] == gates * shapes[1][0]), None
        )
        if kind and not (
            ends[2:] == ["bias"] and kind == "LSTM" and len(arrays[list(arrays)[2]]) == 2 * shapes[1][1]
        ):
            return Described(kind, name, {"reset_after": len(shapes[-1]) == 2})
    if "attention" in name:
        raise DataError(
            f"its layer `{name}` is an average by attention over a window of the last tokens, which textgenrnn has "
            "(and connections past layers): our networks read token by token and keep no window",
            where=where,
        )
    raise DataError(
        f"its layer `{name}` is of a kind that cannot be read from its weights: "
        f"{', '.join(f'{end} {shape}' for end, shape in zip(ends, shapes, strict=True))}",
        where=where,
    )


def _check_reach(
    layers: Sequence[Described], weights: Mapping[str, Mapping[str, Tensor]], where: Path
) -> None:
    """Raises DataError where the output layer reads more than the last recurrent layer, as textgenrnn's does."""
    widths = [
        next(iter(weights[layer.name].values())).shape[-1] for layer in layers if layer.kind == "Embedding"
    ]
    widths += [
        list(weights[layer.name].values())[1].shape[0] for layer in layers if layer.kind in _KIND_OF.values()
    ]
    for layer in layers:
        reads = next(iter(weights[layer.name].values())).shape[0] if layer.kind == "Dense" else 0
        if len(widths) > 1 and reads == sum(widths):
            raise DataError(
                f"its output layer `{layer.name}` reads the embedding and every layer together (textgenrnn's skip "
                "connections): our output layer reads the last layer alone",
                where=where,
            )


H5 = Importer("h5", (".h5", ".hdf5"), read)
