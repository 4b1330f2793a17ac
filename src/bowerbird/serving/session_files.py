"""Sessions as files: a state and its points in one safetensors file each, and claims that hold across processes.

The file's header holds what `About` says as JSON, so that sessions are listed without their states being
read. A file is written whole or not at all, for its owner alone, and its arrays are checked when it is read:
a damaged one is refused, because the compiled loops use some of its numbers as places.
"""

from __future__ import annotations

import hashlib
import os
import sys
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bowerbird.base.errors import CorruptFile, storage_errors
from bowerbird.base.files import check_format, private, private_folder, write_whole
from bowerbird.sampling.state import StreamState
from bowerbird.serving.session_record import About, Key, Session

FORMAT = 1
_SUFFIX = ".safetensors"
_CURRENT, _POINT = "state", "points"
"""The arrays of a state are called `state/...`, those of a point `points/NAME/...`."""

Signature = tuple[int, int, int]
"""Of a file's content: replaced files differ in it."""


class SessionFiles:
    """The sessions in a folder, which several processes may share.

    Nothing is written, not even the folder, before the first session is. A process makes one of these for a
    folder: closing a second one would let go of the first one's claims.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._lock: int | None = None
        self._unlock: weakref.finalize[..., SessionFiles] | None = None

    def close(self) -> None:
        """Let go of what is claimed; so does the end of this object."""
        self._lock = None
        if self._unlock is not None:
            self._unlock()

    def claim(self, key: Key) -> bool:
        """Whether no other process holds this session; then this one does until `release`, or its death.

        Each session is a byte of one lock file, so that no file a session is left behind. On Windows nothing
        is locked: run one server a folder there.

        Raises:
            StorageError: the folder cannot be made or written to.
        """
        if self._lock is None:
            private_folder(self.folder)
            with storage_errors(self.folder):
                self._lock = private(str(self.folder / ".lock"), os.O_WRONLY | os.O_CREAT)
            self._unlock = weakref.finalize(self, os.close, self._lock)
        if sys.platform == "win32":
            return True
        import fcntl

        try:
            fcntl.lockf(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _place(key))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def release(self, key: Key) -> None:
        if sys.platform == "win32" or self._lock is None:
            return
        import fcntl

        fcntl.lockf(self._lock, fcntl.LOCK_UN, 1, _place(key))

    def signature(self, key: Key) -> Signature | None:
        """None: there is no such session."""
        try:
            return _signature(self._path(key))
        except FileNotFoundError:
            return None

    def about(self, key: Key) -> About | None:
        """Its header alone. Raises CorruptFile as `read`."""
        path = self._path(key)
        try:
            return _own(_read_about(path), key, path)
        except FileNotFoundError:
            return None

    def read(self, key: Key) -> Session:
        """Raises CorruptFile: the file is damaged, of another session, or of a newer version."""
        from safetensors import SafetensorError, safe_open

        path = self._path(key)
        try:
            with safe_open(path, framework="numpy") as file:
                header = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            about = _own(_about(header, path), key, path)
            if header.get("sha256") != _digest(arrays):
                raise ValueError("its numbers are not those that were written")
            points = {name: _state(arrays, f"{_POINT}/{name}/") for name in about.points}
            return Session(about, _state(arrays, f"{_CURRENT}/"), points)
        except (SafetensorError, ValueError, KeyError, TypeError, OSError) as error:
            raise _damaged(str(error), path) from error

    def write(self, session: Session) -> None:
        """Raises StorageError: the disk says no; what was there before is unharmed."""
        from safetensors.numpy import save

        arrays = _named(session.state, f"{_CURRENT}/")
        for name, state in session.points.items():
            arrays |= _named(state, f"{_POINT}/{name}/")
        header = {
            "format": str(FORMAT),
            "sha256": _digest(arrays),
            "session": session.about.model_dump_json(),
        }
        write_whole(self._path(session.about.key), save(arrays, header))

    def remove(self, key: Key) -> None:
        path = self._path(key)
        with storage_errors(path):
            path.unlink(missing_ok=True)

    def listed(self, known: Mapping[Path, tuple[Signature, About]]) -> dict[Path, tuple[Signature, About]]:
        """Every session by its file; headers are read of those only that are not `known` as they are.

        Files that are no sessions, or damaged, are left out.
        """
        found: dict[Path, tuple[Signature, About]] = {}
        for path in self.folder.glob(f"[!.]*{_SUFFIX}"):
            try:
                signature = _signature(path)
                before = known.get(path)
                if before is not None and before[0] == signature:
                    found[path] = before
                    continue
                about = _read_about(path)
            except (OSError, CorruptFile):
                continue
            if self._path(about.key) == path:
                found[path] = signature, about
        return found

    def _path(self, key: Key) -> Path:
        return self.folder / f"{_hash(key)[:40]}{_SUFFIX}"


def _signature(path: Path) -> Signature:
    status = path.lstat()
    return status.st_mtime_ns, status.st_ino, status.st_size


def _hash(key: Key) -> str:
    return hashlib.sha256("\0".join(key).encode()).hexdigest()


def _place(key: Key) -> int:
    """A byte of the lock file, below 2^60."""
    return int(_hash(key)[:15], 16)


def _read_about(path: Path) -> About:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return _about(file.metadata() or {}, path)
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError) as error:
        raise _damaged(str(error), path) from error


def _about(header: Mapping[str, str], path: Path) -> About:
    number = header.get("format", "")
    check_format(int(number) if number.isdecimal() else None, FORMAT, "session", path)
    try:
        return About.model_validate_json(header.get("session", ""))
    except ValidationError as error:
        raise _damaged("its header says nothing", path) from error


def _own(about: About, key: Key, path: Path) -> About:
    """Raises CorruptFile: under this name lies the file of another session, which may be another owner's."""
    if about.key != key:
        raise _damaged("it is the file of another", path)
    return about


def _damaged(how: str, path: Path) -> CorruptFile:
    return CorruptFile(f"this session is damaged: {how}", where=path, hint="delete it, and begin it again")


def _named(state: StreamState, prefix: str) -> dict[str, NDArray[Any]]:
    return {prefix + name: np.ascontiguousarray(array) for name, array in state.to_arrays().items()}


def _state(arrays: Mapping[str, NDArray[Any]], prefix: str) -> StreamState:
    own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return StreamState.from_arrays(own)


def _digest(arrays: Mapping[str, NDArray[Any]]) -> str:
    """Of names, types, shapes and numbers."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
