"""Where events are kept: an SQLite file in the workspace, or any database that SQLAlchemy speaks to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from bowerbird.base.digest import digest_bytes
from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.monitoring.events import Event

if TYPE_CHECKING:
    from bowerbird.monitoring.database import Place

FILE = "events.sqlite"
"""In the workspace, unless another store is named."""
PAGE = 1_000
"""Events read at once."""


@dataclass(frozen=True)
class Progress:
    """How far a process has come with its events, for whoever looks after its death."""

    writer: str
    written: int
    """In all, those that it is written with included."""


def checked_place(given: str | Path) -> Place:
    """The place that a path of an SQLite file, or an SQLAlchemy URL, names.

    Raises:
        UsageError: it is neither.
        MissingExtra: SQLAlchemy is not installed.
    """
    try:
        import sqlalchemy  # noqa: F401 (the modules of the database are made of it)
    except ImportError as error:
        raise MissingExtra("recording events", "monitor", instead="serve with --events off") from error
    from bowerbird.monitoring.database import place_of

    return place_of(given)


class EventStore:
    """Events in the order they were written. Threads may share one; processes open their own.

    An SQLite file and what belongs to it is its owner's alone; what is deleted from it is overwritten. A file
    that was taken away is made anew by the next `add`.

    Args:
        place: an SQLite file, or an SQLAlchemy URL as `postgresql://user@host/name`.
        create: make it where it is not there.
        timeout_seconds: to wait for other writers, or for a server to answer.

    Raises:
        NotFound: there is none, and none is to be made.
        CorruptFile: there is something else, or a store of a newer bowerbird.
        StorageError: it cannot be reached or made.
        MissingExtra: SQLAlchemy or the database's driver is not installed.
        UsageError: this names no database.
    """

    def __init__(self, place: str | Path, *, create: bool = True, timeout_seconds: float = 5.0):
        self.place = checked_place(place)
        from bowerbird.monitoring.connections import Connections

        self._connections = Connections(self.place, create=create, timeout_seconds=timeout_seconds)

    @property
    def where(self) -> str:
        """For people: the file, or the URL without its password."""
        return self.place.shown

    @property
    def key(self) -> str:
        """A short word that is the same for the same place."""
        return digest_bytes(self.place.shown.encode()).rpartition(":")[2][:12]

    def close(self) -> None:
        """Let go of the database. A later call opens it again."""
        self._connections.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def add(self, events: Iterable[Event], progress: Progress | None = None) -> int:
        """Write events, all or none, and how many there were; `progress` is kept with them.

        Raises:
            StorageError: the database is locked, full or gone.
        """
        from sqlalchemy import insert, update

        from bowerbird.monitoring.tables import ABOUT, EVENTS, WRITERS, row_of

        rows = [row_of(event) for event in events]
        size = sum(row["size"] for row in rows)
        with self._connections.writing(create=True) as connection:
            if rows:
                connection.execute(insert(EVENTS), rows)
            if progress is not None:
                mine = WRITERS.c.writer == progress.writer
                if not connection.execute(
                    update(WRITERS).where(mine).values(written=progress.written)
                ).rowcount:
                    connection.execute(
                        insert(WRITERS).values(writer=progress.writer, written=progress.written)
                    )
            # Last, for in PostgreSQL it makes others wait until the end of this transaction.
            connection.execute(update(ABOUT).values(bytes=ABOUT.c.bytes + size))
        return len(rows)

    def read(
        self,
        model: str | None = None,
        digest: str | None = None,
        since: float | None = None,
        until: float | None = None,
        after_id: int | None = None,
        texts_only: bool = False,
        limit: int | None = None,
        newest_first: bool = False,
        *,
        owner: str | None = None,
        session: str | None = None,
    ) -> Iterator[Event]:
        """Events in the order they were written, or the other way round, a page at a time.

        Args:
            model, digest, owner, session: only those of this one; owner "" is of those who asked without a key.
            since, until: Unix seconds; from the first on, before the second.
            after_id: only those whose `number` is greater. Where several processes write to PostgreSQL, one that
                is a moment late may get a smaller number than one already read.
            texts_only: only those of which a text was recorded.
            limit: so many at most.
        """
        from sqlalchemy import select

        from bowerbird.monitoring.tables import COLUMNS, EVENTS, event_of, matching

        number = EVENTS.c.number
        wanted = matching(
            model=model,
            digest=digest,
            since=since,
            until=until,
            owner=owner,
            session=session,
            texts_only=texts_only,
        )
        if after_id is not None:
            wanted.append(number > after_id)
        left = limit
        while left is None or left > 0:
            page = PAGE if left is None else min(PAGE, left)
            order = number.desc() if newest_first else number.asc()
            with self._connections.reading() as connection:
                rows = connection.execute(select(*COLUMNS).where(*wanted).order_by(order).limit(page)).all()
            events = [event_of(row) for row in rows]
            yield from events
            if len(events) < page:
                return
            last = events[-1].number
            if newest_first:
                wanted.append(number < last)
            else:
                wanted.append(number > last)
            left = None if left is None else left - page

    def counts(
        self,
        by: Sequence[str] = ("model",),
        *,
        model: str | None = None,
        digest: str | None = None,
        owner: str | None = None,
        session: str | None = None,
        since: float | None = None,
        until: float | None = None,
    ) -> dict[tuple[Any, ...], int]:
        """How many events there are for each combination of these columns: `{("poems", 200): 7}` by `("model",
        "status")`, `{(): 7}` by `()`.

        Raises:
            UnknownName: events cannot be counted by this column.
        """
        from sqlalchemy import func, select

        from bowerbird.monitoring.tables import EVENTS, groups, matching

        columns = groups(by)
        wanted = matching(model=model, digest=digest, owner=owner, session=session, since=since, until=until)
        asked = select(*columns, func.count()).select_from(EVENTS).where(*wanted).group_by(*columns)
        with self._connections.reading() as connection:
            return {tuple(row[:-1]): int(row[-1]) for row in connection.execute(asked)}

    def delete(
        self,
        owner: str | None = None,
        session: str | None = None,
        model: str | None = None,
        before: float | None = None,
    ) -> int:
        """Delete the events that all of these are true of, and how many they were.

        Args:
            owner: the id of a key; "" is of those who asked without one.
            before: Unix seconds.

        Raises:
            UsageError: nothing says which.
        """
        from bowerbird.monitoring.deletion import delete_matching
        from bowerbird.monitoring.tables import matching

        wanted = matching(owner=owner, session=session, model=model, until=before)
        if not wanted:
            raise UsageError("say which events: of an owner, a session, a model, or before a time")
        return delete_matching(self._connections, wanted)

    def prune(
        self,
        most_age_seconds: float | None = None,
        most_bytes: int | None = None,
        *,
        most_rows: int | None = None,
        now: float | None = None,
    ) -> int:
        """Delete the oldest events until none is older and all take no more bytes; how many they were.

        Args:
            most_rows: delete no more than so many now.
            now: Unix seconds; by default the clock's.
        """
        from bowerbird.monitoring.deletion import prune

        return prune(self._connections, most_age_seconds, most_bytes, most_rows, now)

    def size_bytes(self) -> int:
        """About how many bytes all events take: their texts in UTF-8, and what a row and its indices need."""
        from bowerbird.monitoring.deletion import size_bytes

        return size_bytes(self._connections)

    def written(self, writer: str) -> int:
        """How many events a process has written, as it told by its `Progress`; 0 where it told nothing."""
        from sqlalchemy import select

        from bowerbird.monitoring.tables import WRITERS

        with self._connections.reading() as connection:
            asked = select(WRITERS.c.written).where(WRITERS.c.writer == writer)
            return int(connection.execute(asked).scalar() or 0)

    def forget(self, writer: str) -> None:
        """Keep no longer how many events a process has written."""
        from sqlalchemy import delete

        from bowerbird.monitoring.tables import WRITERS

        with self._connections.writing() as connection:
            connection.execute(delete(WRITERS).where(WRITERS.c.writer == writer))
