"""A waiting line in which owners take turns, so that who asks for much waits behind nobody but himself."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

Item = TypeVar("Item")

_SHARE = 3
"""One owner may hold so many times the places that are left: alone three quarters of all, two 3/7 each."""


class WaitingLine(Generic[Item]):
    """First come, first served among an owner's own; among owners each in turn."""

    def __init__(self) -> None:
        self._of: dict[str, deque[Item]] = {}
        """In the order of their turns; owners that have nothing in line are not in it."""
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def has_room(self, owner: str, count: int, free: int, places: int) -> bool:
        """Whether so many more may join.

        Args:
            owner: of these; with a name it may not fill the line, so that there is always room for others.
            count: how many.
            free: slots that are free, for which those at the front need not wait.
            places: in the line, beside the free slots.
        """
        if self._size + count <= free:
            return True
        left = free + places - self._size - count
        return left >= 0 and (not owner or len(self._of.get(owner, ())) + count <= _SHARE * left)

    def join(self, owner: str, items: Iterable[Item]) -> None:
        own = self._of.setdefault(owner, deque())
        before = len(own)
        own.extend(items)
        self._size += len(own) - before

    def take(self, most: int) -> list[tuple[str, Item]]:
        """So many from the front, with their owners; they leave the line."""
        taken: list[tuple[str, Item]] = []
        while self._of and len(taken) < most:
            owner = next(iter(self._of))
            own = self._of.pop(owner)
            taken.append((owner, own.popleft()))
            if own:
                self._of[owner] = own
        self._size -= len(taken)
        return taken

    def put_back(self, taken: Iterable[tuple[str, Item]]) -> None:
        """Back to the front of their owners' own, in their order."""
        for owner, item in reversed(list(taken)):
            self._of.setdefault(owner, deque()).appendleft(item)
            self._size += 1

    def leave(self, owner: str, is_gone: Callable[[Item], bool]) -> None:
        """Some of an owner's leave without having been served."""
        own = self._of.get(owner)
        if own is None:
            return
        kept = deque(item for item in own if not is_gone(item))
        self._size -= len(own) - len(kept)
        if kept:
            self._of[owner] = kept
        else:
            del self._of[owner]
