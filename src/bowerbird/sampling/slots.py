"""Who is in which slot of a session, and who only waits in his."""

from __future__ import annotations

import heapq
import operator
from typing import Generic, TypeVar

Stream = TypeVar("Stream")


class Slots(Generic[Stream]):
    """So many slots at most; of the free ones the lowest is taken, so that rows stay close together."""

    def __init__(self, most: int):
        self.most = most
        self._streams: dict[int, Stream] = {}
        self._paused: set[int] = set()
        self._freed: list[int] = []
        self._begun = 0
        """Slots ever taken: those from here on are free."""

    @property
    def full(self) -> bool:
        return len(self._streams) == self.most

    def take(self, stream: Stream) -> int:
        """Its slot; there is one."""
        assert not self.full, "nobody is admitted to a full session"
        if self._freed:
            slot = heapq.heappop(self._freed)
        else:
            slot, self._begun = self._begun, self._begun + 1
        self._streams[slot] = stream
        return slot

    def free(self, slot: int) -> Stream:
        """Whoever was in it."""
        heapq.heappush(self._freed, slot)
        self._paused.discard(slot)
        return self._streams.pop(slot)

    def pause(self, slot: int) -> None:
        assert slot in self._streams, "an admitted slot"
        self._paused.add(slot)

    def resume(self, slot: int) -> None:
        self._paused.discard(slot)

    def going(self) -> list[tuple[int, Stream]]:
        """Those that are not paused, by slot."""
        if not self._paused:
            return sorted(self._streams.items(), key=operator.itemgetter(0))
        return sorted(
            ((slot, stream) for slot, stream in self._streams.items() if slot not in self._paused),
            key=operator.itemgetter(0),
        )

    def __getitem__(self, slot: int) -> Stream:
        return self._streams[slot]

    def __contains__(self, slot: int) -> bool:
        return slot in self._streams
