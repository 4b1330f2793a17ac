"""The spool: cleaned texts in one temporary file, read back by document in any order, never held in memory."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

PIECE_BYTES = 8 << 20


class Spool:
    """Appends documents in pieces; closing it deletes the file."""

    def __init__(self, path: Path):
        self.path = path
        self.bytes = array("q")
        """UTF-8 bytes of each document, with the markers of its turns."""
        self.characters = array("q")
        self._offsets = array("q")
        self._file = path.open("w+b")
        self._end = 0
        self.open_bytes = 0
        """Bytes of the document being written."""
        self._open_characters = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._offsets)

    def append(self, text: str) -> bytes:
        """Add a piece to the document being written; returns its bytes."""
        content = text.encode("utf-8", "surrogatepass")
        self._file.write(content)
        self.open_bytes += len(content)
        self._open_characters += len(text)
        return content

    def finish_document(self) -> int:
        """End the document being written; returns its number, from 0."""
        self._offsets.append(self._end)
        self.bytes.append(self.open_bytes)
        self.characters.append(self._open_characters)
        self._end += self.open_bytes
        self.open_bytes = self._open_characters = 0
        return len(self._offsets) - 1

    def abandon_document(self) -> None:
        """Take back the pieces of the document being written."""
        if self.open_bytes:
            self._file.seek(self._end)
            self._file.truncate()
        self.open_bytes = self._open_characters = 0

    def flush(self) -> None:
        """To be called between the last writing and the first reading."""
        self._file.flush()

    def pieces(self, document: int) -> Iterator[str]:
        """A document's text in order, in pieces of at most `PIECE_BYTES`; none when it is empty."""
        at = self._offsets[document]
        end = at + self.bytes[document]
        while at < end:
            self._file.seek(at)
            content = self._file.read(min(PIECE_BYTES, end - at))
            at += len(content)
            if at < end:
                torn = len(content) - _whole_characters(content)
                content = content[: len(content) - torn]
                at -= torn
            yield content.decode("utf-8", "surrogatepass")

    def part(self, document: int, start: int, stop: int) -> Iterator[str]:
        """The characters from `start` to before `stop` of a document, in pieces."""
        at = 0
        for piece in self.pieces(document):
            inside = piece[max(0, start - at) : max(0, stop - at)]
            if inside:
                yield inside
            at += len(piece)

    def close(self) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


def _whole_characters(content: bytes) -> int:
    """How many bytes come before the last character, if that has more bytes than one; else all."""
    cut = len(content)
    while content[cut - 1] & 0xC0 == 0x80:  # a later byte of a character
        cut -= 1
    return cut - 1 if content[cut - 1] >= 0xC0 else len(content)
