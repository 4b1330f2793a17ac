"""Gathering: everything that the sources hold, item by item, with a reason for what cannot be used."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from bowerbird.base.errors import BowerbirdError, UsageError
from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import SOURCES, demo, kind_of, source_for
from bowerbird.data.sources.source import GatherConfig, Opened, Unusable
from bowerbird.data.sources.walk import Seen, expand, walk


def gather(
    sources: Sequence[str],
    config: GatherConfig,
    note: Callable[[str], None] | None = None,
    kind: str = "text",
) -> Iterator[Item | Rejected]:
    """The items of files, folders, globs, archives and demo sources, in the order given, folders by name.

    Only what is for the `kind` of model is read; other files are unsupported.

    `note` is told what is worth knowing and no error: a column chosen, an encoding guessed.
    One bad file never stops the rest: it is yielded as `Rejected`.

    Raises:
        UsageError: no sources are given, or there is no such demo source for this kind.
        NotFound: a path is not there; raised here, before any work.
        MissingExtra: a kind of file needs a package that is not installed.
    """
    if not sources:
        raise UsageError("no sources are given", hint="name files, folders, archives, or demo:chat")
    tell = note or (lambda text: None)
    found: list[tuple[str, bool]] = []
    for source in dict.fromkeys(sources):
        if source.startswith(demo.PREFIX):
            meant = SOURCES[source].kind  # raises UnknownName with the nearest
            if meant not in (kind, None):
                raise UsageError(f"{source} is for {meant}, not for {kind}", hint=f"--kind {meant}")
            demo.place(source)
            found.append((source, True))
        else:
            found += [(path, False) for path in expand(source)]
    return _items(found, config, tell, kind)


def _items(
    found: Sequence[tuple[str, bool]], config: GatherConfig, note: Callable[[str], None], kind: str
) -> Iterator[Item | Rejected]:
    seen: Seen = {}
    for name, is_demo in found:
        if is_demo:
            yield from _read(Opened(name, name, _nothing, note=note), config, kind, demo_name=name)
            continue
        for file in walk(name, seen, note):
            if isinstance(file, Rejected):
                yield file
            else:
                yield from _read(file, config, kind)


def _read(
    opened: Opened, config: GatherConfig, kind: str, demo_name: str | None = None
) -> Iterator[Item | Rejected]:
    source = SOURCES[demo_name] if demo_name else source_for(opened.suffix, kind)
    if source is None:
        meant = kind_of(opened.suffix)
        hint = f" ({meant}: --kind {meant})" if meant and meant != kind else ""
        yield Rejected(opened.origin, f"unsupported file type {opened.suffix}{hint}")
        return
    try:
        for found in source.read(opened, config):
            if isinstance(found, Opened):
                yield from _read(found, config, kind)
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
