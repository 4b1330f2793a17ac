"""What a Keras file says a network is, read as data: code in it is found and refused, layers are put in a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bowerbird.base.errors import CorruptFile, DataError, Refused

_CODE = {
    "Lambda": "Python code that is in the file",
    "TFOpLambda": "a function that the file names",
    "SlicingOpLambda": "a function that the file names",
    "__lambda__": "Python code that is in the file",
    "TorchModuleWrapper": "a pickle that is in the file",
    "TFSMLayer": "a saved program from another place",
    "JaxLayer": "Python code that is in the file",
    "FlaxLayer": "Python code that is in the file",
}
_FUNCTION_MODULES = ("builtins", "keras.activations", "keras.losses", "keras.metrics", "keras.initializers",
                     "keras.regularizers", "keras.constraints", "keras.ops")  # fmt: skip
_OWN_PACKAGES = ("keras", "bowerbird")
_STEP = "bowerbird"
_CARRYING = ("Reshape", "Cropping1D", "Concatenate")
_HINT = "do not open it with anything; ask its maker for the weights alone"
_MOST_VALUES = 1_000_000


@dataclass(frozen=True)
class Described:
    """A layer as the file describes it."""

    kind: str
    """Keras' name of its class."""
    name: str
    config: Mapping[str, Any]
    reads: frozenset[str] = frozenset()
    """Names of the layers it reads from, where the file tells."""
    wrapped: bool = False
    """It was in a TimeDistributed, which applies it at each place alone, as ours is anyway."""


def parse(text: str | bytes, where: Path) -> Any:
    """The JSON of a network's description, once nothing in it would run or import anything.

    Raises:
        CorruptFile: it is not JSON.
        Refused: Keras would run or import something, which is named.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CorruptFile(
            f"this file's description of its network is not JSON: {error}", where=where
        ) from error
    _refuse_code(value, where)
    return value


def _refuse_code(value: Any, where: Path) -> None:
    waiting, seen = [value], 0
    while waiting:
        found = waiting.pop()
        seen += 1
        if seen > _MOST_VALUES:
            raise CorruptFile("this file's description of its network is too long", where=where)
        if isinstance(found, dict):
            if "class_name" in found:
                _check_object(found, where)
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found


def _check_object(found: Mapping[str, Any], where: Path) -> None:
    kind, module, registered = (found.get(key) for key in ("class_name", "module", "registered_name"))
    inner = found.get("config")
    name = inner.get("name", kind) if isinstance(inner, dict) else kind
    if kind in _CODE:
        raise Refused(f"this file would run {_CODE[kind]}: `{name}` is a {kind}", where=where, hint=_HINT)
    package = next(
        (
            str(text).partition(">")[0]
            for text in (registered, kind)
            if isinstance(text, str) and ">" in text and text.partition(">")[0] not in _OWN_PACKAGES
        ),
        None,
    )
    if package is not None:
        raise Refused(
            f"this file would run a class of its own: `{name}` is `{registered or kind}`",
            where=where,
            hint=_HINT,
        )
    if module is None:
        return
    root = str(module).partition(".")[0]
    own = root in ("keras", "tf_keras") or str(module) == "bowerbird_layers"
    if kind == "function":
        if str(module) not in _FUNCTION_MODULES:
            raise Refused(
                f"this file would import and call `{module}.{_short(inner)}`", where=where, hint=_HINT
            )
    elif not own:
        raise Refused(f"this file would import and run `{module}.{_short(kind)}`", where=where, hint=_HINT)


def _short(value: Any) -> str:
    return str(value)[:100]


def layers_of(model: Any, where: Path) -> list[Described]:
    """The layers in the order of the file, without those that only name the input.

    Raises:
        DataError: it is no model of layers in a row.
    """
    if not isinstance(model, dict) or not isinstance(model.get("class_name"), str):
        raise DataError("this file does not describe a network", where=where)
    config = model.get("config")
    rows = config.get("layers") if isinstance(config, dict) else config
    if model["class_name"] not in ("Sequential", "Functional", "Model") or not isinstance(rows, list):
        raise DataError(
            f"a `{model['class_name'][:100]}` cannot be read: its layers are not in the file",
            where=where,
            hint="save it from a Sequential or functional model",
        )
    layers = [_described(row, where) for row in rows]
    return _row_of_step(layers) if isinstance(config, dict) and config.get("name") == _STEP else layers


def _row_of_step(layers: list[Described]) -> list[Described]:
    """The layers of one step as our own export writes it, states in and out, without what only carries the states."""
    return [replace(layer, reads=frozenset()) for layer in layers if layer.kind not in _CARRYING]


def _described(row: Any, where: Path) -> Described:
    config = row.get("config") if isinstance(row, dict) else None
    if not isinstance(config, dict) or not isinstance(row.get("class_name"), str):
        raise DataError("this file's description of its layers is damaged", where=where)
    reads = frozenset(_sources(row.get("inbound_nodes")))
    name = str(config.get("name", row.get("name", row["class_name"])))
    if row["class_name"] == "TimeDistributed":
        inner = _described(config.get("layer"), where)
        return Described(inner.kind, name, inner.config, reads, wrapped=True)
    return Described(row["class_name"], name, config, reads)


def _sources(nodes: Any) -> set[str]:
    """Names of the layers whose outputs are anywhere in a layer's inbound nodes, of Keras 2 or 3."""
    found: set[str] = set()
    waiting = [nodes]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            history = value.get("keras_history")
            if isinstance(history, list) and history:
                found.add(str(history[0]))
            waiting += value.values()
        elif isinstance(value, list):
            if (
                len(value) >= 3
                and isinstance(value[0], str)
                and all(type(part) is int for part in value[1:3])
            ):
                found.add(value[0])
            waiting += value
    return found


def check_row(layers: list[Described], where: Path) -> None:
    """Raises DataError unless each layer reads from the one before it and from no other."""
    for before, layer in zip([None, *layers], layers, strict=False):
        expected = {before.name} if before else set()
        if layer.reads and layer.reads != expected:
            raise DataError(
                f"its layer `{layer.name}` reads from {', '.join(f'`{name}`' for name in sorted(layer.reads))}: "
                "only networks of layers in a row can be imported",
                where=where,
            )
