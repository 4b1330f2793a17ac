"""Records events from a server's thread into a store, by a thread of its own: no request waits for it, or fails."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from bowerbird.base.errors import BowerbirdError
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.masking import masked_event
from bowerbird.monitoring.retention import EVERY_SECONDS, KEEP_ALL, Retention
from bowerbird.monitoring.store import EventStore, Progress
from bowerbird.monitoring.tally import Tally, left_behind

Mode = Literal["off", "counts", "sampled", "full"]

BATCH = 500
"""Events written at once."""
FLUSH_SECONDS = 0.5
"""An event waits no longer for others to be written with."""
WAITS = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds from one try to the next while the store says no; the last again and again."""
_LAST_WAIT = 0.1
"""The same while it is to close."""
_EVENT_BYTES = 1_000
"""About what an event takes while it waits, beside its texts."""

log = logging.getLogger(__name__)


class Recorder:
    """Takes what the server tells of its requests, and writes it a batch at a time.

    When more waits than may, events are dropped; while the store says no (locked, full, gone) they wait and it is
    tried again and again. Both are counted, and told once in the log. Of a process that was killed, what was not
    written is lost; the next one says how many those were.

    Args:
        store: where to.
        mode: `off`, `counts` (no texts), `sampled` (texts of a share of answers) or `full`.
        share: of the answers, in the mode `sampled`.
        most_waiting: events not written yet.
        mask: replace private data in texts before they are written.
        most_waiting_bytes: of those events together.
        retention: what is deleted meanwhile.
        tallies: a folder for the counts that outlive a killed process; None: it is not known what is lost then.

    Raises:
        StorageError: the folder cannot be written to, or the store cannot be read.
    """

    def __init__(
        self,
        store: EventStore,
        mode: Mode = "full",
        share: float = 0.1,
        most_waiting: int = 10_000,
        mask: bool = True,
        *,
        most_waiting_bytes: int = 64 << 20,
        retention: Retention = KEEP_ALL,
        tallies: Path | None = None,
    ):
        self.store = store
        self.mode: Mode = mode
        self._bar = int(share * (1 << 64))
        self._most_waiting = most_waiting
        self._most_waiting_bytes = most_waiting_bytes
        self._mask = mask
        self._retention = retention
        self.lost_before = 0 if tallies is None else _lost_before(store, tallies)
        """Events of processes that were killed before they could write them."""
        self._tally = None if tallies is None else Tally(tallies, store.key)
        self._changed = threading.Condition()
        # All below is guarded by it.
        self._waiting: deque[tuple[Mapping[str, Any], int]] = deque()
        self._open = 0
        """Events taken in and not settled yet, those being written included."""
        self._open_bytes = 0
        self._submitted = 0
        self._written = 0
        self._dropped = 0
        self._failed = 0
        self._close_at: float | None = None
        """On the monotonic clock: when to give up, once it is to close."""
        self._abandoned = False
        # And this is the thread's own.
        self._told: set[str] = set()
        self._prune_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="bowerbird events", daemon=True)
        self._thread.start()

    def wants_text(self, answer_id: str) -> bool:
        """Whether texts of this answer are recorded: the same for one id always and everywhere."""
        if self.mode != "sampled":
            return self.mode == "full"
        digest = hashlib.blake2b(answer_id.encode("utf-8", "replace"), digest_size=8).digest()
        return int.from_bytes(digest, "big") < self._bar

    def record(self, answered: Mapping[str, Any]) -> None:
        """Take an event, given by the fields of `Event`, to be written soon; or drop it where too many wait."""
        if self.mode == "off":
            return
        size = _EVENT_BYTES + len(answered.get("prompt") or "") + len(answered.get("output") or "")
        with self._changed:
            if (
                self._close_at is not None
                or self._open >= self._most_waiting
                or self._open_bytes + size > self._most_waiting_bytes
            ):
                self._dropped += 1
                return
            self._submitted += 1
            self._open += 1
            self._open_bytes += size
            self._note()
            self._waiting.append((answered, size))
            if len(self._waiting) in (1, BATCH):
                self._changed.notify_all()

    def counts(self) -> dict[str, int]:
        """Events so far by what became of them: `written`, `dropped` (too many waited), `failed` (to be written)."""
        with self._changed:
            return {"written": self._written, "dropped": self._dropped, "failed": self._failed}

    def flush(self, seconds: float) -> bool:
        """Wait until all that was taken in so far is settled, but no longer than this; whether it is."""
        with self._changed:
            aim = self._submitted
            return self._changed.wait_for(lambda: self._submitted - self._open >= aim, seconds)

    def close(self, seconds: float) -> int:
        """Write what waits, in so many seconds at most, and take no more; how many events were lost in all."""
        with self._changed:
            if self._close_at is None:
                self._close_at = time.monotonic() + seconds
            self._changed.notify_all()
        self._thread.join(seconds + 1.0)
        with self._changed:
            self._abandoned = True
            self._failed += self._open
            self._open = 0
            lost = self._dropped + self._failed
        if self._tally is not None:
            if not self._failed:  # a store that says no is not asked again: its count does no harm there
                with suppress(BowerbirdError):
                    self.store.forget(self._tally.writer)
            self._tally.end()
            self._tally = None
        return lost

    def _run(self) -> None:
        while True:
            batch = self._take()
            if batch:
                self._write(batch)
            elif self._closing:
                return
            self._prune()

    def _take(self) -> list[tuple[Mapping[str, Any], int]]:
        """The next events, as many as go together; none when it closes, or when it is time to prune."""
        with self._changed:

            def some() -> bool:
                return bool(self._waiting) or self._closing

            def enough() -> bool:
                return len(self._waiting) >= BATCH or self._closing

            if self._changed.wait_for(some, max(0.0, self._prune_at - time.monotonic())):
                self._changed.wait_for(enough, FLUSH_SECONDS)
            return [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]

    def _write(self, batch: list[tuple[Mapping[str, Any], int]]) -> None:
        events = [event for event in (self._event(fields) for fields, _ in batch) if event is not None]
        written, tries = False, 0
        while events and not written:
            try:
                self.store.add(events, self._progress(len(events)))
            except BowerbirdError as error:
                self._tell(
                    "failing",
                    f"events cannot be written: {' '.join(str(error).split())}; "
                    f"up to {self._most_waiting:,} wait, what comes beyond is dropped",
                )
                if not self._pause(WAITS[min(tries, len(WAITS) - 1)]):
                    break
                tries += 1
            except Exception as error:
                log.error("%d events could not be written: %s", len(events), type(error).__name__)
                break
            else:
                written = True
        self._settle(batch, len(events) if written else 0)

    def _event(self, fields: Mapping[str, Any]) -> Event | None:
        """The event as it is written; None of what is none, for nothing may end this thread."""
        try:
            event = Event(**fields)
            if (event.prompt or event.output) and not self.wants_text(event.id):
                event = replace(event, prompt=None, output=None)
            return masked_event(event) if self._mask else event
        except Exception as error:
            self._tell("wrong", f"what was to be recorded is no event: {type(error).__name__}")
            return None

    def _progress(self, count: int) -> Progress | None:
        tally = self._tally
        return None if tally is None else Progress(tally.writer, self._written + count)

    def _settle(self, batch: list[tuple[Mapping[str, Any], int]], written: int) -> None:
        with self._changed:
            abandoned, dropped = self._abandoned, self._dropped
        if abandoned:
            return  # they were counted as lost
        if written and "failing" in self._told:  # before those who wait for it are woken
            self._told.discard("failing")
            log.warning("events are written again; %d were dropped so far", dropped)
        elif dropped and "failing" not in self._told:
            self._tell("dropped", "events come faster than they can be written: some are dropped")
        with self._changed:
            if self._abandoned:
                return
            self._open -= len(batch)
            self._open_bytes -= sum(size for _, size in batch)
            self._written += written
            if written < len(batch):
                self._failed += len(batch) - written
                self._note()
            self._changed.notify_all()

    def _pause(self, seconds: float) -> bool:
        """Wait before the next try; False: there is no time for one."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)
            if self._close_at is None:
                return True
            left = self._close_at - time.monotonic()
        if left > 0:
            time.sleep(min(left, _LAST_WAIT))
        return left > 0

    def _prune(self) -> None:
        if time.monotonic() < self._prune_at or self._closing:
            return
        more = False
        try:
            more = self._retention.step(self.store)
        except BowerbirdError as error:
            self._tell("pruning", f"old events cannot be deleted: {' '.join(str(error).split())}")
        except Exception as error:
            self._tell("pruning", f"old events cannot be deleted: {type(error).__name__}")
        self._prune_at = time.monotonic() + (FLUSH_SECONDS if more else EVERY_SECONDS)

    @property
    def _closing(self) -> bool:
        return self._close_at is not None

    def _note(self) -> None:
        """Keep the counts for whoever comes after a kill."""
        tally = self._tally
        if tally is None:
            return
        try:
            tally.note(self._submitted, self._failed)
        except OSError:
            if "tally" not in self._told:  # from any thread: twice at most
                self._told.add("tally")
                log.warning("how many events were lost will not be known if this process is killed")

    def _tell(self, what: str, line: str) -> None:
        """Say something once."""
        if what not in self._told:
            self._told.add(what)
            log.error("%s", line)


def _lost_before(store: EventStore, tallies: Path) -> int:
    """How many events dead processes had taken in and neither written nor told of; says so."""
    lost = 0
    with left_behind(tallies, store.key) as found:
        for left in found:
            lost += max(0, left.submitted - left.given_up - store.written(left.writer))
            store.forget(left.writer)
    if lost:
        log.warning("%d events were lost: their server was ended before it had written them", lost)
    return lost
