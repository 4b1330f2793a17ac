"""What a source is: a file opened for reading, the reader for its kind, and the settings of gathering."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, BinaryIO, Literal, cast

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.data.item import Item, Rejected
from bowerbird.data.tune import VOICES


class GatherConfig(Config):
    """How source files are read."""

    column: str | None = None
    """The column of a table, or the key of a JSON row, that holds the text or the picture; found when absent."""
    each_line: bool = False
    """Every non-empty line of a text file is a document of its own: for lists of names or one-line poems."""
    encoding: str | None = None
    """The encoding of files that are not UTF-8, for when guessing it goes wrong."""
    max_archive_bytes: int = Field(default=8 << 30, gt=0)
    """The most that one archive may unpack to, in bytes."""
    voices: Literal["auto"] | Annotated[int, Field(ge=1, le=VOICES)] = "auto"
    """How many voices of a piece to keep, from 1, its melody; `auto`: a piece for 2 to 4 voices whole."""


class Unusable(Exception):
    """Raised by a reader: this file cannot be used, for the reason given in words for the ledger."""


def on_disk(path: str | Path) -> Callable[[], BinaryIO]:
    """Opens a file from its start each time it is called."""
    return cast(Callable[[], BinaryIO], partial(open, path, "rb"))


def keep_silent(_what: object) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Opened:
    """A file on disk or a member of an archive, which look alike to every reader."""

    origin: str
    """As in `Item.origin`."""
    name: str
    """The file's own name; its suffix chooses the reader."""
    open: Callable[[], BinaryIO]
    """A fresh stream from the first byte, each time it is called; on disk it can seek."""
    depth: int = 0
    """How many archives stand around it."""
    note: Callable[[str], None] = keep_silent
    """Tells the user something worth knowing that is no error, such as the column chosen."""
    spend: Callable[[int], None] = keep_silent
    """Of a member: charges bytes that it unpacks to, in its turn, to the archive around it."""

    def tell(self, what: str) -> None:
        """Notes something about this file."""
        self.note(f"{self.origin}: {what}")

    @property
    def suffix(self) -> str:
        """`.txt`, `.tar.gz`, in lower case; empty when there is none. `x-idx3-ubyte.gz` has `.idx3-ubyte`."""
        name = PurePosixPath(self.name.replace("\\", "/"))
        suffixes = [suffix.lower() for suffix in name.suffixes]
        if suffixes[-2:] == [".tar", ".gz"]:
            return ".tar.gz"
        if idx := re.search(r"[-.](idx\d-ubyte)(\.gz|\.xz)?$", name.name.lower()):
            return f".{idx[1]}"
        return suffixes[-1] if suffixes else ""


Reader = Callable[[Opened, GatherConfig], Iterator[Item | Rejected | Opened]]
"""Yields items and rejections; what it yields `Opened` (the members of an archive) is read in turn.

It raises `Unusable` for what it understands; any other exception becomes "could not be read as <noun>".
If it fails after some pieces of a document, the rejection of that origin takes those pieces back.
"""


@dataclass(frozen=True, slots=True)
class Source:
    """One way to read: what it is called in messages, the suffixes it reads, and its reader."""

    noun: str
    suffixes: tuple[str, ...]
    read: Reader
    kind: str | None = "text"
    """The kind of model it is for; None for every kind, as an archive is."""
