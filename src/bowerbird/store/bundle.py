"""The one model format: a folder, sealed by digests, holding data and never code.

    bundle.json               format, kind, config, codec, lineage, step, digest of each other file
    weights.safetensors       what is served
    tokenizer.json            where the codec has one
    partners.safetensors      training-only networks, where there are any
    README.md                 the model card

Equal training gives equal bundles, digest and all: nothing in one depends on time, place or machine.
A checkpoint is a bundle with, beside it, what the next training step depends on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bowerbird.base.digest import digest_file, seal_holds, sealed
from bowerbird.base.errors import CorruptFile, NotFound, storage_errors
from bowerbird.base.files import check_format, read_json, whole_folder, write_json
from bowerbird.base.listed import changed, check_listed
from bowerbird.store.migrations import BUNDLES, CHECKPOINTS, migrated
from bowerbird.store.precision import as_float32

FORMAT = 1
MANIFEST = "bundle.json"
WEIGHTS = "weights.safetensors"
PARTNERS = "partners.safetensors"
RESUME = "resume.safetensors"
_TYPES: dict[str, type] = {
    "kind": str,
    "config": dict,
    "codec": dict,
    "normaliser": dict,
    "structure": str,
    "lineage": dict,
    "step": int,
    "files": dict,
}


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and the content of its `bundle.json`."""

    path: Path
    manifest: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.manifest["kind"])

    @property
    def digest(self) -> str:
        return str(self.manifest["digest"])

    def weights(self) -> dict[str, Tensor]:
        """What is served; as float32, in however few bits the bundle keeps it."""
        path = self.path / WEIGHTS
        return as_float32(read_tensors(path), self.manifest.get("precision"), path)

    def partners(self) -> dict[str, Tensor]:
        return read_tensors(self.path / PARTNERS) if PARTNERS in self.manifest["files"] else {}

    def codec_files(self) -> dict[str, bytes]:
        """The codec's own files, by name."""
        names = [name for name in self.manifest["files"] if name.endswith(".json")]
        return {name: (self.path / name).read_bytes() for name in names}


def write_bundle(
    folder: Path,
    manifest: Mapping[str, Any],
    *,
    weights: Mapping[str, Tensor],
    partners: Mapping[str, Tensor],
    codec_files: Mapping[str, bytes],
    card: str,
) -> dict[str, Any]:
    """Write a bundle into `folder`, which its caller makes appear whole. Returns the sealed manifest."""
    folder.mkdir(mode=0o700, exist_ok=True)
    write_tensors(folder / WEIGHTS, weights)
    if partners:
        write_tensors(folder / PARTNERS, partners)
    for name, file_content in codec_files.items():
        (folder / name).write_bytes(file_content)
    (folder / "README.md").write_text(card, encoding="utf-8")
    files = {path.name: digest_file(path) for path in sorted(folder.iterdir())}
    content = sealed({**manifest, "format": FORMAT, "files": files})
    write_json(folder / MANIFEST, content)
    return content


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and check every file against its digest.

    Raises:
        NotFound: there is no bundle at `path`.
        CorruptFile: a file is missing or changed, the manifest is wrong, or the format newer than this version.
    """
    where = path / MANIFEST
    if not where.exists():
        raise NotFound("there is no bundle here", where=path)
    manifest = migrated(_sealed_record(where, "bundle"), FORMAT, BUNDLES)
    wrong = [key for key, wanted in _TYPES.items() if type(manifest.get(key)) is not wanted]
    if wrong or WEIGHTS not in manifest["files"]:
        raise CorruptFile(
            f"this bundle is not one: {', '.join(wrong) or WEIGHTS} missing or wrong",
            where=where,
            hint=_AGAIN,
        )
    lineage = manifest["lineage"]
    if not all(isinstance(lineage.get(key), str | None) for key in ("dataset", "parent")):
        raise CorruptFile("the lineage of this bundle is none", where=where, hint=_AGAIN)
    check_listed(path, manifest["files"], where, "model", _AGAIN)
    for entry in path.iterdir():  # what is not listed is not read, but would be copied with the rest
        if entry.is_symlink() or not entry.is_file():
            raise CorruptFile("a bundle holds files only, no link and no folder", where=entry, hint=_AGAIN)
    return Bundle(path, manifest)


def write_checkpoint(
    folder: Path,
    manifest: Mapping[str, Any],
    resume: Mapping[str, Tensor],
    state: Mapping[str, Any],
    **bundle: Any,
) -> str:
    """Write a checkpoint that appears whole at `folder`. Returns the digest of the bundle in it."""
    with whole_folder(folder, replace=True) as building:
        written = write_bundle(building / "bundle", manifest, **bundle)
        write_tensors(building / RESUME, resume)
        digests = {"bundle": written["digest"], "resume": digest_file(building / RESUME)}
        write_json(building / "checkpoint.json", sealed({"format": FORMAT, **digests, **state}))
    return str(written["digest"])


def open_checkpoint(path: Path) -> tuple[Bundle, dict[str, Tensor], dict[str, Any]]:
    """The bundle, the resume state, and what else `write_checkpoint` was given in `state`.

    Raises:
        CorruptFile: anything in it was changed or is missing.
    """
    record = migrated(_sealed_record(path / "checkpoint.json", "checkpoint"), FORMAT, CHECKPOINTS)
    if (path / "bundle").is_symlink():
        raise CorruptFile("the bundle of this checkpoint is a link", where=path / "bundle", hint=_AGAIN)
    bundle = open_bundle(path / "bundle")
    if bundle.digest != record.get("bundle"):
        raise changed("model", bundle.path, _AGAIN)
    check_listed(path, {RESUME: record.get("resume")}, path / "checkpoint.json", "checkpoint", _AGAIN)
    return bundle, read_tensors(path / RESUME), record


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with storage_errors(path):
        try:
            save_file({name: value.contiguous() for name, value in tensors.items()}, path)
        except SafetensorError as error:
            raise _as_os_error(error, path) from error
        path.chmod(0o600)


def read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, ValueError) as error:
        raise CorruptFile(f"these weights cannot be read: {error}", where=path, hint=_AGAIN) from error


def _as_os_error(error: SafetensorError, path: Path) -> OSError:
    """What the disk said, which the library passes on as words: `... (os error 28)`."""
    _, _, tail = str(error).rpartition("os error ")
    digits = tail.partition(")")[0]
    if not digits.isdigit():
        raise error
    return OSError(int(digits), str(error), str(path))


_AGAIN = "use another checkpoint or version, or train it again"


def _sealed_record(path: Path, noun: str) -> dict[str, Any]:
    """The content of a sealed JSON file, of a format that can be read."""
    record = read_json(path, noun)
    if not isinstance(record, dict):
        raise changed("model", path, _AGAIN)
    check_format(record.get("format"), FORMAT, noun, path)
    if not seal_holds(record):
        raise changed("model", path, _AGAIN)
    return record
