"""Files and folders written whole or not at all, for their owner alone, and JSON read with clear errors."""

from __future__ import annotations

import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from bowerbird.base.errors import CorruptFile, DataError, NotFound, Refused, storage_errors

MOST_JSON = 64 << 20
"""Bytes of a JSON file of ours: parsing one may take twenty times its size in memory."""
DEEPEST_JSON = 100
"""Lists and tables within each other, in a JSON file of ours."""


def sync(path: Path) -> None:
    """Ask the system to put a file or a folder's entries on the disk now."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old content or the new, never a part."""
    with _draft(path) as file:
        file.write(content)


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """A new file that appears at `path` complete when the block ends, or not at all.

    Raises:
        Refused: `path` is taken.
    """
    path = Path(os.path.abspath(path))
    check_free(path)
    with _draft(path) as file:
        yield file


@contextmanager
def _draft(path: Path) -> Iterator[BinaryIO]:
    """A file beside `path` that takes its place when the block ends well."""
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


def private(path: str, flags: int) -> int:
    """An `opener` for `open`: a file that it makes is its owner's alone."""
    return os.open(path, flags, 0o600)


@contextmanager
def whole_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """A new folder that appears at `path` complete when the block ends, or not at all.

    Raises:
        Refused: `path` exists already and `replace` is not set.
    """
    path = Path(os.path.abspath(path))
    with storage_errors(path):
        if path.exists() and not replace and not (path.is_dir() and not any(path.iterdir())):
            raise taken(path)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        building = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        try:
            yield building
            for inner in building.rglob("*"):
                inner.chmod(0o700 if inner.is_dir() else 0o600)
                if inner.is_file():
                    sync(inner)
            building.chmod(0o700)
            if path.exists():
                retired = building.with_name(building.name + ".old")
                os.rename(path, retired)
                try:
                    os.rename(building, path)
                except BaseException:
                    os.rename(retired, path)
                    raise
                shutil.rmtree(retired)
            else:
                os.rename(building, path)
            sync(path.parent)
        except BaseException:
            shutil.rmtree(building, ignore_errors=True)
            raise


def check_free(path: Path) -> None:
    """Raises Refused where there is anything at `path`, be it a link to nothing."""
    if os.path.lexists(path):
        raise taken(path)


def taken(path: Path) -> Refused:
    """What is said where something would have to be overwritten."""
    return Refused("this place is taken and is never overwritten", where=path, hint="choose another --out")


def private_folder(path: Path) -> None:
    """Make a folder, and those above it that are not there, for their owner alone."""
    with storage_errors(path):
        # Each by itself: `parents=True` gives the parents no mode.
        for folder in [*reversed(path.parents), path]:
            if not folder.exists():
                folder.mkdir(exist_ok=True, mode=0o700)


@contextmanager
def held(folder: Path, taken: str) -> Iterator[None]:
    """Hold a folder for one process. The system lets go of it if the process dies.

    Raises:
        Refused: another process holds it; `taken` says so.
    """
    lock = FileLock(folder / ".lock", blocking=False, mode=0o600)
    try:
        with storage_errors(folder):
            lock.acquire()
    except Timeout as error:
        raise Refused(taken, where=folder, hint="wait for it, or stop it first") from error
    try:
        yield
    finally:
        lock.release()


def write_json(path: Path, value: Any) -> None:
    """Raises:
    DataError: it would be larger than `read_json` reads.
    """
    content = dump_json(value)
    if len(content) > MOST_JSON:
        raise DataError(f"{path.name} would be too large: {len(content):,} bytes", where=path)
    write_whole(path, content)


def dump_json(value: Any) -> bytes:
    text = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return text.encode("utf-8", "surrogatepass")


def read_json(path: Path, noun: str = "file") -> Any:
    """Read a JSON file of ours, which lies at `path` itself.

    Raises:
        NotFound: it is not there.
        CorruptFile: it is a link or no file, too large, no JSON, or names a key twice.
    """
    try:
        status = path.lstat()
        if not stat.S_ISREG(status.st_mode):
            raise CorruptFile(f"this {noun} is a link, or no file", where=path)
        if status.st_size > MOST_JSON:
            raise CorruptFile(f"this {noun} is too large to be one: {status.st_size:,} bytes", where=path)
        value = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"), object_pairs_hook=_once)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFound(f"this {noun} is not there", where=path) from error
    except (ValueError, RecursionError) as error:
        raise CorruptFile(f"this {noun} is damaged: it is not JSON ({error})", where=path) from error
    if _deeper(value, DEEPEST_JSON):
        raise CorruptFile(f"this {noun} is damaged: it is nested too deeply", where=path)
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A table whose keys differ: of two alike, readers would not agree on which one counts."""
    table = dict(pairs)
    if len(table) < len(pairs):
        raise ValueError("a key is there twice")
    return table


def _deeper(value: Any, most: int) -> bool:
    """Whether more than `most` lists and tables lie within each other."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(most):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def check_format(found: Any, known: int, noun: str, where: Path | str) -> None:
    """Refuse a format number this version cannot read.

    Raises:
        CorruptFile: the number is missing, not a number, or newer than `known`.
    """
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise CorruptFile(f"this {noun} has no format number", where=where)
    if found > known:
        raise CorruptFile(
            f"this {noun} has format {found}; this version of bowerbird reads up to {known}",
            where=where,
            hint="install a newer bowerbird: pip install --upgrade bowerbird",
        )
