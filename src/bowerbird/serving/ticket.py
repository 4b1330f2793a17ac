"""A ticket: what a request's asker holds while its samples are made, from a thread or from asyncio."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from bowerbird.base.errors import BowerbirdError
from bowerbird.sampling.logprobs import TokenLogprobs, joined
from bowerbird.sampling.session import FinishReason
from bowerbird.sampling.state import StreamState

MOST_UNREAD_BYTES = 256 << 10
"""That may wait for an asker. Beyond it, nothing more is made until half of it is read."""


@dataclass(frozen=True, slots=True)
class Piece:
    """New content of one sample. With `finished` set it is the sample's last."""

    index: int
    text: str
    tokens: int
    """Tokens made for this piece; those held back or of a stop string count with the next."""
    finished: FinishReason | None
    logprobs: TokenLogprobs | None = None
    """Of these tokens, where they were asked for."""
    prompt_logprobs: TokenLogprobs | None = None
    """Of the prompt, on the first piece, where they were asked for."""
    state: StreamState | None = None
    """What the model remembers at the end, on the last piece, where it was to be kept."""

    @property
    def size(self) -> int:
        """About how many bytes wait for the asker in it."""
        text = self.text
        size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        if self.logprobs is not None:
            size += self.logprobs.chosen.nbytes + self.logprobs.top_tokens.nbytes + self.logprobs.top.nbytes
        return size


def _silent() -> None:
    """Nobody is to be told."""


class Ticket:
    """A mailbox that its asker empties. What is not fetched in time is joined, one piece a sample.

    So a slow reader costs no more memory than its text, and of that no more than `MOST_UNREAD_BYTES` and what
    was under way: then the engine makes no more until half of it is read. With a `loop`, all that the asker
    calls and `receive` run on that loop's thread only; without one, a lock guards it.

    Args:
        samples: how many are awaited.
        loop: whose thread reads it; None is any other.
        ring: called when the asker has left, or has read enough that more can be made.
    """

    def __init__(
        self,
        samples: int,
        loop: asyncio.AbstractEventLoop | None = None,
        ring: Callable[[], None] = _silent,
    ):
        self.samples = samples
        self.loop = loop
        self.ring = ring
        self.cancelled = False
        """The asker has left, or one of the samples failed: make no more."""
        self.parked = False
        """Too much waits unread: the engine rests."""
        self.handed = 0
        """Bytes that the engine has given so far; it alone writes this."""
        self.taken = 0
        """Bytes that the asker has fetched so far; he alone writes this."""
        self.taken_at = time.monotonic()
        self.queue_seconds: float | None = None
        """How long its first sample waited for a slot, once it has one."""
        self.first_token_seconds: float | None = None
        """From its asking to the first content, once there is some."""
        self._unfinished = samples
        self._news: dict[int, list[Piece]] = {}
        self._error: BowerbirdError | None = None
        self._changed = threading.Condition()
        self._arrived = asyncio.Event()

    @property
    def unread(self) -> int:
        """Bytes made and not fetched, those on their way included."""
        return self.handed - self.taken

    def cancel(self) -> None:
        """Ask for no more; slots are free after the step that runs. Called by the asker."""
        with self._changed:
            over = self.cancelled or self._ended
            self.cancelled = True
            self._unfinished = 0
            self._wake()
        if not over:
            self.ring()

    def hang_up(self) -> None:
        """Nothing of it is under way any more, so there is nobody to ring. Called by the engine."""
        self.parked = False
        self.ring = _silent

    def receive(self, news: Iterable[Piece | BowerbirdError]) -> None:
        """Put pieces, or the error that ends the request, into the mailbox. Called for the engine."""
        with self._changed:
            if self._ended:
                return
            for new in news:
                if isinstance(new, BowerbirdError):
                    self._error = new
                    self._unfinished = 0
                    continue
                self._news.setdefault(new.index, []).append(new)
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
            news = self._taken()
        self._tell_taken(news)
        return news

    async def arrival(self) -> list[Piece]:
        """As `wait`, from asyncio."""
        assert self.loop is asyncio.get_running_loop(), "this ticket was made for another event loop"
        while not self._ended and not self._news:
            self._arrived.clear()
            await self._arrived.wait()
        news = self._taken()
        self._tell_taken(news)
        return news

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
        news = [_joined(pieces) for pieces in self._news.values()]
        self._news.clear()
        if not news and self._error is not None:
            raise self._error
        return news

    def _tell_taken(self, news: Sequence[Piece]) -> None:
        self.taken += sum(piece.size for piece in news)
        self.taken_at = time.monotonic()
        # The engine sets `parked` before it looks at `taken` again, so that one of the two sees the other.
        if self.parked and self.unread <= MOST_UNREAD_BYTES // 2:
            self.ring()

    def _wake(self) -> None:
        if self.loop is None:
            self._changed.notify_all()
        else:
            self._arrived.set()


def _joined(pieces: Sequence[Piece]) -> Piece:
    """One piece with what several of a sample have."""
    if len(pieces) == 1:
        return pieces[0]
    logprobs = [piece.logprobs for piece in pieces if piece.logprobs is not None]
    return Piece(
        pieces[-1].index,
        "".join([piece.text for piece in pieces]),
        sum(piece.tokens for piece in pieces),
        pieces[-1].finished,
        joined(logprobs) if logprobs else None,
        pieces[0].prompt_logprobs,
        pieces[-1].state,
    )
