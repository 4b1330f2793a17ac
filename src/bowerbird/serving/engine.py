"""The engine: loaded models by id, and one thread that makes what is asked of them. No HTTP.

Each model has a lane. A turn is a step of all samples in a lane's slots; then what is new is handed over.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Self

from bowerbird.kinds.loaded import Model
from bowerbird.serving.delivery import Delivery, report
from bowerbird.serving.errors import Stopping, UnknownModel
from bowerbird.serving.lanes import Lanes
from bowerbird.serving.observer import NullObserver, Observer
from bowerbird.serving.samples import Request
from bowerbird.serving.scheduler import Job, Lane
from bowerbird.serving.ticket import Ticket

SLOTS = 256
QUEUE = 1024
_LONG_TURN_SECONDS = 0.025
"""Before a turn that is likely to take so long, other lanes tell what they hold back."""
_LOOK_SECONDS = 0.05
"""From one look at time limits and slow readers to the next."""


class Engine:
    """Answers depend on the model, the request and its seed alone, never on what runs beside them.

    Args:
        models: loaded models by the id they are asked for by.
        slots: samples of one model made at the same time.
        queue: samples of one model that may wait beside them.
        observer: is told what happens.
    """

    def __init__(
        self,
        models: Mapping[str, Model],
        *,
        slots: int = SLOTS,
        queue: int = QUEUE,
        observer: Observer | None = None,
    ):
        self.slots = slots
        self.queue = queue
        self._observer = observer or NullObserver()
        self._changed = threading.Condition()
        self._lanes = Lanes(models, self._open)
        self._rung: deque[tuple[Lane, Request]] = deque()
        self._deadline: float | None = None
        self._look_at = 0.0
        self._thread = threading.Thread(target=self._run, name="bowerbird engine", daemon=True)
        self._thread.start()

    @property
    def models(self) -> Mapping[str, Model]:
        """What is served now, by id."""
        return self._lanes.models

    def model(self, model_id: str) -> Model:
        """Raises `UnknownModel`."""
        models = self.models
        if model_id not in models:
            raise UnknownModel(model_id, models)
        return models[model_id]

    def submit(self, model_id: str, request: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> Ticket:
        """Ask for the samples of a request, made by `Model.request`; otherwise as `submit_jobs`."""
        model = self.model(model_id)
        return self.submit_jobs(model_id, jobs_of(model, request), loop=loop, model=model)

    def submit_jobs(
        self,
        model_id: str,
        jobs: Sequence[Job],
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        owner: str = "",
        seconds: float | None = None,
        model: Model | None = None,
    ) -> Ticket:
        """Ask for samples that are encoded already, numbered in their order.

        Args:
            model_id: the model's id.
            jobs: one for each sample.
            loop: the event loop that reads the ticket; None is a thread.
            owner: whose key asks; owners take turns. Empty where there are no keys.
            seconds: the most it may take, waiting included; then the ticket raises `TimedOut`.
            model: the one that encoded the jobs, in case it has been replaced since: it makes them all the same.

        Raises:
            UnknownModel: nothing is served by this id.
            Busy: too much is waiting.
            Stopping: the engine takes no more.
        """
        ticket = Ticket(len(jobs), loop)
        now = time.monotonic()
        request = Request(ticket, owner, now, None if seconds is None else now + seconds)
        with self._changed:
            if not self.ready:
                raise Stopping
            lane = self._lanes.of(model_id, model)
            lane.enqueue(request, jobs)
            ticket.ring = partial(self._ring, lane, request)
            self._changed.notify()
        return ticket

    def add(self, model_id: str, model: Model) -> None:
        """Serve one more model.

        Raises:
            UsageError: there is one by this id; `replace` it.
        """
        lane = self._open(model_id, model)
        with self._changed:
            self._lanes.add(model_id, lane)

    def replace(self, model_id: str, model: Model) -> None:
        """Put another model in a model's place. What was asked before ends as it began, on the old one.

        Raises:
            UnknownModel: nothing is served by this id.
        """
        lane = self._open(model_id, model)
        with self._changed:
            self._lanes.replace(model_id, lane)
            self._changed.notify()

    def remove(self, model_id: str) -> None:
        """Serve a model no longer; what was asked of it before ends as it began.

        Raises:
            UnknownModel: nothing is served by this id.
        """
        with self._changed:
            self._lanes.remove(model_id)
            self._changed.notify()

    def open_beside(self, model_id: str, model: Model, *, background: bool = False) -> None:
        """Keep a lane for a model that is tried beside the one of this id: who names it to `submit_jobs` gets it.

        Args:
            background: it makes a step only when nothing else is to be made, and the observer is not told of it.

        Raises:
            UnknownModel: nothing is served by this id.
        """
        lane = self._open(model_id, model, background=background)
        with self._changed:
            self._lanes.close_beside(model_id, model)
            self._lanes.open_beside(lane)

    def close_beside(self, model_id: str, model: Model) -> None:
        """Keep that lane no longer; what was asked of it ends as it began."""
        with self._changed:
            self._lanes.close_beside(model_id, model)
            self._changed.notify()

    def load(self, model_id: str) -> tuple[int, int]:
        """(samples in slots, samples waiting) of a model, those of one that it replaced included."""
        with self._changed:
            loads = [lane.load for lane in self._lanes if lane.model_id == model_id]
        return sum(load[0] for load in loads), sum(load[1] for load in loads)

    @property
    def busy(self) -> bool:
        """Something is being made, or waits to be, that is not in the background."""
        with self._changed:
            return not all(lane.empty or lane.background for lane in self._lanes)

    @property
    def alive(self) -> bool:
        """The engine's thread runs."""
        return self._thread.is_alive()

    @property
    def ready(self) -> bool:
        return self.alive and self._deadline is None

    def stop(self, seconds: float) -> None:
        """Take in no more, and give what is asked already so long to end. Returns at once."""
        with self._changed:
            deadline = time.monotonic() + seconds
            self._deadline = deadline if self._deadline is None else min(self._deadline, deadline)
            self._changed.notify()

    def close(self, seconds: float = 5.0) -> None:
        """`stop`, and wait until nothing runs."""
        self.stop(seconds)
        self._thread.join(seconds + 5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(0.0)

    def _open(self, model_id: str, model: Model, *, background: bool = False) -> Lane:
        return Lane(
            model_id,
            model,
            slots=self.slots,
            queue=self.queue,
            lock=self._changed,
            observer=NullObserver() if background else self._observer,
            background=background,
        )

    def _ring(self, lane: Lane, request: Request) -> None:
        """From an asker's thread: he has left, or read enough."""
        with self._changed:
            if request.ticket.cancelled:
                lane.forget(request)  # its place in the line is free at once
            self._rung.append((lane, request))
            self._changed.notify()

    def _run(self) -> None:
        try:
            while self._turn() or self._wait():
                pass
        finally:  # nobody waits for ever, whatever has happened
            with self._changed:
                self._deadline = self._deadline or time.monotonic()
                lanes = list(self._lanes)
            out = Delivery()
            for lane in lanes:
                _guarded(lane, partial(lane.fail_all, Stopping()), out)
            out.hand_over()

    def _wait(self) -> bool:
        """Sleep until there is something to do. False: stopped, and nothing is left."""
        with self._changed:
            self._lanes.let_go()
            if self._rung or any(lane.ready for lane in self._lanes):
                return True
            asked = not all(lane.empty for lane in self._lanes)
            if self._deadline is not None and not asked:
                return False
            # Time limits, and readers that are awaited, are looked at now and then.
            self._changed.wait(_LOOK_SECONDS if asked else None)
        return True

    def _turn(self) -> bool:
        """Hear who has rung, and give one lane its turn; whether there was one with work."""
        out = Delivery()
        with self._changed:
            rung, self._rung = self._rung, deque()
            self._lanes.let_go()
            lanes = list(self._lanes)
        try:
            for lane, request in rung:
                _guarded(lane, partial(lane.heed, request), out)
            self._look(lanes, out)
            with self._changed:
                chosen = self._lanes.next()
            if chosen is None:
                return False
            if chosen.turn_seconds > _LONG_TURN_SECONDS:
                for lane in lanes:
                    if lane is not chosen:
                        _guarded(lane, lane.flush, out)
            began = time.monotonic()
            _guarded(chosen, chosen.turn, out)
            chosen.used += time.monotonic() - began
            return True
        finally:
            out.hand_over()

    def _look(self, lanes: Sequence[Lane], out: Delivery) -> None:
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            for lane in lanes:
                _guarded(lane, partial(lane.fail_all, Stopping()), out)
        elif now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            for lane in lanes:
                _guarded(lane, partial(lane.look, now), out)


def _guarded(lane: Lane, act: Callable[[Delivery], None], out: Delivery) -> None:
    """Whatever a model does, the engine lives on."""
    try:
        act(out)
    except Exception as error:
        report("a step failed", error)
        lane.broke(error, out)


def jobs_of(model: Model, request: Any) -> list[Job]:
    """The jobs of a request's n samples."""
    return [
        Job(model.kind.encode_request(model, request, index), model.kind.read(model, request))
        for index in range(request.n)
    ]
