"""A lane is one loaded model at work: the samples in its slots, and the line of those that wait for one.

The engine's thread alone calls what touches the slots. Samples come and go at step boundaries; what a turn
brings is put into a `Delivery`, which hands it over.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.kinds.kind import Reader
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import Chunk
from bowerbird.serving.delivery import Delivery, report, tell, told
from bowerbird.serving.errors import Busy, TimedOut, code_of
from bowerbird.serving.observer import Observer
from bowerbird.serving.samples import Request, Sample, hold_seconds
from bowerbird.serving.slots import Slots
from bowerbird.serving.ticket import MOST_UNREAD_BYTES
from bowerbird.serving.waiting import WaitingLine

SLOW_SECONDS = 60.0
"""A parked request of which nothing was read for so long ends."""
_ADMIT_SECONDS = 0.05
"""Prompts are read for about this long at most before those already running get their next step."""
_ADMIT_TOGETHER = 32


@dataclass(frozen=True)
class Job:
    """One sample to make: what its session admits, and who reads what comes of it."""

    content: Any
    reader: Reader


class Lane:
    """Opens the model's session.

    Args:
        model_id: what the model is asked for by.
        model: a loaded model.
        slots: samples made at the same time.
        queue: samples that may wait beside them.
        lock: the engine's; guards the line, and the list of requests.
        observer: is told what happens here.
        background: it makes a step when no other lane has work.
    """

    def __init__(
        self,
        model_id: str,
        model: Model,
        *,
        slots: int,
        queue: int,
        lock: threading.Condition,
        observer: Observer,
        background: bool = False,
    ):
        self.background = background
        self.model_id = model_id
        self.model = model
        self.queue = queue
        self.used = 0.0
        """Seconds of the engine's time, as far as taking turns goes."""
        self.idle = True
        self.turn_seconds = 0.0
        """About how long a turn takes."""
        self._lock = lock
        self._observer = observer
        self._slots = Slots(model, slots)
        self._line = WaitingLine[Sample]()
        self._between: list[Sample] = []
        """Taken out of the line, and not yet in slots."""
        self._requests: dict[Request, None] = {}
        self._holding = False

    @property
    def load(self) -> tuple[int, int]:
        """(samples in slots, samples waiting)."""
        between = sum(not sample.started for sample in self._between)
        return len(self._slots) + between, len(self._line)

    @property
    def empty(self) -> bool:
        return not self._requests

    @property
    def ready(self) -> bool:
        """A turn would bring something."""
        return self._slots.active > 0 or (len(self._line) > 0 and self._slots.free > 0)

    def enqueue(self, request: Request, jobs: Sequence[Job]) -> None:
        """Take in all samples of a request, or none. Called with the lock held.

        Raises:
            Busy: they do not fit into the queue.
        """
        free = max(0, self._slots.free - len(self._between))
        if not self._line.has_room(request.owner, len(jobs), free, self.queue):
            raise Busy
        for index, job in enumerate(jobs):
            request.live[index] = Sample(request, index, job.content, job.reader)
            tell(self._observer.queued, self.model_id, request.owner)
        self._requests[request] = None
        self._line.join(request.owner, request.live.values())

    def forget(self, request: Request) -> None:
        """Take what waits of a request out of the line. Called with the lock held."""
        self._line.leave(request.owner, lambda sample: sample.request is request)

    def turn(self, out: Delivery) -> None:
        """Admit what fits, and make one step."""
        began = time.monotonic()
        self._admit(out)
        streams = self._slots.active
        if not streams:
            return
        met = self._slots.step()
        now = time.monotonic()
        self._holding = False
        hold = hold_seconds(streams)
        for chunk, sample in met:
            if sample.alive:
                self._read(sample, chunk, now, hold, out)
        tokens = sum([len(chunk.content) for chunk, _ in met])
        seconds = time.monotonic() - began
        self.turn_seconds += (seconds - self.turn_seconds) / 4
        out.tell(self._observer.stepped, self.model_id, streams, tokens, seconds)

    def heed(self, request: Request, out: Delivery) -> None:
        """Its asker has rung: he has left, or read enough."""
        if request.ticket.cancelled:
            self._drop(request, out)
        elif request.ticket.parked:
            self._resume_if_read(request)

    def look(self, now: float, out: Delivery) -> None:
        """End what has taken too long, or is not read."""
        for request in self._all():
            ticket = request.ticket
            if request.deadline is not None and now >= request.deadline:
                limit = request.deadline - request.asked_at
                self.fail(request, TimedOut(f"this took longer than its limit of {limit:g} seconds"), out)
            elif (
                ticket.parked
                and not self._resume_if_read(request)
                and now - max(ticket.taken_at, request.parked_at) >= SLOW_SECONDS
            ):
                message = f"nothing of this answer was read for {SLOW_SECONDS:g} seconds"
                self.fail(request, TimedOut(message), out)

    def flush(self, out: Delivery) -> None:
        """Tell what is held back."""
        if self._holding:
            self._holding = False
            for sample in self._slots.samples():
                if sample.text:
                    self._give(sample, out)

    def fail(self, request: Request, error: BowerbirdError, out: Delivery) -> None:
        """End a request with an error, after what was made of it by then."""
        for sample in request.live.values():
            if sample.text:
                out.add(request.ticket, sample.piece(None))
        request.ticket.cancelled = True
        out.add(request.ticket, error)
        self._drop(request, out, error)

    def fail_all(self, error: BowerbirdError, out: Delivery) -> None:
        """End all that was asked of this lane."""
        for request in self._all():
            self.fail(request, error, out)

    def broke(self, error: Exception, out: Delivery) -> None:
        """A turn failed: what had begun ends with it, and the next turn opens a session anew."""
        self._slots.abandon()
        begun = {sample.request for sample in self._between}
        self._between = []
        hit = [
            request
            for request in self._all()
            if request in begun or any(sample.started for sample in request.live.values())
        ]
        for request in hit:
            self.fail(request, told(error), out)

    def _all(self) -> list[Request]:
        with self._lock:
            return list(self._requests)

    def _admit(self, out: Delivery) -> None:
        until = time.monotonic() + _ADMIT_SECONDS
        while time.monotonic() < until or not self._slots.active:
            with self._lock:
                taken = self._line.take(min(self._slots.free, _ADMIT_TOGETHER))
                self._between = [sample for _, sample in taken]
            if not taken:
                return
            left = set(self._start(self._between, out))
            with self._lock:
                self._line.put_back([one for one in taken if one[1] in left])
                self._between = []
            if left:
                return

    def _start(self, samples: Sequence[Sample], out: Delivery) -> Sequence[Sample]:
        """Give slots to samples from the line; those for which there is none."""
        try:
            left: Sequence[Sample] = self._slots.admit(samples)
        except Exception as error:
            if len(samples) == 1:
                report("a prompt could not be read", error)
                self.fail(samples[0].request, told(error), out)
                return []
        else:
            self._note_started(samples, out)
            return left
        for place, sample in enumerate(samples):  # one of them cannot be read: alone, the others can
            if sample.alive and self._start([sample], out):
                return [one for one in samples[place:] if one.alive]
        return []

    def _note_started(self, samples: Sequence[Sample], out: Delivery) -> None:
        now = time.monotonic()
        for sample in samples:
            if sample.started:
                waited = now - sample.request.asked_at
                if sample.request.ticket.queue_seconds is None:
                    sample.request.ticket.queue_seconds = waited
                out.tell(self._observer.started, self.model_id, waited)

    def _read(self, sample: Sample, chunk: Chunk, now: float, hold: float, out: Delivery) -> None:
        request = sample.request
        if not sample.made and len(chunk.content):
            seconds = now - request.asked_at
            if request.ticket.first_token_seconds is None:
                request.ticket.first_token_seconds = seconds
            out.tell(self._observer.first_token, self.model_id, seconds)
        try:
            finished = sample.read(chunk, now)
        except Exception as error:
            report("an answer could not be read", error)
            self.fail(request, told(error), out)
            return
        if finished:
            unread = sample.reader.unread
            if sample.keeps_state and (unread or not chunk.finished):  # the session has gone on, or would
                sample.state = self._slots.state(chunk, unread)
            self._slots.leave(sample)
            del request.live[sample.index]
            if not request.live:
                self._over(request)
            out.tell(self._observer.ended, self.model_id, finished, sample.made, now - request.asked_at)
            out.add(request.ticket, sample.piece(finished))
            self._park_if_unread(request, out)
        elif sample.is_due(now, hold):
            self._give(sample, out)
        elif sample.text:
            self._holding = True

    def _give(self, sample: Sample, out: Delivery) -> None:
        out.add(sample.request.ticket, sample.piece(None))
        self._park_if_unread(sample.request, out)

    def _park_if_unread(self, request: Request, out: Delivery) -> None:
        ticket = request.ticket
        if ticket.parked or ticket.unread <= MOST_UNREAD_BYTES or not request.live:
            return
        ticket.parked = True
        request.parked_at = time.monotonic()
        self._slots.pause(request.live.values())
        for sample in request.live.values():
            if sample.text:
                out.add(ticket, sample.piece(None))
        self._resume_if_read(request)  # its asker may have read before he could see that it is parked

    def _resume_if_read(self, request: Request) -> bool:
        if request.ticket.unread > MOST_UNREAD_BYTES // 2:
            return False
        request.ticket.parked = False
        self._slots.resume(request.live.values())
        return True

    def _drop(self, request: Request, out: Delivery, error: BowerbirdError | None = None) -> None:
        """Let go of what a request has: it failed, or its asker has left."""
        with self._lock:
            self.forget(request)
        seconds = time.monotonic() - request.asked_at
        for sample in request.live.values():
            self._slots.leave(sample)
            if error is not None:
                out.tell(self._observer.failed, self.model_id, code_of(error))
                error = None
            else:
                out.tell(self._observer.ended, self.model_id, "cancelled", sample.made, seconds)
        request.live.clear()
        self._over(request)

    def _over(self, request: Request) -> None:
        with self._lock:
            self._requests.pop(request, None)
        request.ticket.hang_up()
