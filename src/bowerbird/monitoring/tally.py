"""How many events a process was given, in a file that outlives it: so the next one can say how many were lost."""

from __future__ import annotations

import os
import secrets
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from bowerbird.base.errors import storage_errors
from bowerbird.base.files import private, private_folder

_COUNTS = struct.Struct("<QQ")
_SUFFIX = ".tally"


class Tally:
    """Two counts, each written into the system's memory as it changes: a killed process loses none of them.

    Args:
        folder: of the counts of all processes.
        key: of the store that the events are for.

    Raises:
        StorageError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, key: str):
        self.writer = secrets.token_hex(8)
        """The process's own name."""
        self.path = folder / f"{key}-{self.writer}{_SUFFIX}"
        with storage_errors(folder):
            private_folder(folder)
            self._lock = _lock_of(self.path)
            self._lock.acquire()  # before the file is there: who finds it unlocked takes its process for dead
            try:
                self._handle = private(str(self.path), os.O_RDWR | os.O_CREAT | os.O_EXCL)
                self.note(0, 0)
            except BaseException:
                self._lock.release()
                raise

    def note(self, submitted: int, given_up: int) -> None:
        """Keep how many events were taken in, and how many of these were given up and told of.

        Raises:
            OSError: the file cannot be written; the counts before stay.
        """
        counts = _COUNTS.pack(submitted, given_up)
        if sys.platform == "win32":
            os.lseek(self._handle, 0, os.SEEK_SET)
            os.write(self._handle, counts)
        else:
            os.pwrite(self._handle, counts, 0)

    def end(self) -> None:
        """All is told: nothing is left for the next process to say."""
        with suppress(OSError):
            os.close(self._handle)
            os.unlink(self.path)
        self._lock.release()
        with suppress(OSError):
            os.unlink(self._lock.lock_file)


@dataclass(frozen=True)
class Left:
    """What a process that died left behind."""

    writer: str
    submitted: int
    given_up: int


@contextmanager
def left_behind(folder: Path, key: str) -> Iterator[list[Left]]:
    """What dead processes left that wrote to the store of this key. It is gone when the block ends well."""
    found: list[Left] = []
    held: list[tuple[Path, FileLock]] = []
    try:
        for path in sorted(folder.glob(f"{key}-*{_SUFFIX}")):
            lock = _lock_of(path)
            try:
                lock.acquire()
            except (Timeout, OSError):
                continue  # it lives, or another looks after it
            held.append((path, lock))
            with suppress(OSError, struct.error):
                submitted, given_up = _COUNTS.unpack(path.read_bytes()[: _COUNTS.size])
                found.append(Left(path.stem.rpartition("-")[2], submitted, given_up))
        yield found
        for path, _ in held:
            with suppress(OSError):
                path.unlink()
    finally:
        for _, lock in held:
            lock.release()
            with suppress(OSError):
                os.unlink(lock.lock_file)


def _lock_of(path: Path) -> FileLock:
    return FileLock(f"{path}.lock", blocking=False, thread_local=False, mode=0o600)
