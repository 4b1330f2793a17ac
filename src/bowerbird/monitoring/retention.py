"""How long events are kept, and how many: what is too old or too much goes, a little at a time."""

from __future__ import annotations

from dataclasses import dataclass

from bowerbird.monitoring.store import EventStore

EVERY_SECONDS = 600.0
"""From one look to the next, unless the last one left something to delete."""
MOST_ROWS = 10_000
"""Deleted at once, so that what is to be written does not wait for long."""


@dataclass(frozen=True)
class Retention:
    """What may stay."""

    most_age_seconds: float | None = None
    most_bytes: int | None = None
    """Both None: all of it."""

    def step(self, store: EventStore) -> bool:
        """Delete some of the oldest events where there are too many; whether there may be more of them.

        Raises:
            StorageError: the store says no.
        """
        if self.most_age_seconds is None and self.most_bytes is None:
            return False
        deleted = store.prune(self.most_age_seconds, self.most_bytes, most_rows=MOST_ROWS)
        return deleted >= MOST_ROWS


KEEP_ALL = Retention()
