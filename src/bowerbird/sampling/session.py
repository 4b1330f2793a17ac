"""A session steps many requests together; a chunk is what one of them got. No codec, no files, no HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from bowerbird.sampling.logprobs import TokenLogprobs
from bowerbird.sampling.state import StreamState

Request = TypeVar("Request", contravariant=True)
Job = TypeVar("Job")
FinishReason = Literal["stop", "length"]


class Guide(Protocol):
    """Says which tokens a request may get next. It has a state, so each request has one of its own."""

    def allowed(self) -> NDArray[np.bool_]:
        """(V,), at least one of them true."""
        ...

    def push(self, token: int) -> None:
        """Told of each token that was made, in order; not of the prompt, and not of the end."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """New content of the request in `slot`; with `finished` set it is the request's last."""

    slot: int
    content: NDArray[Any]
    finished: FinishReason | None
    logprobs: TokenLogprobs | None = None
    """A row a token of the content, where the request wants them."""
    prompt_logprobs: TokenLogprobs | None = None
    """A row a token of the prompt, with the first chunk of a request that wants them."""
    state: StreamState | None = None
    """With the last chunk of a request that keeps its state."""


class Session(Protocol[Request]):
    """What a request gets depends on it and the model alone, never on what runs beside it."""

    def admit(self, request: Request) -> int | None:
        """Start a request; its slot, or None when all are taken. What there is to read is read in steps.

        Raises:
            ValueError: this can never be made.
        """
        ...

    def admit_many(self, requests: Sequence[Request]) -> list[int | None]:
        """`admit` each, in order; None for those that find no slot.

        Raises:
            ValueError: one of them can never be made; none is admitted.
        """
        ...

    def step(self) -> list[Chunk]:
        """One step of every admitted request that is not paused; a request that is still reading has no chunk.

        A slot is free again once its chunk says finished.
        """
        ...

    def pause(self, slot: int) -> None:
        """Leave a request where it is: it keeps its slot and is not stepped."""
        ...

    def resume(self, slot: int) -> None:
        """Step a paused request again, as if nothing had been."""
        ...

    def state(self, slot: int, unread: int = 0) -> StreamState | None:
        """What a request with `keep_state` has read, but for the last so many tokens of its newest chunk.

        For an asker who ends a request by what it says: ask before `release`, or, for one that finished, before
        the next step or admission. A running request can then only be released. None: a session without states.
        """
        ...

    def release(self, slot: int) -> None:
        """Give up a request, for one that is no longer wanted."""
        ...


@dataclass(frozen=True)
class Progress(Generic[Job]):
    """A chunk and the place of its request in the sequence given to `run_all`."""

    index: int
    chunk: Chunk


def run_all(
    session: Session[Job], requests: Sequence[Job], dropped: set[int] | None = None
) -> Iterator[Progress[Job]]:
    """Run requests through a session, as many at once as it has slots.

    A caller that puts an index into `dropped` ends that request.
    """
    waiting = list(enumerate(requests))[::-1]
    running: dict[int, int] = {}
    while waiting or running:
        while waiting:
            slot = session.admit(waiting[-1][1])
            if slot is None:
                break
            running[slot] = waiting.pop()[0]
        for chunk in session.step():
            index = running[chunk.slot]
            yield Progress(index, chunk)
            if chunk.finished:
                del running[chunk.slot]
            elif dropped and index in dropped:
                session.release(chunk.slot)
                del running[chunk.slot]
