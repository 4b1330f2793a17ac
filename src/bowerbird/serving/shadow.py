"""Shadows: requests that the live model answered, asked again of a challenger when the engine has nothing better to do.

Nobody gets these answers. They go to the events, and what there is no time for is left out.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bowerbird.kinds.loaded import Model
from bowerbird.serving.delivery import report, told
from bowerbird.serving.engine import Engine
from bowerbird.serving.errors import Stopping, code_of
from bowerbird.serving.scheduler import Job
from bowerbird.serving.sink import EventSink, Note
from bowerbird.serving.ticket import Piece, Ticket

MOST_WAITING = 64
PATIENCE_SECONDS = 10.0
"""So long a copy waits for the engine to be idle; then it is dropped."""
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Asking:
    """A request as the challenger is asked, and who takes what comes of it."""

    jobs: Sequence[Job]
    take: Callable[[Piece], None]
    note: Callable[[Ticket | None], Note]
    """What is to be told of the answer, once it has ended."""
    tokens: Callable[[], tuple[int, int]]
    """(read, made)."""


@dataclass(frozen=True)
class Copy:
    """A request to be asked again."""

    model_id: str
    model: Model
    """The challenger."""
    id: str
    """Of the answer that the live model gave: both are known by it."""
    kind: str
    path: str
    owner: str
    make: Callable[[Model], Asking]


class Shadow:
    """Asks copies one after the other, from a thread of its own.

    Args:
        engine: answers them, in a lane that waits for all others.
        sink: keeps the answers.
        seconds: that one may take at most; None is no limit.
    """

    def __init__(self, engine: Engine, sink: EventSink, seconds: float | None = None):
        self._engine = engine
        self._sink = sink
        self._seconds = seconds
        self._waiting: deque[tuple[float, Copy]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.asked = 0
        self.dropped = 0

    def offer(self, copy: Copy) -> bool:
        """Ask this too, if there is time. Never blocks; whether it is kept for now."""
        with self._changed:
            if self._closed or len(self._waiting) >= MOST_WAITING:
                self.dropped += 1
                return False
            self._waiting.append((time.monotonic() + PATIENCE_SECONDS, copy))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bowerbird shadow", daemon=True)
                self._thread.start()
            self._changed.notify()
            return True

    def close(self) -> None:
        """Ask nothing more. What is being asked ends with the engine."""
        with self._changed:
            self._closed = True
            self.dropped += len(self._waiting)
            self._waiting.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (copy := self._next()) is not None:
            try:
                self._ask(copy)
            except Exception as error:
                report("a shadow could not be recorded", error)

    def _next(self) -> Copy | None:
        """The next copy, once the engine is idle; None when closed."""
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if self._closed:
                    return None
                while self._waiting and self._waiting[0][0] < time.monotonic():
                    self._waiting.popleft()
                    self.dropped += 1
                if self._waiting and not self._engine.busy:
                    return self._waiting.popleft()[1]
            time.sleep(_LOOK_SECONDS)

    def _ask(self, copy: Copy) -> None:
        began, clock = time.time(), time.monotonic()
        ticket: Ticket | None = None
        asking: Asking | None = None
        status, code = 200, ""
        try:
            asking = copy.make(copy.model)
            if asking.jobs:
                ticket = self._engine.submit_jobs(
                    copy.model_id, asking.jobs, owner=copy.owner, seconds=self._seconds, model=copy.model
                )
                for piece in ticket:
                    asking.take(piece)
        except Stopping:
            return
        except Exception as error:
            report("a shadow could not be asked", error)
            failure = told(error)
            status, code = failure.http_status, code_of(failure) or "error"
        self.asked += 1
        note = Note(copy.id, copy.model.digest) if asking is None else asking.note(ticket)
        tokens = (0, 0) if asking is None else asking.tokens()
        self._record(copy, note, began, time.monotonic() - clock, status=status, code=code, tokens=tokens)

    def _record(
        self,
        copy: Copy,
        note: Note,
        began: float,
        seconds: float,
        *,
        status: int,
        code: str,
        tokens: tuple[int, int],
    ) -> None:
        self._sink.record(
            {
                "id": copy.id,
                "time": began,
                "model": copy.model_id,
                "digest": note.digest,
                "kind": copy.kind,
                "path": copy.path,
                "owner": copy.owner,
                "session": "",
                "arm": "shadow",
                "status": status,
                "code": code,
                "finish_reason": note.finish_reason,
                "prompt_tokens": tokens[0],
                "completion_tokens": tokens[1],
                "seconds": seconds,
                "first_token_seconds": note.first_token_seconds,
                "settings": note.settings,
                "prompt": note.prompt,
                "output": note.output,
            }
        )
