"""Plain text: a file is one document, in pieces when it is long; or every line of it is one."""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterator
from typing import BinaryIO

from bowerbird.data.item import Item
from bowerbird.data.sources.encoding import decoded, encoding_of, lines
from bowerbird.data.sources.source import GatherConfig, Opened, Source

PIECE_BYTES = 8 << 20
"""About how much of a long document is held at once."""

TAIL_CHARACTERS = 256 << 10
"""The last piece is at least this long, so that what must be known of an end (a licence) is in it whole."""

_NEAR = 4096


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    if config.each_line:
        with decoded(opened, encoding_of(opened, config)) as text:
            for number, line in enumerate(lines(text), 1):
                if line.strip():
                    yield Item(line, f"{opened.origin}#{number}")
        return
    encoding = encoding_of(opened, config)
    with opened.open() as stream:
        for number, (content, last) in enumerate(pieces(stream, encoding)):
            yield Item(content, opened.origin, piece=number, last=last)


def pieces(stream: BinaryIO, encoding: str) -> Iterator[tuple[str, bool]]:
    """The text of a stream in consecutive pieces, each with whether it is the last. At least one.

    Raises:
        UnicodeDecodeError: the text is not in this encoding; pieces before the fault were yielded.
    """
    decoder = codecs.getincrementaldecoder(encoding)()
    held = ""
    while block := stream.read(PIECE_BYTES):
        held += decoder.decode(block)
        cut = cut_point(held, len(held) - TAIL_CHARACTERS)
        if cut:
            yield held[:cut], False
            held = held[cut:]
    yield held + decoder.decode(b"", final=True), True


def cut_point(text: str, end: int) -> int:
    """Where to cut a text before `end`: after a line end, else where no character is torn from its accent.

    0 when `end` is not inside the text: nothing to cut yet.
    """
    if not 0 < end < len(text):
        return 0
    newline = text.rfind("\n", 0, end)
    if newline >= 0:
        return newline + 1
    carriage_return = text.rfind("\r", 0, end)
    if carriage_return >= 0 and text[carriage_return + 1] != "\n":
        return carriage_return + 1
    near = max(1, end - _NEAR)
    space = text.rfind(" ", near, end)
    if space > 0:
        return space
    # Where the text before `end` is short, more of it is awaited rather than cut badly.
    return next((at for at in range(end, near - 1, -1) if _stands_alone(text[at])), 0 if near == 1 else end)


def _stands_alone(character: str) -> bool:
    """It never combines with what stands before it (the Hangul vowels and finals do; \\n may end \\r\\n)."""
    if character == "\n" or "\u1160" <= character <= "\u11ff":
        return False
    return not unicodedata.combining(character)


TEXT = Source("text", (".txt", ".md", ".markdown", ".text", ""), read)
