"""The engine: loaded models by id, one scheduler each, and tickets for what is asked of them. No HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from bowerbird.kinds.loaded import Model
from bowerbird.serving.errors import UnknownModel
from bowerbird.serving.scheduler import Job, Scheduler
from bowerbird.serving.ticket import Ticket

SLOTS = 64
QUEUE = 512


class Engine:
    """Answers depend on the model, the request and its seed alone, never on what runs beside them.

    Args:
        models: loaded models by the id they are asked for by.
        slots: samples of one model made at the same time.
        queue: samples of one model that may wait beside them.
    """

    def __init__(self, models: Mapping[str, Model], *, slots: int = SLOTS, queue: int = QUEUE):
        self.models = dict(models)
        self.slots = slots
        self.queue = queue
        self._schedulers = {name: Scheduler(model, slots, queue) for name, model in self.models.items()}
        self._stopping = False

    def model(self, model_id: str) -> Model:
        """Raises `UnknownModel`."""
        if model_id not in self.models:
            raise UnknownModel(model_id, self.models)
        return self.models[model_id]

    def submit(self, model_id: str, request: Any, *, loop: asyncio.AbstractEventLoop | None = None) -> Ticket:
        """Ask for the samples of a request, made by `Model.request`.

        Raises:
            UnknownModel: nothing is served by this id.
            Busy: too much is waiting.
            Stopping: the engine takes no more.
        """
        return self.submit_jobs(model_id, jobs_of(self.model(model_id), request), loop=loop)

    def submit_jobs(
        self, model_id: str, jobs: Sequence[Job], *, loop: asyncio.AbstractEventLoop | None = None
    ) -> Ticket:
        """Ask for samples that are encoded already, numbered in their order; see `submit`."""
        self.model(model_id)
        ticket = Ticket(len(jobs), loop)
        self._schedulers[model_id].enqueue(ticket, jobs)
        return ticket

    def load(self, model_id: str) -> tuple[int, int]:
        """(samples in slots, samples waiting) of a model."""
        return self._schedulers[model_id].load

    @property
    def alive(self) -> bool:
        """Every model's thread runs."""
        return all(scheduler.alive for scheduler in self._schedulers.values())

    @property
    def ready(self) -> bool:
        return self.alive and not self._stopping

    def stop(self, seconds: float) -> None:
        """Take in no more, and give what is asked already so long to end. Returns at once."""
        self._stopping = True
        for scheduler in self._schedulers.values():
            scheduler.stop(seconds)

    def close(self, seconds: float = 5.0) -> None:
        """`stop`, and wait until nothing runs."""
        self.stop(seconds)
        for scheduler in self._schedulers.values():
            scheduler.join(seconds + 5)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(0.0)


def jobs_of(model: Model, request: Any) -> list[Job]:
    """The jobs of a request's n samples."""
    return [
        Job(model.kind.encode_request(model, request, index), model.kind.read(model, request))
        for index in range(request.n)
    ]
