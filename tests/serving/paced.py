"""An engine without networks: sessions that step when a test allows, and what it takes to watch them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from bowerbird.sampling.session import Chunk
from bowerbird.serving.engine import Engine
from bowerbird.serving.scheduler import Job
from bowerbird.serving.ticket import Ticket

SECRET = "the asker's own words"  # named, because tracebacks show the lines of the code

Steps = tuple[str, int]


class Unpaced(threading.Semaphore):
    """Lets every step begin at once."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        return True


class Paced:
    """A session that steps when the test allows. A job is (name, steps it takes); some names are bad."""

    def __init__(self, slots: int, model: PacedModel):
        self.jobs: list[Steps | None] = [None] * slots
        self.paused: set[int] = set()
        self.model = model

    def admit(self, job: Steps) -> int | None:
        if job[0] == "unreadable":
            raise RuntimeError(SECRET)
        if None not in self.jobs:
            return None
        slot = self.jobs.index(None)
        self.jobs[slot] = job
        self.model.admitted.append(job[0])
        return slot

    def admit_many(self, jobs: Sequence[Steps]) -> list[int | None]:
        if any(job[0] == "unreadable" for job in jobs):
            raise RuntimeError(SECRET)
        return [self.admit(job) for job in jobs]

    def step(self) -> list[Chunk]:
        self.model.pace.acquire()
        self.model.turns.append(self.model.name)
        chunks = []
        for slot, job in enumerate(self.jobs):
            if job is None or slot in self.paused:
                continue
            if job[0] == "bad":
                raise RuntimeError(SECRET)
            left = job[1] - 1
            self.jobs[slot] = (job[0], left) if left else None
            chunks.append(Chunk(slot, np.array([left]), None if left else "length"))
        return chunks

    def pause(self, slot: int) -> None:
        assert self.jobs[slot] is not None
        self.paused.add(slot)

    def resume(self, slot: int) -> None:
        self.paused.remove(slot)

    def state(self, slot: int, unread: int = 0) -> None:
        return None

    def release(self, slot: int) -> None:
        assert self.jobs[slot] is not None, "a slot is released once"
        self.jobs[slot] = None
        self.paused.discard(slot)


class Counting:
    """A reader that writes the numbers it is given; a name in capitals writes each of them very often."""

    unread = 0
    content = ""

    def __init__(self, name: str):
        self.name = name

    def push(self, content: Any, finished: Any) -> tuple[str, Any]:
        if self.name == "unwritable":
            raise ValueError(SECRET)
        text = "".join(map(str, content.tolist()))
        return text * 40_000 if self.name.isupper() else text, finished


@dataclass(eq=False)
class PacedModel:
    """What the engine needs of a model; `pace` is given one permit for each step."""

    pace: threading.Semaphore
    name: str = "paced"
    turns: list[str] = field(default_factory=list)
    """Names of the models that stepped, in their order; may be shared."""
    admitted: list[str] = field(default_factory=list)
    sessions: list[Paced] = field(default_factory=list)
    network: Any = None
    opens: bool = True

    @property
    def kind(self) -> Any:
        def open_session(network: Any, slots: int) -> Paced:
            if not self.opens:
                raise MemoryError(SECRET)
            self.sessions.append(Paced(slots, self))
            return self.sessions[-1]

        return SimpleNamespace(
            open_session=open_session,
            encode_request=lambda model, request, index: (request.name, request.steps),
            read=lambda model, request: Counting(request.name),
        )


def asking(name: str, steps: int, n: int = 1) -> Any:
    return SimpleNamespace(n=n, name=name, steps=steps)


def jobs(name: str, steps: int, n: int = 1) -> list[Job]:
    return [Job((name, steps), Counting(name)) for _ in range(n)]


class Recorder:
    """An observer that writes down what it is told."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.calls.append((name, *arguments))

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [call[1:] for call in list(self.calls) if call[0] == name]


def texts(ticket: Ticket) -> list[str]:
    found = [""] * ticket.samples
    for piece in ticket:
        found[piece.index] += piece.text
    return found


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.002)


def engine_of(models: dict[str, PacedModel], **options: Any) -> Engine:
    given: dict[str, Any] = dict(models)
    return Engine(given, **options)
