"""Archives (.zip, .tar, .tar.gz, .tgz): each member is read like a file; nothing is unpacked by its name."""

from __future__ import annotations

import gzip
import io
import shutil
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import PurePosixPath, PureWindowsPath
from typing import BinaryIO, cast

from bowerbird.data.item import Rejected
from bowerbird.data.sources.budget import Budget, Counted, is_bomb
from bowerbird.data.sources.parts import seekable
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

MOST_DEPTH = 2
"""An archive in an archive is read; an archive in that one is not."""

_COPY_IN_MEMORY_BYTES = 16 << 20


def read(opened: Opened, config: GatherConfig) -> Iterator[Opened | Rejected]:
    if opened.depth >= MOST_DEPTH:
        raise Unusable("archives are read one inside another, not deeper")
    with seekable(opened) as stream:
        packed = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        if not packed:
            raise Unusable("empty file")
        budget = Budget(config.max_archive_bytes, packed, opened.spend)
        members = _zip_members if opened.suffix == ".zip" else _tar_members
        for found in members(opened, stream, budget):
            yield found
            if budget.broken:
                raise Unusable(f"{budget.broken}; what comes after this was not read")


def _zip_members(opened: Opened, stream: BinaryIO, budget: Budget) -> Iterator[Opened | Rejected]:
    with zipfile.ZipFile(stream) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
        # zipfile never unpacks a member to more than it declares.
        budget.spend(sum(member.file_size for member in members))
        for member in sorted(members, key=lambda member: member.filename):
            kind = stat.S_IFMT(member.external_attr >> 16)
            problem = _problem(member.filename, special=kind not in (0, stat.S_IFREG))
            if member.flag_bits & 1:
                problem = "locked with a password"
            if is_bomb(member.file_size, member.compress_size):
                problem = "a decompression bomb in an archive"
            if problem or not _hidden(member.filename):
                yield _member(opened, budget, member.filename, problem, partial(archive.open, member))


def _tar_members(opened: Opened, stream: BinaryIO, budget: Budget) -> Iterator[Opened | Rejected]:
    packed = opened.suffix != ".tar"
    unpacked = cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb")) if packed else stream
    counted = cast(BinaryIO, Counted(unpacked, budget))
    # ignore_zeros stays off: members behind the end mark are not part of the archive.
    with tarfile.TarFile(fileobj=counted, mode="r") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # a list of every member would grow without end
            if member.isdir():
                continue
            problem = _problem(member.name, special=not member.isreg())
            if problem:
                yield _member(opened, budget, member.name, problem, io.BytesIO)
            elif not _hidden(member.name):
                with tempfile.SpooledTemporaryFile(max_size=_COPY_IN_MEMORY_BYTES) as copy:
                    # A copy, because going back in a packed stream means unpacking it from the start again.
                    content = archive.extractfile(member)
                    assert content is not None  # a regular file
                    shutil.copyfileobj(content, copy, 1 << 20)
                    yield _member(opened, budget, member.name, None, partial(_Rewound, cast(BinaryIO, copy)))


class _Rewound(io.BufferedIOBase):
    """A shared copy from its start; closing it leaves the copy open."""

    def __init__(self, copy: BinaryIO):
        self.copy = copy
        copy.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self.copy.seek(offset, whence)

    def tell(self) -> int:
        return self.copy.tell()

    def read(self, size: int | None = -1) -> bytes:
        return self.copy.read(-1 if size is None else size)

    def read1(self, size: int = -1) -> bytes:
        return self.copy.read(size)


def _member(
    opened: Opened, budget: Budget, name: str, problem: str | None, open_it: Callable[[], object]
) -> Opened | Rejected:
    origin = f"{opened.origin}#{name}"
    if problem:
        return Rejected(origin, problem)
    return Opened(
        origin, name, cast(Callable[[], BinaryIO], open_it), opened.depth + 1, opened.note, budget.spend
    )


def _problem(name: str, *, special: bool) -> str | None:
    """Why a member is refused for its name or its kind, before a byte of it is read."""
    # A Windows path rule too: the same archive must mean the same on every machine.
    if name.startswith(("/", "\\")) or PureWindowsPath(name).drive:
        return "an absolute path in an archive"
    if ".." in name.replace("\\", "/").split("/"):
        return "a path in an archive that leads outside it (`..`)"
    return "a link or a device in an archive" if special else None


def _hidden(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return not parts or any(part.startswith(".") for part in parts) or parts[0] == "__MACOSX"


ARCHIVE = Source("an archive", (".zip", ".tar", ".tar.gz", ".tgz"), read, kind=None)
