"""The tree of errors that are the user's to mend. Each says what failed, where, and what to do.

BowerbirdError          exit 3   HTTP 400
├── UsageError          exit 2   HTTP 400   an option, a setting or a name is wrong
│   ├── UnknownName     exit 2   HTTP 400   no such part on a shelf; names the nearest
│   ├── MissingExtra    exit 2   HTTP 501   an optional dependency is not installed
│   └── BudgetTooShort  exit 2   HTTP 400   the time given was over before the first step
├── DataError           exit 3   HTTP 422   what was given to read cannot be used
│   └── CorruptFile     exit 3   HTTP 422   a file of ours is damaged, missing or too new
├── StorageError        exit 3   HTTP 507   the disk or its permissions stopped us; nothing half-written
├── NotFound            exit 4   HTTP 404   no such file, run, bundle, name or version
├── Refused             exit 5   HTTP 403   a signature, gate, key or lock said no
├── Diverged            exit 3   HTTP 422   training produced numbers that are not finite
└── Interrupted         exit 130 HTTP 503   the user stopped it; the state is saved

Any other exception is a fault of ours and is shown with its traceback (exit 1, HTTP 500).
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from os import PathLike
from typing import Any, ClassVar


class BowerbirdError(Exception):
    """What failed (`what`), where (`where`), and what to do about it (`hint`)."""

    exit_code: ClassVar[int] = 3
    http_status: ClassVar[int] = 400

    def __init__(self, what: str, *, where: str | PathLike[str] | None = None, hint: str | None = None):
        super().__init__(what)
        self.what = what
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        lines = [self.what]
        if self.where:
            lines.append(f"  where: {self.where}")
        if self.hint:
            lines.append(f"  hint: {self.hint}")
        return "\n".join(lines)


class UsageError(BowerbirdError):
    exit_code = 2


class UnknownName(UsageError):
    """A name that a shelf or a config does not have."""

    def __init__(self, noun: str, name: str, known: Iterable[str], *, where: str | None = None):
        known = sorted(known)
        self.name = name
        near = nearest(name, known)
        hint = f"did you mean `{near}`? " if near else ""
        super().__init__(
            f"there is no {noun} called `{name}`", where=where, hint=f"{hint}choose from: {', '.join(known)}"
        )


class MissingExtra(UsageError):
    """A feature whose optional dependency is not installed."""

    http_status = 501

    def __init__(self, feature: str, extra: str, *, instead: str | None = None):
        other = f", or {instead}" if instead else ""
        super().__init__(
            f"{feature} needs packages that are not installed",
            hint=f"pip install 'bowerbird[{extra}]'{other}",
        )


class BudgetTooShort(UsageError):
    """The time given to a new run was over before its first step."""


class DataError(BowerbirdError):
    http_status = 422


class CorruptFile(DataError):
    pass


class StorageError(BowerbirdError):
    http_status = 507


class NotFound(BowerbirdError):
    exit_code = 4
    http_status = 404


class Refused(BowerbirdError):
    exit_code = 5
    http_status = 403


class Diverged(BowerbirdError):
    http_status = 422


class Interrupted(BowerbirdError):
    exit_code = 130
    http_status = 503
    outcome: dict[str, Any] | None = None
    """What had been reached, as JSON values."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to a misspelt one, if any is close."""
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return found[0] if found else None


_STORAGE = {
    errno.ENOSPC: ("the disk is full", "free some space and run the same command again"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run the same command again"),
    errno.EFBIG: (
        "the file would be larger than allowed here",
        "raise the file size limit or use another disk",
    ),
    errno.EROFS: ("the file system is read-only", "choose another folder"),
    errno.EACCES: ("no permission to write", "choose a folder you may write to"),
    errno.EPERM: ("no permission to write", "choose a folder you may write to"),
    errno.ENOTDIR: ("part of the path is a file, not a folder", "choose another folder"),
    errno.EEXIST: ("part of the path is a file, not a folder", "choose another folder"),
    errno.ENAMETOOLONG: ("the name is too long", "choose a shorter one"),
}


@contextmanager
def storage_errors(where: str | PathLike[str]) -> Iterator[None]:
    """Turn what a disk can say no with into a `StorageError` naming the place."""
    try:
        yield
    except OSError as error:
        if error.errno not in _STORAGE:
            raise
        what, hint = _STORAGE[error.errno]
        raise StorageError(f"could not write: {what}", where=error.filename or where, hint=hint) from error
