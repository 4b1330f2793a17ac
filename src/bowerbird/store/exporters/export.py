"""One export: built out of sight, proved, and only then put into place, with the proof beside it.

`parity.json` lies in the same folder, inside of it where a folder is made, and tells of each export by name.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bowerbird.base.digest import digest_file
from bowerbird.base.errors import BowerbirdError, Refused, UsageError, storage_errors
from bowerbird.base.files import check_free, private_folder, read_json, sync, taken, whole_folder, write_json
from bowerbird.store.exporters import EXPORTERS
from bowerbird.store.exporters.exporter import Exported, Exporter
from bowerbird.store.exporters.parity import prove

PARITY = "parity.json"


def export(exporter: Exporter, exported: Exported, out: Path) -> dict[str, Any]:
    """Write a model to a foreign format at `out`, if it is proved to give what the model gives.

    Returns:
        `path`, `format`, `parity` with `max_abs_difference` and `cases`, `digest` of the model, `size_bytes`,
        and `lines`, about ten of Python that run it.

    Raises:
        Refused: the place is taken, or the proof failed; nothing is left behind.
        UsageError: the name has the suffix of another format.
        MissingExtra: the packages of the format are not installed.
    """
    path = place_of(exporter, out)
    proof = _file(exporter, exported, path) if exporter.suffix else _folder(exporter, exported, path)
    return {
        "path": str(path),
        "format": exporter.name,
        "parity": {key: proof[key] for key in ("max_abs_difference", "cases", "tolerance", "seconds")},
        "digest": exported.manifest["digest"],
        "size_bytes": proof["size_bytes"],
        "lines": exporter.lines(exported, str(path)),
    }


def place_of(exporter: Exporter, out: Path) -> Path:
    """Where it is written: the suffix is added where `out` has none, and a folder gets a file `model` in it.

    Raises:
        UsageError: `out` has the suffix of another format.
    """
    if not exporter.suffix or out.suffix.lower() == exporter.suffix:
        return out
    if out.is_dir():
        return out / f"model{exporter.suffix}"
    if out.suffix.lower() in {other.suffix for other in EXPORTERS.values() if other.suffix}:
        raise UsageError(
            f"{exporter.name} files end in {exporter.suffix}, not in {out.suffix}",
            where=out,
            hint=f"--out {out.with_suffix(exporter.suffix)}",
        )
    return out.with_name(out.name + exporter.suffix)


def _folder(exporter: Exporter, exported: Exported, path: Path) -> dict[str, Any]:
    with whole_folder(path) as building:
        exporter.write(exported, building)
        proof = _proved(exporter, exported, building, building)
        write_json(building / PARITY, {path.name: proof})
    return proof


def _file(exporter: Exporter, exported: Exported, path: Path) -> dict[str, Any]:
    check_free(path)
    _told(path.parent)
    private_folder(path.parent)
    with storage_errors(path):
        building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        with storage_errors(path):
            exporter.write(exported, building / path.name)
            proof = _proved(exporter, exported, building, building / path.name)
            _put(building, path, proof)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return proof


def _proved(exporter: Exporter, exported: Exported, building: Path, made: Path) -> dict[str, Any]:
    """The proof of what was made, with the digests of the very files it was run on. They are the owner's alone."""
    files = sorted(path for path in building.rglob("*") if path.is_file())
    for file in files:
        file.chmod(0o600)
    about = {
        "format": exporter.name,
        "model": exported.manifest["digest"],
        "files": {str(file.relative_to(building)): digest_file(file) for file in files},
    }
    return {**about, **prove(exporter, made, exported)}


def _put(building: Path, path: Path, proof: dict[str, Any]) -> None:
    """Move what was made next to the folder it was made in: the proof first, the file itself last."""
    with _turn(path.parent):
        check_free(path)
        before = _told(path.parent)
        write_json(path.parent / PARITY, {**before, path.name: proof})
        moved: list[Path] = []
        try:
            for file in sorted(building.iterdir(), key=lambda file: file.name == path.name):
                if _move(file, path.parent / file.name):
                    moved.append(path.parent / file.name)
            sync(path.parent)
        except BaseException:
            for file in moved:
                file.unlink(missing_ok=True)
            if before:
                write_json(path.parent / PARITY, before)
            else:
                (path.parent / PARITY).unlink(missing_ok=True)
            raise


def _move(file: Path, target: Path) -> bool:
    """Move a file to where none is; False where the very same is already.

    Raises:
        Refused: another one is.
    """
    if target.exists() and digest_file(target) == digest_file(file):
        return False
    sync(file)
    try:
        os.link(file, target)  # unlike a renaming, it never takes the place of a file
    except FileExistsError as error:
        raise taken(target) from error
    except OSError:  # a file system without links
        check_free(target)
        os.rename(file, target)
    return True


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold a folder against other exports into it. The system lets go of it if the process dies."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _told(folder: Path) -> dict[str, Any]:
    """The proofs of the exports in a folder so far.

    Raises:
        Refused: there is something else of that name.
    """
    path = folder / PARITY
    if not path.exists():
        return {}
    hint = "choose another folder: the proof of an export is written beside it"
    try:
        told = read_json(path, "record of exports")
    except BowerbirdError as error:
        raise Refused(
            "there is a file here that is not a record of exports", where=path, hint=hint
        ) from error
    if not isinstance(told, dict) or not all(
        isinstance(proof, dict) and "max_abs_difference" in proof for proof in told.values()
    ):
        raise Refused("there is a file here that is not a record of exports", where=path, hint=hint)
    return told
