"""Several worker processes that answer on one port, started, watched and stopped by a supervisor.

They share one listening socket, so that whoever has time takes the next connection and none is lost with a
worker that dies. Each holds the models by itself; nothing else is shared.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import FrameType
from typing import Any

from bowerbird.base.errors import BowerbirdError, NotFound, Refused, UsageError

LONGEST_PAUSE = 30.0
"""Seconds between two starts of a worker that dies at once again and again; the first pause is one second."""
TAKEN_AT_ONCE = 4
"""Connections that a worker takes before another one may."""
_HEALTHY = 60.0
"""Who lived so long dies by accident, and is started again without a pause."""
_GRACE = 10.0
"""Beyond the time to drain, before a worker that does not end is killed."""

log = logging.getLogger(__name__)

Work = Callable[..., None]
"""Called in a worker with the supervisor's arguments and `on_ready`, which takes what is to be told of it."""


@dataclass(frozen=True)
class _Failure:
    """Why a worker could not start, as it travels to the supervisor."""

    exit_code: int
    what: str
    where: str | None
    hint: str | None

    def error(self) -> BowerbirdError:
        kinds: dict[int, type[BowerbirdError]] = {2: UsageError, 4: NotFound, 5: Refused}
        return kinds.get(self.exit_code, BowerbirdError)(self.what, where=self.where, hint=self.hint)


@dataclass
class _Worker:
    process: BaseProcess
    told: Connection
    started: float
    ready: bool = False


class Supervisor:
    """Runs a function in a number of processes until it is told to stop.

    Args:
        count: workers.
        work: a function of a module, which every worker calls. It ends at SIGTERM.
        arguments: what it is called with; sockets may be among them.
        drain_seconds: how long it may take to end.
        on_death: is told the process id of each worker that has ended.
    """

    def __init__(
        self,
        count: int,
        work: Work,
        arguments: tuple[Any, ...],
        *,
        drain_seconds: float,
        on_death: Callable[[int], None] = lambda pid: None,
    ):
        self._work = work
        self._arguments = arguments
        self._drain_seconds = drain_seconds
        self._on_death = on_death
        self._context = multiprocessing.get_context("spawn")
        self._workers: list[_Worker | None] = [None] * count
        self._pauses = [0.0] * count
        self._due = [0.0] * count
        """When each may be started again."""
        self._stopping = False
        self._killing = False

    def run(self, on_ready: Callable[[Any], None]) -> None:
        """Start all, tell when all are ready, and come back after SIGTERM or Ctrl-C, when all have ended.

        The first starts by itself: what it compiles, the others read.

        Raises:
            BowerbirdError: what kept a worker from its first start; the others are stopped.
        """
        told = False
        with self._signals() as wake:
            try:
                while not self._stopping:
                    self._start_due(most=len(self._workers) if self._ready else 1)
                    news = self._wait(wake, first=not told)
                    if not told and self._ready == len(self._workers):
                        told = True
                        on_ready(news)
                    self._bury(first=not told)
            finally:
                self._stop_all()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [worker.process.pid for worker in self._workers if worker and worker.process.pid]

    @property
    def _ready(self) -> int:
        return sum(worker is not None and worker.ready for worker in self._workers)

    def _start_due(self, most: int) -> None:
        now = time.monotonic()
        for place, worker in enumerate(self._workers[:most]):
            if worker is None and now >= self._due[place]:
                ours, theirs = self._context.Pipe(duplex=False)
                process = self._context.Process(
                    target=_enter, args=(self._work, self._arguments, theirs), daemon=True
                )
                process.start()
                theirs.close()
                self._workers[place] = _Worker(process, ours, now)

    def _wait(self, wake: int, first: bool) -> Any:
        """Sleep until something happens or is due. What a worker told that became ready, if one did.

        A worker that cannot start ends all at the `first` start only; later the others go on, and it is tried again.
        """
        here = [worker for worker in self._workers if worker]
        starting = [worker for worker in here if not worker.ready]
        waited: list[Any] = [wake, *(worker.process.sentinel for worker in here)]
        waited += [worker.told for worker in starting]
        found = wait(waited, None if len(here) == len(self._workers) else 0.2)
        news = None
        for worker in starting:
            if worker.told in found:
                with suppress(EOFError, OSError):
                    message = worker.told.recv()
                    if not isinstance(message, _Failure):
                        worker.ready, news = True, message
                    elif first:
                        raise message.error()
                    else:
                        log.error("a worker cannot start: %s", " ".join(str(message.error()).split()))
        return news

    def _bury(self, first: bool) -> None:
        """Take note of workers that have ended, and say when they are to be started again."""
        for place, worker in enumerate(self._workers):
            if worker is None or worker.process.is_alive():
                continue
            self._end(place, worker)
            if self._stopping:
                continue
            if first:
                raise BowerbirdError(
                    f"a worker ended before it was ready ({_how(worker.process)})",
                    hint="start with --workers 1 to see why",
                )
            lived = time.monotonic() - worker.started
            pause = 0.0 if lived > _HEALTHY else min(max(1.0, 2 * self._pauses[place]), LONGEST_PAUSE)
            self._pauses[place], self._due[place] = pause, time.monotonic() + pause
            log.error(
                "worker %d ended (%s); another takes its place in %.0f s",
                worker.process.pid,
                _how(worker.process),
                pause,
            )

    def _end(self, place: int, worker: _Worker) -> None:
        worker.process.join()
        worker.told.close()
        self._workers[place] = None
        if worker.process.pid is not None:
            self._on_death(worker.process.pid)

    def _stop_all(self) -> None:
        """SIGTERM for all, and SIGKILL for those that do not end in time."""
        here = [(place, worker) for place, worker in enumerate(self._workers) if worker]
        for _, worker in here:
            worker.process.terminate()
        until = time.monotonic() + self._drain_seconds + _GRACE
        for place, worker in here:
            while worker.process.is_alive() and time.monotonic() < until and not self._killing:
                worker.process.join(0.1)
            if worker.process.is_alive():
                log.error("worker %d did not end in time and is killed", worker.process.pid)
                worker.process.kill()
            self._end(place, worker)

    @contextmanager
    def _signals(self) -> Iterator[int]:
        """While inside, SIGTERM and Ctrl-C ask to stop, a second Ctrl-C to kill. Gives what wakes `wait`."""
        woken, waker = os.pipe()

        def stop(number: int, frame: FrameType | None) -> None:
            self._killing = self._stopping and number == signal.SIGINT
            self._stopping = True
            os.write(waker, b"!")

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield woken
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            os.close(woken)
            os.close(waker)


@contextmanager
def environment(**values: str) -> Generator[None]:
    """Variables for the processes that are started inside."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _enter(work: Work, arguments: tuple[Any, ...], told: Connection) -> None:
    """Where a worker begins."""
    # Ctrl-C in a terminal goes to everybody; until the server has its own handler, the supervisor's word counts.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        work(*arguments, on_ready=told.send)
    except BowerbirdError as error:
        with suppress(OSError):
            told.send(_Failure(error.exit_code, error.what, error.where, error.hint))
        sys.exit(error.exit_code)


def _end_with_parent() -> None:
    """A supervisor that was killed leaves no orphans: they drain and end."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _how(process: BaseProcess) -> str:
    code = process.exitcode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
