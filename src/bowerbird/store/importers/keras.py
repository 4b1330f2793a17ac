"""The importer `keras`: Keras 3's .keras archives, read with zipfile, json and h5py, never with Keras."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from bowerbird.base.errors import CorruptFile
from bowerbird.store.importers import archive, hdf5
from bowerbird.store.importers.importer import Foreign, Importer
from bowerbird.store.importers.keras_config import Described, layers_of, parse
from bowerbird.store.importers.keras_network import CELLS, network
from bowerbird.store.importers.symbols import TOLD, TOLD_NOTE, beside, told_symbols

CONFIG = "config.json"
WEIGHTS = "model.weights.h5"
_MOST_CONFIG = 1 << 24
_MOST_ARRAYS = 4
_ROOTS = ("layers", "_layer_checkpoint_dependencies")
"""Where the layers' weights are, by Keras 3 and by 2.12 to 2.15."""


def read(path: Path) -> Foreign:
    with archive.opened(path) as members:
        layers = layers_of(parse(archive.content(members, CONFIG, _MOST_CONFIG), path), path)
        content = archive.content(members, WEIGHTS)
        told = archive.content(members, TOLD, _MOST_CONFIG) if TOLD in members.namelist() else None
    with tempfile.TemporaryDirectory() as folder:
        stored = Path(folder) / WEIGHTS
        stored.write_bytes(content)
        arrays = hdf5.read(stored, path).arrays
    places = _places(layers)
    symbols = told_symbols(told) if told is not None else None
    found = network(
        "keras",
        layers,
        lambda layer: _arrays(arrays, places[layer.name], path),
        symbols or beside(path),
        path,
    )
    return replace(found, notes=(*found.notes, TOLD_NOTE)) if symbols else found


def _places(layers: Sequence[Described]) -> dict[str, str]:
    """Where each layer's weights are below a root: by the name of its class, and its number among its like."""
    seen: Counter[str] = Counter()
    places = {}
    for layer in layers:
        name = "time_distributed" if layer.wrapped else _snake_case(layer.kind)
        number = f"_{seen[name]}" if seen[name] else ""
        seen[name] += 1
        places[layer.name] = f"{name}{number}{'/layer' if layer.wrapped else ''}"
        if layer.kind in CELLS:
            places[layer.name] += "/cell"
    return places


def _snake_case(name: str) -> str:
    spaced = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", spaced).lower()


def _arrays(stored: Mapping[str, Tensor], place: str, where: Path) -> list[Tensor]:
    for top in _ROOTS:
        path = f"{top}/{place}/vars"
        if f"{path}/0" in stored:
            return [
                stored[f"{path}/{number}"] for number in range(_MOST_ARRAYS) if f"{path}/{number}" in stored
            ]
    raise CorruptFile(f"the weights of {place} are not in this file", where=where)


KERAS = Importer("keras", (".keras",), read)
