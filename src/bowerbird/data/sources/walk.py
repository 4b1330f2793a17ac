"""From a path, a folder or a glob to files, in a fixed order; links are followed, loops are not."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Callable, Iterator

from bowerbird.base.errors import NotFound
from bowerbird.data.item import Rejected
from bowerbird.data.sources.source import Opened, on_disk

Seen = dict[tuple[int, int], str]
"""Folders visited: (device, inode) -> the path by which they were."""


def expand(source: str) -> list[str]:
    """The paths that a source names: itself, or what its glob finds, sorted.

    Raises:
        NotFound: there is nothing of this name.
    """
    path = os.path.expanduser(source)
    if os.path.lexists(path):
        return [path]
    if glob.has_magic(path):
        found = sorted(glob.glob(path, recursive=True))
        if found:
            return found
        raise NotFound("no file matches this pattern", where=source)
    raise NotFound("there is no file or folder of this name", where=source)


def walk(path: str, seen: Seen, note: Callable[[str], None]) -> Iterator[Opened | Rejected]:
    """The files at a path, or in a folder and its folders by name. Hidden entries are passed over."""
    waiting = [path]
    while waiting:
        here = waiting.pop()
        try:
            status = os.stat(here)
            if stat.S_ISDIR(status.st_mode):
                key = (status.st_dev, status.st_ino)
                if key in seen:
                    yield Rejected(here, f"a folder that is read already, as {seen[key]}")
                    continue
                seen[key] = here
                names = sorted((name for name in os.listdir(here) if not name.startswith(".")), reverse=True)
                waiting += [os.path.join(here, name) for name in names]
            elif stat.S_ISREG(status.st_mode):
                yield Opened(here, os.path.basename(here), on_disk(here), note=note)
            else:
                # Opening a pipe would wait for its other end for ever.
                yield Rejected(here, "neither a file nor a folder (a pipe, a socket or a device)")
        except OSError as error:
            yield Rejected(here, _problem(here, error))


def _problem(path: str, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    if os.path.islink(path) and isinstance(error, FileNotFoundError):
        return "a link to a file that is not there"
    return f"cannot be opened: {error.strerror}"
