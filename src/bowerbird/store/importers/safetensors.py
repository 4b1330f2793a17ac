"""The importer `safetensors`: our own export folders and files, and state dicts of PyTorch's layers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from bowerbird.base.errors import CorruptFile, NotFound
from bowerbird.store.importers.importer import Foreign, Importer, manifest_of
from bowerbird.store.importers.symbols import beside
from bowerbird.store.importers.torch_names import from_state_dict

WEIGHTS = "model.safetensors"
CONFIG = "bowerbird.config"
"""In the header: what config.json of the folder says."""


def read(path: Path) -> Foreign:
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise NotFound(f"there is no {file.name} here", where=path)
    tensors, metadata = _load(file)
    told = _config(metadata, file)
    if told is None:
        return from_state_dict("safetensors", tensors, symbols=beside(file))
    manifest, architecture = manifest_of(told.get("bundle"), file), told.get("model")
    if not isinstance(architecture, dict):
        raise CorruptFile("this export does not tell of its network", where=file)
    card = file.with_name("README.md")
    return Foreign(
        "safetensors",
        tensors,
        architecture,
        manifest=manifest,
        codec_files=_codec_files(manifest, file),
        card=_plain(card.read_text("utf-8", "replace")) if card.is_file() else "",
    )


def _load(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    try:
        with safe_open(file, "pt") as content:
            names = content.keys()
            return {name: content.get_tensor(name).clone() for name in names}, content.metadata() or {}
    except Exception as error:  # a broken header gives rise to SafetensorError, ValueError, MemoryError ...
        raise CorruptFile(f"these weights cannot be read: {error}", where=file) from error


def _config(metadata: Mapping[str, str], file: Path) -> dict[str, Any] | None:
    """What our export says of itself; None where it is not ours."""
    if CONFIG not in metadata:
        return None
    try:
        told = json.loads(metadata[CONFIG])
    except (ValueError, RecursionError) as error:
        raise CorruptFile("this export's description of itself is damaged", where=file) from error
    if not isinstance(told, dict):
        raise CorruptFile("this export's description of itself is damaged", where=file)
    return told


def _codec_files(manifest: Mapping[str, Any], file: Path) -> dict[str, bytes]:
    """The codec's own files, which lie beside; one that is missing is missed by the codec."""
    listed = manifest.get("files")
    names = [name for name in listed if name.endswith(".json")] if isinstance(listed, dict) else []
    places = {name: file.with_name(name) for name in names if Path(name).name == name}
    return {
        name: place.read_bytes()
        for name, place in places.items()
        if place.is_file() and not place.is_symlink()
    }


def _plain(card: str) -> str:
    """A card without the lines for the Hub at its head."""
    _, rule, rest = card.removeprefix("---\n").partition("\n---\n")
    return rest.lstrip() if card.startswith("---\n") and rule else card


SAFETENSORS = Importer("safetensors", (".safetensors", ""), read)
