"""Zip archives that strangers made: no member may leave the archive's folder, or be much larger than it is packed."""

from __future__ import annotations

import stat
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound, Refused

_MOST_EXPANSION = 100
_FREE = 1 << 20
"""Bytes that any member may have, however small it is packed."""
_MOST_MEMBERS = 100_000


@contextmanager
def opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, once all that it says of its members is harmless.

    Raises:
        NotFound: there is no such file.
        Refused: a member's name leads out of the folder, or it is a link, or a zip bomb.
        CorruptFile: it is no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            check(archive.infolist(), path)
            yield archive
    except BowerbirdError:
        raise
    except FileNotFoundError as error:
        raise NotFound("this file is not there", where=path) from error
    except Exception as error:  # zipfile raises whatever its parts do: struct.error, zlib.error, KeyError ...
        raise CorruptFile(f"this archive cannot be read: {error}", where=path) from error


def check(members: list[zipfile.ZipInfo], path: Path) -> None:
    """Raises Refused for a member that is not what an archive of numbers needs."""
    if len(members) > _MOST_MEMBERS:
        raise Refused(f"this archive has {len(members):,} members: it is a zip bomb", where=path)
    for member in members:
        name = member.filename
        places = PurePosixPath(name), PureWindowsPath(name)
        if any(place.is_absolute() or place.drive or ".." in place.parts for place in places):
            raise Refused(f"this archive tries to write outside its folder: {name!r}", where=path)
        if stat.S_ISLNK(member.external_attr >> 16):
            raise Refused(f"this archive holds a link: {name!r}", where=path)
        if member.file_size > _FREE + _MOST_EXPANSION * member.compress_size:
            raise Refused(
                f"this archive is a zip bomb: {name!r} would be {member.file_size:,} bytes of {member.compress_size:,}",
                where=path,
            )


def content(archive: zipfile.ZipFile, name: str, most: int | None = None) -> bytes:
    """A member's content.

    Raises:
        CorruptFile: there is none of this name, or it has more than `most` bytes.
    """
    try:
        member = archive.getinfo(name)
    except KeyError as error:
        raise CorruptFile(f"this archive has no {name}", where=archive.filename) from error
    if most is not None and member.file_size > most:
        raise CorruptFile(f"{name} has {member.file_size:,} bytes, which is too much", where=archive.filename)
    return archive.read(member)
