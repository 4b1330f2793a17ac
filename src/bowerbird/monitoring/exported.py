"""Events in a file, to be looked at: a store, or what `events export` wrote."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.store import EventStore

SUFFIXES = (".jsonl", ".ndjson")
"""Of what `events export` writes; any other file is taken for a store."""
_AT_ONCE = 1_000
_FIELDS = frozenset(field.name for field in fields(Event))


@contextmanager
def open_events(path: Path) -> Iterator[EventStore]:
    """The store in a file; for exported events, one that is made of them and removed at the end.

    Raises:
        CorruptFile: it is neither.
    """
    if path.suffix.lower() not in SUFFIXES:
        with EventStore(path, create=False) as store:
            yield store
        return
    with (
        tempfile.TemporaryDirectory(prefix="bowerbird-events-") as folder,
        EventStore(Path(folder, "events.sqlite")) as store,
    ):
        batch: list[Event] = []
        for event in _events(path):
            batch.append(event)
            if len(batch) == _AT_ONCE:
                store.add(batch)
                batch = []
        store.add(batch)
        yield store


def model_in(store: EventStore) -> str:
    """The id that the newest request asked for.

    Raises:
        DataError: there are no requests.
    """
    for event in store.read(newest_first=True, limit=100):
        if event.model and event.digest:
            return event.model
    raise DataError("there are no requests in these events", where=store.where)


def _events(path: Path) -> Iterator[Event]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row: dict[str, Any] = json.loads(line)
                yield Event(**{name: value for name, value in row.items() if name in _FIELDS})
            except (ValueError, TypeError, AttributeError, RecursionError) as error:
                raise CorruptFile(f"line {number} is no event: {error}", where=path) from error
