"""The slots of a session, and which sample is in which."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import Chunk, Session
from bowerbird.sampling.state import StreamState
from bowerbird.serving.samples import Sample


class Slots:
    """Opens a session of the model, and a new one when it is asked for more after `abandon`.

    Args:
        model: a loaded model.
        most: samples stepped together. As many others may be parked, so that slow readers stop nobody.
    """

    def __init__(self, model: Model, most: int):
        self.model = model
        self.most = most
        self._taken: dict[int, Sample] = {}
        self._parked: set[int] = set()
        self._session: Session[Any] | None = self._open()

    def __len__(self) -> int:
        """Samples in slots."""
        return len(self._taken)

    @property
    def active(self) -> int:
        """Of these, how many a step goes on with."""
        return len(self._taken) - len(self._parked)

    @property
    def free(self) -> int:
        return min(self.most - self.active, 2 * self.most - len(self._taken))

    @property
    def session(self) -> Session[Any]:
        if self._session is None:
            self._session = self._open()
        return self._session

    def samples(self) -> list[Sample]:
        return list(self._taken.values())

    def admit(self, samples: Sequence[Sample]) -> list[Sample]:
        """Give them slots; those for which there is none. Raises what the session does not like about them."""
        contents = [sample.content for sample in samples]
        slots = self.session.admit_many(contents) if len(contents) > 1 else [self.session.admit(contents[0])]
        left = []
        for sample, slot in zip(samples, slots, strict=True):
            if slot is None:
                left.append(sample)
                continue
            sample.slot = slot
            sample.started = True
            self._taken[slot] = sample
            if sample.request.ticket.parked:
                self.pause([sample])
        return left

    def step(self) -> list[tuple[Chunk, Sample]]:
        """What one step made, and of which samples; those that ended have left their slots."""
        chunks = self.session.step()
        met = [(chunk, self._taken[chunk.slot]) for chunk in chunks]
        for chunk, sample in met:
            if chunk.finished:
                del self._taken[chunk.slot]
                sample.slot = None
        return met

    def leave(self, sample: Sample) -> None:
        """Free its slot, if it has one."""
        if sample.slot is None:
            return
        self.session.release(sample.slot)
        del self._taken[sample.slot]
        self._parked.discard(sample.slot)
        sample.slot = None

    def state(self, chunk: Chunk, unread: int) -> StreamState | None:
        """What a sample remembers that a step gave this to, but for so many tokens at the end of it."""
        return self.session.state(chunk.slot, unread)

    def pause(self, samples: Iterable[Sample]) -> None:
        """Let those of them that have slots rest in them."""
        for sample in samples:
            if sample.slot is not None and sample.slot not in self._parked:
                self.session.pause(sample.slot)
                self._parked.add(sample.slot)

    def resume(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            if sample.slot in self._parked:
                self.session.resume(sample.slot)
                self._parked.remove(sample.slot)

    def abandon(self) -> None:
        """The session failed: let go of it, and of what is in it."""
        for sample in self._taken.values():
            sample.slot = None
        self._taken.clear()
        self._parked.clear()
        self._session = None

    def _open(self) -> Session[Any]:
        return self.model.kind.open_session(self.model.network, 2 * self.most)
