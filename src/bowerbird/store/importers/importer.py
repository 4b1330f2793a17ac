"""What an importer is: a record of how a foreign file is read into numbers in the names of our own networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from bowerbird.base.errors import CorruptFile


@dataclass(frozen=True)
class Foreign:
    """What was in a file: numbers, texts and JSON values, nothing that could run."""

    format: str
    """The importer's name."""
    weights: Mapping[str, Tensor]
    """By the names of our networks; a row of `embedding.weight` and of `output` for each of the file's tokens."""
    architecture: Mapping[str, Any]
    """The `model` part of the settings."""
    symbols: tuple[str | None, ...] | None = None
    """The text of each token, None for one that has none; None where the file does not tell."""
    notes: tuple[str, ...] = ()
    """What had to be assumed, and what is left out: whole sentences."""
    pickled: tuple[str, ...] = ()
    """What the file's pickles ask for by name, if it has any; picklescan found none of it dangerous."""
    manifest: Mapping[str, Any] | None = None
    """bundle.json of the bundle that was exported to this file, if it was one of ours."""
    partners: Mapping[str, Tensor] = field(default_factory=dict)
    codec_files: Mapping[str, bytes] = field(default_factory=dict)
    card: str = ""


@dataclass(frozen=True)
class Importer:
    """An entry of the shelf: one format."""

    name: str
    suffixes: tuple[str, ...]
    """In small letters; empty among them where a folder is read."""
    read: Callable[[Path], Foreign]
    """Raises DataError for what our networks cannot be, CorruptFile for what is damaged, Refused for code."""


def manifest_of(value: Any, where: Path) -> dict[str, Any]:
    """What an exported file holds as its bundle's manifest, if it can be one.

    Raises:
        CorruptFile: it cannot.
    """
    if not isinstance(value, dict) or not isinstance(value.get("config"), dict):
        raise CorruptFile("this export does not tell of the bundle it was made of", where=where)
    return value
