"""A ticket: what a request's asker holds while its samples are made, from a thread or from asyncio."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass

from bowerbird.base.errors import BowerbirdError
from bowerbird.sampling.session import FinishReason


@dataclass(frozen=True, slots=True)
class Piece:
    """New content of one sample. With `finished` set it is the sample's last."""

    index: int
    text: str
    tokens: int
    """Tokens made for this piece; those held back or of a stop string count with the next."""
    finished: FinishReason | None


class Ticket:
    """A mailbox that its asker empties. What is not fetched in time is joined, one piece a sample.

    So a slow reader costs no more memory than its text. With a `loop`, everything but `cancelled` is
    touched on that loop's thread only; without one, a lock guards it.
    """

    def __init__(self, samples: int, loop: asyncio.AbstractEventLoop | None = None):
        self.samples = samples
        self.loop = loop
        self.cancelled = False
        """The asker has left, or one of the samples failed: make no more."""
        self._unfinished = samples
        self._news: dict[int, Piece] = {}
        self._error: BowerbirdError | None = None
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()

    def cancel(self) -> None:
        """Ask for no more; slots are free after the step that runs. Called by the asker."""
        self.cancelled = True
        with self._changed:
            self._unfinished = 0
            self._wake()

    def receive(self, news: Iterable[Piece | BowerbirdError]) -> None:
        """Put pieces, or the error that ends the request, into the mailbox. Called by the engine."""
        with self._changed:
            for new in news:
                if isinstance(new, BowerbirdError):
                    self._error = new
                    self._unfinished = 0
                    continue
                before = self._news.get(new.index)
                if before is not None:
                    text, tokens = before.text + new.text, before.tokens + new.tokens
                    new = Piece(new.index, text, tokens, new.finished)  # noqa: PLW2901
                self._news[new.index] = new
                if new.finished:
                    self._unfinished -= 1
            self._wake()

    def wait(self) -> list[Piece]:
        """What is new, at most one piece a sample; blocks until there is some. Empty: all is told.

        Raises:
            BowerbirdError: the request failed.
        """
        assert self.loop is None, "this ticket is awaited on its event loop"
        with self._changed:
            while not self._ended and not self._news:
                self._changed.wait()
            return self._taken()

    async def arrival(self) -> list[Piece]:
        """As `wait`, from asyncio."""
        assert self.loop is asyncio.get_running_loop(), "this ticket was made for another event loop"
        while not self._ended and not self._news:
            self._arrived.clear()
            await self._arrived.wait()
        return self._taken()

    def __iter__(self) -> Iterator[Piece]:
        while news := self.wait():
            yield from news

    async def __aiter__(self) -> AsyncIterator[Piece]:
        while news := await self.arrival():
            for piece in news:
                yield piece

    @property
    def _ended(self) -> bool:
        return self._unfinished <= 0

    def _taken(self) -> list[Piece]:
        news = list(self._news.values())
        self._news.clear()
        if not news and self._error is not None:
            raise self._error
        return news

    def _wake(self) -> None:
        if self.loop is None:
            self._changed.notify_all()
        else:
            self._arrived.set()
