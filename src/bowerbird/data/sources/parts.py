"""Parts of documents that are archives inside (.epub, .docx), and streams that can seek."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from bowerbird.base.errors import MissingExtra
from bowerbird.data.sources.source import Opened, Unusable

PART_BYTES = 256 << 20
"""The most that one part of a document may unpack to."""

_IN_MEMORY_BYTES = 16 << 20


def whole(opened: Opened, most: int) -> bytes:
    """A file that must be held at once.

    Raises:
        Unusable: it is empty, or has more than so many bytes.
    """
    with opened.open() as stream:
        content = stream.read(most + 1)
    if not content:
        raise Unusable("empty file")
    if len(content) > most:
        raise Unusable(f"larger than {most >> 20} MiB")
    return content


@contextmanager
def seekable(opened: Opened) -> Iterator[BinaryIO]:
    """A stream that seeks quickly: the file itself, or a nameless temporary copy of an archive's member."""
    with opened.open() as stream:
        if opened.depth == 0:
            yield stream
            return
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
            copy.seek(0)
            yield cast(BinaryIO, copy)


def open_part(document: zipfile.ZipFile, name: str) -> BinaryIO:
    """A part of a document by its path.

    Raises:
        Unusable: it is not there, or it would unpack to more than `PART_BYTES`.
    """
    try:
        part = document.getinfo(name)
    except KeyError:
        raise Unusable(f"damaged: `{name}` is missing in it") from None
    if part.file_size > PART_BYTES:
        raise Unusable(f"`{name}` in it unpacks to more than {PART_BYTES >> 20} MiB")
    # zipfile itself stops reading at the declared size.
    return cast(BinaryIO, document.open(part))


def xml(noun: str) -> Any:
    """`lxml.etree`, or the error that says what to install."""
    try:
        from lxml import etree
    except ImportError:
        raise MissingExtra(f"reading {noun}", "gather") from None
    return etree
