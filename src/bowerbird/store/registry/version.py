"""A published version on disk: its folder written whole, its record read with every field checked."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path

from bowerbird.base.errors import CorruptFile, NotFound
from bowerbird.base.files import check_format, read_json, whole_folder, write_json
from bowerbird.store.beside import beside

FORMAT = 1
RECORD = "version.json"


@dataclass(frozen=True)
class Version:
    """One published model."""

    name: str
    version: int
    digest: str
    created: str
    """UTC, ISO 8601."""
    aliases: tuple[str, ...]
    scores: Mapping[str, float]
    parent: str | None
    """Digest of the bundle that it was fine-tuned from."""
    path: Path
    """The folder of its bundle on this machine; of a registry elsewhere, once it is fetched."""
    already: bool = False
    """Set by `publish` when this very bundle had been published under the name before."""
    origin: Mapping[str, str] = field(default_factory=dict)
    """Digests of the `dataset` and the `run` that it came from, where they are known."""


def write_version(
    folder: Path,
    number: int,
    bundle: Path,
    digest: str,
    scores: Mapping[str, float],
    parent: str | None,
    origin: Mapping[str, str],
) -> None:
    """Copy a bundle, and what lies beside it and travels with it, into a new version folder, whole or not at all.

    Raises:
        CorruptFile: there is a link in the bundle: what it leads to would be published too.
    """
    with whole_folder(folder) as building:
        _copy(bundle, building / "bundle")
        for path, place in beside(bundle, building / "bundle"):
            _copy_file(path, place)
        record = {
            "format": FORMAT,
            "version": number,
            "digest": digest,
            "created": _now(),
            "scores": finite(scores),
            "parent": parent,
            "origin": dict(origin),
        }
        write_json(building / RECORD, record)


def read_version(folder: Path, name: str, number: int, aliases: Mapping[str, int]) -> Version:
    """The version in a folder.

    Raises:
        CorruptFile: its record is missing, damaged or too new.
    """
    file = folder / RECORD
    try:
        record = read_json(file, "version")
    except NotFound as error:
        raise CorruptFile(f"version {number} of `{name}` has lost its record", where=file) from error
    if not isinstance(record, dict):
        raise CorruptFile("this version's record is damaged", where=file)
    check_format(record.get("format"), FORMAT, "version", file)
    try:
        scores = {str(key): float(value) for key, value in record["scores"].items()}
        digest, created, parent = record["digest"], record["created"], record["parent"]
        origin = {str(key): str(value) for key, value in record.get("origin", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile(f"this version's record is damaged ({error})", where=file) from error
    right = record.get("version") == number and isinstance(digest, str) and isinstance(created, str)
    if not right or not isinstance(parent, str | None):
        raise CorruptFile("this version's record is damaged", where=file)
    own = tuple(sorted(alias for alias, target in aliases.items() if target == number))
    return Version(name, number, digest, created, own, scores, parent, folder / "bundle", origin=origin)


def finite(scores: Mapping[str, float]) -> dict[str, float]:
    """The scores that are numbers."""
    return {key: float(value) for key, value in scores.items() if isfinite(value)}


def _copy(source: Path, target: Path) -> None:
    """Copy contents only: a source's permissions must not make a private model readable, nor unremovable."""
    target.mkdir(mode=0o700)
    for path in sorted(source.iterdir()):
        if path.is_dir() and not path.is_symlink():
            _copy(path, target / path.name)
        else:
            _copy_file(path, target / path.name)


def _copy_file(source: Path, target: Path) -> None:
    if source.is_symlink() or not source.is_file():
        raise CorruptFile("this model holds a link or another thing that is no file", where=source)
    shutil.copyfile(source, target)
    target.chmod(0o600)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
