"""A limit on what an archive may unpack to, kept while it is read: against decompression bombs."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from bowerbird.data.sources.source import Unusable

RATIO = 200
"""Unpacking to more than this many times the packed size is a bomb; text packs 3 to 10 times ..."""

RATIO_FROM_BYTES = 64 << 20
"""... but a small file of one repeated letter is harmless, so the ratio counts from here."""

_READ_BYTES = 64 << 20


class Budget:
    """What one archive on disk, with the archives inside it, has unpacked to so far."""

    def __init__(self, most_bytes: int, packed_bytes: int):
        self.most_bytes = most_bytes
        self.packed_bytes = max(1, packed_bytes)
        self.unpacked_bytes = 0
        self.broken: str | None = None

    def spend(self, count: int) -> None:
        self.reach(self.unpacked_bytes + count)

    def reach(self, total: int) -> None:
        """Raises:
        Unusable: `total` bytes are more than may be unpacked.
        """
        problem = self.excess(total, self.packed_bytes)
        if problem:
            self.broken = problem
            raise Unusable(problem)
        self.unpacked_bytes = max(self.unpacked_bytes, total)

    def excess(self, unpacked: int, packed: int) -> str | None:
        """Why a size, declared or counted, is too much; None when it is not."""
        if unpacked > self.most_bytes:
            return f"it unpacks to more than gather.max_archive_bytes ({self.most_bytes} bytes)"
        if unpacked > RATIO_FROM_BYTES and unpacked > RATIO * max(1, packed):
            return f"a decompression bomb: it unpacks to more than {RATIO} times its size"
        return None


class Counted(io.RawIOBase):
    """A stream that spends a budget as it is read; a seek forward is paid before it is made.

    With `by_position` the budget is the furthest place reached, so that going back costs nothing.
    """

    def __init__(self, stream: BinaryIO, budget: Budget, *, by_position: bool = False):
        super().__init__()
        self.stream = stream
        self.budget = budget
        self.by_position = by_position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self.by_position

    def readinto(self, buffer: Any) -> int:
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            return self.readall()
        if size > _READ_BYTES:  # a header that claims gigabytes would be read in one go
            raise Unusable("damaged: a header in it is too large")
        content = self.stream.read(size)
        if self.by_position:
            self.budget.reach(self.stream.tell())
        else:
            self.budget.spend(len(content))
        return content

    def tell(self) -> int:
        return self.stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_SET:
            self.budget.reach(max(offset, self.budget.unpacked_bytes))
        return self.stream.seek(offset, whence)

    def close(self) -> None:
        self.stream.close()
        super().close()
