"""One model's thread: takes samples from a bounded queue into a session's slots and steps them together.

It alone touches the network. Samples come and go at step boundaries; after each step everything new is
handed to each event loop at once, because a hand-over a token would cost more than the token.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.kinds.kind import Reader
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import Session
from bowerbird.serving.errors import Busy, Fault, Stopping
from bowerbird.serving.ticket import Piece, Ticket

_ADMIT_SECONDS = 0.05
"""Prompts are read for this long at most before those already running get their next step."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """One sample to make: what its session admits, and who reads what comes of it."""

    content: Any
    reader: Reader


@dataclass
class _Sample:
    ticket: Ticket
    index: int
    job: Job
    tokens: int = 0
    """Made, and not yet told."""


News = list[tuple[Ticket, Piece | BowerbirdError]]


class Scheduler:
    """Starts its thread at once.

    Args:
        model: a loaded model.
        slots: samples made at the same time.
        queue: samples that may wait beside them.
    """

    def __init__(self, model: Model, slots: int, queue: int):
        self.model = model
        self.slots = slots
        self.queue = queue
        self._waiting: deque[_Sample] = deque()
        self._running: dict[int, _Sample] = {}
        self._changed = threading.Condition()
        self._deadline: float | None = None
        self._session = self._open()
        self._thread = threading.Thread(target=self._run, name=f"bowerbird {model.name}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def load(self) -> tuple[int, int]:
        """(samples in slots, samples waiting)."""
        with self._changed:
            return len(self._running), len(self._waiting)

    def enqueue(self, ticket: Ticket, jobs: Sequence[Job]) -> None:
        """Take in all samples of a request, or none.

        Raises:
            Busy: they do not fit into the queue.
            Stopping: no more are taken.
        """
        with self._changed:
            if self._deadline is not None or not self.alive:
                raise Stopping
            if any(sample.ticket.cancelled for sample in self._waiting):
                kept = [sample for sample in self._waiting if not sample.ticket.cancelled]
                self._waiting = deque(kept)
            room = self.queue + self.slots - len(self._running) - len(self._waiting)
            if len(jobs) > room:
                raise Busy
            self._waiting.extend(_Sample(ticket, index, job) for index, job in enumerate(jobs))
            self._changed.notify()

    def stop(self, seconds: float) -> None:
        """Take in no more; what has not ended after so many seconds fails."""
        with self._changed:
            deadline = time.monotonic() + seconds
            self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
            self._changed.notify()

    def join(self, seconds: float) -> None:
        """Wait for the thread to end, after `stop`."""
        self._thread.join(seconds)

    def _open(self) -> Session[Any]:
        return self.model.kind.open_session(self.model.network, self.slots)

    def _run(self) -> None:
        try:
            while self._wait_for_work():
                news: News = []
                try:
                    self._turn(news)
                except Exception as error:  # whatever a model does, the engine lives on
                    _report("a step failed", error)
                    self._fail(list(self._running.values()), _told(error), news)
                    with self._changed:
                        self._running.clear()
                    self._session = self._open()
                finally:
                    _deliver(news)
        finally:  # nobody waits for ever, even if there is no memory left for a new session
            with self._changed:
                self._deadline = self._deadline or time.monotonic()
                left = [*self._running.values(), *self._waiting]
                self._waiting.clear()
            last: News = []
            self._fail(left, Stopping(), last)
            _deliver(last)

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to do. False: stopped, and nothing is left."""
        with self._changed:
            while not self._waiting and not self._running:
                if self._deadline is not None:
                    return False
                self._changed.wait()
        return True

    def _turn(self, news: News) -> None:
        """Let go of what is not wanted, admit what fits, and make one step."""
        if self._deadline is not None and time.monotonic() >= self._deadline:
            with self._changed:
                left = [*self._running.values(), *self._waiting]
                self._waiting.clear()
            self._fail(left, Stopping(), news)
        for slot, sample in list(self._running.items()):
            if sample.ticket.cancelled:
                self._let_go(slot)
        self._admit(news)
        if not self._running:
            return
        for chunk in self._session.step():
            sample = self._running[chunk.slot]
            if chunk.finished:
                with self._changed:
                    del self._running[chunk.slot]
            if sample.ticket.cancelled:
                if not chunk.finished:
                    self._let_go(chunk.slot)
                continue
            sample.tokens += len(chunk.content)
            try:
                text, finished = sample.job.reader.push(chunk.content, chunk.finished)
            except Exception as error:
                _report("an answer could not be read", error)
                self._fail([sample], _told(error), news)
                finished, text = "stop", ""
            else:
                sample.tokens -= sample.job.reader.unread
                if text or finished:
                    news.append((sample.ticket, Piece(sample.index, text, sample.tokens, finished)))
                    sample.tokens = 0
            if finished and not chunk.finished:
                self._let_go(chunk.slot)

    def _admit(self, news: News) -> None:
        until = time.monotonic() + _ADMIT_SECONDS
        while time.monotonic() < until or not self._running:
            with self._changed:
                while self._waiting and self._waiting[0].ticket.cancelled:
                    self._waiting.popleft()
                if not self._waiting:
                    return
                sample = self._waiting[0]
            try:
                slot = self._session.admit(sample.job.content)
            except Exception as error:
                _report("a prompt could not be read", error)
                self._fail([sample], _told(error), news)
                continue
            if slot is None:
                return
            with self._changed:
                self._waiting.popleft()
                self._running[slot] = sample

    @staticmethod
    def _fail(samples: Sequence[_Sample], error: BowerbirdError, news: News) -> None:
        """End the requests of these samples with an error; their other samples are not wanted either."""
        for sample in samples:
            sample.ticket.cancelled = True
            news.append((sample.ticket, error))

    def _let_go(self, slot: int) -> None:
        self._session.release(slot)
        with self._changed:
            del self._running[slot]


def _deliver(news: News) -> None:
    """Hand over what a step brought: once for each event loop, and directly to askers in threads."""
    by_loop: dict[asyncio.AbstractEventLoop | None, dict[Ticket, list[Piece | BowerbirdError]]] = {}
    for ticket, new in news:
        by_loop.setdefault(ticket.loop, {}).setdefault(ticket, []).append(new)
    for loop, letters in by_loop.items():
        if loop is None:
            _hand_out(letters)
            continue
        try:
            loop.call_soon_threadsafe(_hand_out, letters)
        except RuntimeError:  # the loop is closed: nobody is left to read
            for ticket in letters:
                ticket.cancelled = True


def _hand_out(letters: dict[Ticket, list[Piece | BowerbirdError]]) -> None:
    for ticket, news in letters.items():
        ticket.receive(news)


def _told(error: Exception) -> BowerbirdError:
    return error if isinstance(error, BowerbirdError) else Fault()


def _report(what: str, error: Exception) -> None:
    """Log where a fault happened. Its message is left out, for it may hold what somebody wrote."""
    if not isinstance(error, BowerbirdError):
        places = "".join(traceback.format_tb(error.__traceback__))
        log.error("%s: %s\n%s", what, type(error).__name__, places)
