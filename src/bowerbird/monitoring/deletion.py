"""Deletes events, a few thousand in a transaction so that others write in between, and gives back what they took.

It imports SQLAlchemy at its top: the store asks for it late.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, delete, func, select, update

from bowerbird.monitoring.connections import Connections
from bowerbird.monitoring.tables import ABOUT, EVENTS, matching

STEP = 5_000
"""Events deleted in one transaction."""
_GIVE_BACK = "PRAGMA incremental_vacuum; PRAGMA wal_checkpoint(TRUNCATE);"


def delete_matching(connections: Connections, wanted: Sequence[ColumnElement[bool]]) -> int:
    """Delete the events that all these conditions are true of; how many they were."""
    deleted = 0
    while step := _delete_some(connections, wanted, STEP):
        deleted += step
    give_back(connections)
    return deleted


def prune(
    connections: Connections,
    most_age_seconds: float | None,
    most_bytes: int | None,
    most_rows: int | None,
    now: float | None,
) -> int:
    """As `EventStore.prune`."""
    left = most_rows
    deleted = 0

    def some(wanted: Sequence[ColumnElement[bool]]) -> int:
        nonlocal left, deleted
        step = _delete_some(connections, wanted, STEP if left is None else min(STEP, left))
        deleted += step
        left = None if left is None else left - step
        return step

    if most_age_seconds is not None:
        wanted = matching(until=(time.time() if now is None else now) - most_age_seconds)
        while left != 0 and some(wanted):
            pass
    while most_bytes is not None and left != 0:
        beyond = size_bytes(connections) - most_bytes
        if beyond <= 0:
            break
        last = _oldest(connections, beyond, STEP if left is None else min(STEP, left))
        if last is None or not some([EVENTS.c.number <= last]):
            _count_bytes(connections)  # somebody else deleted some, or does so now
            break
    if deleted:
        give_back(connections)
    return deleted


def size_bytes(connections: Connections) -> int:
    """Bytes of all events, as they were counted when they were written and deleted."""
    with connections.reading() as connection:
        return int(connection.execute(select(ABOUT.c.bytes)).scalar_one())


def give_back(connections: Connections) -> None:
    """Make an SQLite file smaller after a deletion, and leave nothing deleted in its journal."""
    if connections.place.path is None:
        return
    with connections.reading() as connection:
        # As a script, of which every step is taken: a step frees a page, and `execute` takes one.
        driver: Any = connection.connection.driver_connection
        driver.executescript(_GIVE_BACK)


def _delete_some(connections: Connections, wanted: Sequence[ColumnElement[bool]], most: int) -> int:
    number = EVENTS.c.number
    some = delete(EVENTS).where(number.in_(select(number).where(*wanted).limit(most)))
    with connections.writing() as connection:
        sizes = connection.execute(some.returning(EVENTS.c.size)).scalars().all()
        if sizes:
            connection.execute(update(ABOUT).values(bytes=ABOUT.c.bytes - sum(sizes)))
    return len(sizes)


def _oldest(connections: Connections, beyond: int, most_rows: int) -> int | None:
    """The number up to which the oldest events take so many bytes, as far as `most_rows` of them tell; None: there
    are none."""
    asked = select(EVENTS.c.number, EVENTS.c.size).order_by(EVENTS.c.number).limit(most_rows)
    with connections.reading() as connection:
        rows = connection.execute(asked).all()
    for number, size in rows:
        beyond -= size
        if beyond <= 0:
            return int(number)
    return int(rows[-1].number) if rows else None


def _count_bytes(connections: Connections) -> None:
    counted = select(func.coalesce(func.sum(EVENTS.c.size), 0)).scalar_subquery()
    with connections.writing() as connection:
        connection.execute(update(ABOUT).values(bytes=counted))
