"""A limit on what an archive may unpack to, kept while it is read: against decompression bombs."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import BinaryIO

from bowerbird.data.sources.source import Unusable

RATIO = 200
"""Unpacking to more than this many times the packed size is a bomb; text packs 3 to 10 times ..."""

RATIO_FROM_BYTES = 64 << 20
"""... but a small file of one repeated letter is harmless, so the ratio counts from here."""

_READ_BYTES = 64 << 20


class Budget:
    """What one archive has unpacked to so far, with the archives inside it."""

    def __init__(self, most_bytes: int, packed_bytes: int, spend_around: Callable[[int], None]):
        self.most_bytes = most_bytes
        self.packed_bytes = max(1, packed_bytes)
        self.unpacked_bytes = 0
        self.broken: str | None = None
        self._spend_around = spend_around

    def spend(self, count: int) -> None:
        self.reach(self.unpacked_bytes + count)

    def reach(self, total: int) -> None:
        """Raises:
        Unusable: `total` bytes are more than may be unpacked.
        """
        if total <= self.unpacked_bytes:
            return
        if total > self.most_bytes:
            self.broken = f"it unpacks to more than gather.max_archive_bytes ({self.most_bytes} bytes)"
        elif is_bomb(total, self.packed_bytes):
            self.broken = f"a decompression bomb: it unpacks to more than {RATIO} times its size"
        if self.broken:
            raise Unusable(self.broken)
        self._spend_around(total - self.unpacked_bytes)
        self.unpacked_bytes = total


def is_bomb(unpacked: int, packed: int) -> bool:
    return unpacked > RATIO_FROM_BYTES and unpacked > RATIO * max(1, packed)


class Counted(io.RawIOBase):
    """An unpacked stream whose furthest place is charged to a budget; a seek is charged before it is made."""

    def __init__(self, stream: BinaryIO, budget: Budget):
        super().__init__()
        self._stream = stream
        self._budget = budget
        self._paid = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _READ_BYTES:  # a header that claims gigabytes would be read in one go
            raise Unusable("damaged: a header in it is too large")
        content = self._stream.read(size)
        self._pay(self._stream.tell())
        return content

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence == io.SEEK_SET  # all that tarfile does
        self._pay(offset)
        return self._stream.seek(offset)

    def _pay(self, place: int) -> None:
        if place > self._paid:
            self._budget.spend(place - self._paid)
            self._paid = place
