"""Gathering: everything that the sources hold, item by item, with a reason for what cannot be used."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from bowerbird.base.errors import BowerbirdError, UsageError
from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import SOURCES, demo, source_for
from bowerbird.data.sources.source import GatherConfig, Opened, Unusable
from bowerbird.data.sources.walk import Seen, expand, walk


def gather(
    sources: Sequence[str], config: GatherConfig, note: Callable[[str], None] | None = None
) -> Iterator[Item | Rejected]:
    """The items of files, folders, globs, archives and demo sources, in the order given, folders by name.

    `note` is told what is worth knowing and no error: a column chosen, an encoding guessed.
    One bad file never stops the rest: it is yielded as `Rejected`.

    Raises:
        UsageError: no sources are given, or there is no such demo source.
        NotFound: a path is not there; raised here, before any work.
        MissingExtra: a kind of file needs a package that is not installed.
    """
    if not sources:
        raise UsageError("no sources are given", hint="name files, folders, archives, or demo:chat")
    tell = note or (lambda text: None)
    found: list[tuple[str, bool]] = []
    for source in dict.fromkeys(sources):
        if source.startswith(demo.PREFIX):
            SOURCES[source]  # raises UnknownName with the nearest
            demo.place(source)
            found.append((source, True))
        else:
            found += [(path, False) for path in expand(source)]
    return _items(found, config, tell)


def _items(
    found: Sequence[tuple[str, bool]], config: GatherConfig, note: Callable[[str], None]
) -> Iterator[Item | Rejected]:
    seen: Seen = {}
    for name, is_demo in found:
        if is_demo:
            yield from _read(Opened(name, name, _nothing, note=note), config, demo_name=name)
            continue
        for file in walk(name, seen, note):
            if isinstance(file, Rejected):
                yield file
            else:
                yield from _read(file, config)


def _read(opened: Opened, config: GatherConfig, demo_name: str | None = None) -> Iterator[Item | Rejected]:
    source = SOURCES[demo_name] if demo_name else source_for(opened.suffix)
    if source is None:
        yield Rejected(opened.origin, f"unsupported file type {opened.suffix}")
        return
    try:
        for found in source.read(opened, config):
            if isinstance(found, Opened):
                yield from _read(found, config)
            else:
                yield found
    except Unusable as reason:
        yield Rejected(opened.origin, str(reason))
    except (BowerbirdError, MemoryError):
        raise
    except PermissionError:
        yield Rejected(opened.origin, "no permission to read this file")
    except Exception as error:
        # Readers call parsers of other people, which fail on damaged files in ways of their own.
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EMFILE):
            raise
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        yield Rejected(opened.origin, f"could not be read as {source.noun}: {detail}")


def _nothing() -> BinaryIO:
    return open(os.devnull, "rb")  # demo sources know their own place
