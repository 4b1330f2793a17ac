"""The encoding of a file of text: byte order mark, UTF-8, or a guess; and its lines in bounded memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from typing import BinaryIO

from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.data.sources.source import GatherConfig, Opened, Unusable

BLOCK_BYTES = 1 << 20
SAMPLE_BYTES = 64 << 10
LINE_CHARACTERS = 64 << 20
"""The longest line that is read as one row or one document, in characters."""

# UTF-32's mark begins with UTF-16's, so it is looked for first.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\f\x1b")) + b"\x7f"


def encoding_of(opened: Opened, config: GatherConfig) -> str:
    """The name of the codec to read a file with; the whole file is checked when it is UTF-8.

    Raises:
        Unusable: the file is empty, is not text, or its encoding cannot be told.
        MissingExtra: it is not UTF-8 and the package that guesses is not installed.
    """
    with opened.open() as stream:
        head = stream.read(SAMPLE_BYTES)
        if not head:
            raise Unusable("empty file")
        for mark, name in _MARKS:
            if head.startswith(mark):
                return name
        if looks_binary(head):
            raise Unusable("binary data, not text")
        bad = _first_not_utf8(head, stream)
    if bad is None:
        return "utf-8"
    if config.encoding:
        try:
            return codecs.lookup(config.encoding).name
        except LookupError:
            raise UsageError(
                f"there is no encoding called `{config.encoding}`", where="gather.encoding"
            ) from None
    guess = guessed_encoding(head + bad)
    opened.tell(f"not UTF-8; read as {guess} (a guess: gather.encoding says otherwise)")
    return guess


def looks_binary(head: bytes) -> bool:
    """A NUL among the first 8 KiB, or more than one control character in twenty."""
    if b"\0" in head[:8192]:
        return True
    return len(head) - len(head.translate(None, _CONTROLS)) > len(head) / 20


def _first_not_utf8(head: bytes, rest: BinaryIO) -> bytes | None:
    """None for UTF-8; otherwise what stands around the first byte that is not."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    block = head
    while True:
        try:
            decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            return block[max(0, error.start - SAMPLE_BYTES // 2) : error.start + SAMPLE_BYTES // 2]
        if not block:
            return None
        block = rest.read(BLOCK_BYTES)


def guessed_encoding(sample: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8.

    Western European text reads almost as well in its neighbours' code pages, and charset-normalizer
    then often names one of those; so cp1252, by far the commonest, wins wherever it is as good.
    """
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        raise MissingExtra(
            "reading text that is not UTF-8", "gather", instead="--set gather.encoding=cp1252"
        ) from None

    found = from_bytes(sample)
    best = found.best()
    if best is None:
        raise Unusable("binary data, or text in an encoding that cannot be told")
    western = next((match for match in found if "cp1252" in match.could_be_from_charset), None)
    if western is not None and western.chaos <= 0.1 and western.coherence >= best.coherence:
        return "cp1252"
    return best.encoding


def decoded(opened: Opened, encoding: str, newline: str | None = None) -> io.TextIOWrapper:
    """A file as a stream of text; close it after use."""
    return io.TextIOWrapper(opened.open(), encoding=encoding, newline=newline)


def lines(stream: io.TextIOWrapper) -> Iterator[str]:
    """The lines of a stream without their ends.

    Raises:
        Unusable: a line is longer than `LINE_CHARACTERS`.
    """
    while line := stream.readline(LINE_CHARACTERS):
        if len(line) == LINE_CHARACTERS and not line.endswith("\n"):
            raise Unusable(f"a line is longer than {LINE_CHARACTERS >> 20} million characters")
        yield line.rstrip("\r\n")


def text_of(content: bytes) -> str:
    """A small file or part of one, already in memory, as text: for web pages and the like."""
    for mark, name in _MARKS:
        if content.startswith(mark):
            return content.decode(name, "replace")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode(guessed_encoding(content[: 4 * SAMPLE_BYTES]), "replace")
