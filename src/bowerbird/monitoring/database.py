"""Opens the database of an event store: an SQLite file made for its owner alone, or whatever a URL names.

It imports SQLAlchemy at its top: the store asks for it late.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from filelock import FileLock
from sqlalchemy import URL, Engine, create_engine, event, inspect, select
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.schema import CreateIndex, CreateTable

from bowerbird.base.errors import (
    BowerbirdError,
    CorruptFile,
    MissingExtra,
    NotFound,
    StorageError,
    UsageError,
    storage_errors,
)
from bowerbird.base.files import check_format, private_folder, write_whole
from bowerbird.monitoring.tables import ABOUT, METADATA, SCHEMA

_HEADER = b"SQLite format 3\x00"
_NOT_OURS = ("not a database", "malformed", "file is encrypted")
_PRAGMAS = ("synchronous = NORMAL", "secure_delete = ON")
"""A killed process loses nothing that was committed; what is deleted is overwritten."""


@dataclass(frozen=True)
class Place:
    """Where an event store is."""

    url: URL
    path: Path | None
    """The file of an SQLite database; None for a server's."""

    @property
    def shown(self) -> str:
        """For people: without a password."""
        return str(self.path) if self.path is not None else self.url.render_as_string(hide_password=True)


def place_of(given: str | Path) -> Place:
    """The place that a path of an SQLite file, or an SQLAlchemy URL, names.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(given, Path) or "://" not in given:
        path = Path(os.path.abspath(Path(given).expanduser()))
        return Place(URL.create("sqlite", database=str(path)), path)
    try:
        url = make_url(given)
    except (ArgumentError, ValueError) as error:
        raise UsageError(
            "this is not the URL of a database", hint="postgresql://USER:PASSWORD@HOST/NAME, or a file"
        ) from error
    if url.get_backend_name() == "sqlite":
        if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
            raise UsageError("an event store needs a file of its own", hint="sqlite:///events.sqlite")
        return place_of(Path(url.database))
    if url.drivername == "postgresql":  # which driver that means depends on SQLAlchemy's version
        url = url.set(drivername="postgresql+psycopg")
    return Place(url, None)


def open_database(place: Place, *, create: bool, timeout_seconds: float) -> Engine:
    """An engine for this place, with the tables there.

    Args:
        create: make what is not there.
        timeout_seconds: to wait for other writers, or for a server to answer.

    Raises:
        NotFound: there is no event store, and none is to be made.
        CorruptFile: there is something else, or a store of a newer bowerbird.
        StorageError: it cannot be reached or made.
        MissingExtra: the driver is not installed.
    """
    if place.path is None:
        engine = _engine(place, timeout_seconds)
        with _disposed_on_failure(engine):
            _check_tables(engine, place, create)
        return engine
    with storage_errors(place.path):
        if not _is_database(place.path):
            if not create:
                raise _nothing(place)
            private_folder(place.path.parent)
            with FileLock(place.path.with_name(f".{place.path.name}.lock"), mode=0o600):
                if not _is_database(place.path):
                    _make_file(place, place.path, timeout_seconds)
    engine = _engine(place, timeout_seconds)
    with _disposed_on_failure(engine):
        _check_tables(engine, place, create)
    return engine


def _make_file(place: Place, path: Path, timeout_seconds: float) -> None:
    """A new store is made elsewhere and put into its place: nobody finds it before all of it is there."""
    path = Path(os.path.realpath(path))
    with TemporaryDirectory(prefix="bowerbird-events-") as folder:
        new = Path(folder) / path.name
        engine = _engine(Place(place.url.set(database=str(new)), new), timeout_seconds)
        try:
            with failures(place), engine.connect() as connection:
                # Both must come before the first table; both are kept in the file.
                connection.exec_driver_sql("PRAGMA auto_vacuum = INCREMENTAL")
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            _check_tables(engine, place, create=True)
        finally:
            engine.dispose()  # what is in the log moves into the file
        for ending in ("-wal", "-shm"):  # the log of a file that was taken away would be read into this one
            Path(f"{path}{ending}").unlink(missing_ok=True)
        write_whole(path, new.read_bytes())


@contextmanager
def failures(place: Place) -> Iterator[None]:
    """What a database says no with, in our errors and without what was to be written."""
    try:
        with storage_errors(place.shown):
            yield
    except BowerbirdError:
        raise
    except DBAPIError as error:
        said = (str(error.orig).strip().splitlines() or [type(error).__name__])[0][:300]
        if place.path is not None and any(sign in said for sign in _NOT_OURS):
            raise CorruptFile(
                f"the event store is damaged, or is none: {said}",
                where=place.shown,
                hint="move it away; a new one is made when events are next recorded",
            ) from error
        raise StorageError(
            f"the event store said no: {said}",
            where=place.shown,
            hint="is there room, may you write to it, and does no other program hold it?",
        ) from error
    except SQLAlchemyError as error:  # a pool that ran dry, a connection that is not one
        raise StorageError(
            f"the event store cannot be used: {type(error).__name__}", where=place.shown
        ) from error


def _engine(place: Place, timeout_seconds: float) -> Engine:
    arguments: dict[str, Any] = {}
    if place.path is not None:
        arguments = {"timeout": timeout_seconds, "check_same_thread": False}
    elif _driver(place) == "psycopg":
        arguments = {"connect_timeout": max(1, round(timeout_seconds))}
    try:
        engine = create_engine(
            place.url, connect_args=arguments, pool_pre_ping=place.path is None, hide_parameters=True
        )
    except NoSuchModuleError as error:
        raise UsageError(
            f"there is no database called `{place.url.drivername}`", hint="postgresql://..., or a file"
        ) from error
    except ImportError as error:
        if _driver(place) == "psycopg":
            raise MissingExtra("an event store in PostgreSQL", "postgres") from error
        raise UsageError(
            f"the driver of `{place.url.drivername}` is not installed", hint=str(error)
        ) from error
    if place.path is not None:

        @event.listens_for(engine, "connect")
        def _prepare(connection: Any, record: Any) -> None:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")

    return engine


def _driver(place: Place) -> str:
    return place.url.drivername.partition("+")[2]


def _check_tables(engine: Engine, place: Place, create: bool) -> None:
    with failures(place):
        names = inspect(engine).get_table_names()
        if ABOUT.name not in names:
            if place.path is not None and names:
                raise CorruptFile(
                    "this database is of something else, not an event store",
                    where=place.shown,
                    hint="choose another --events-store",
                )
            if not create:
                raise _nothing(place)
            _make_tables(engine)
        with engine.connect() as connection:
            version = connection.execute(select(ABOUT.c.schema_version)).scalar()
    check_format(version, SCHEMA, "event store", place.shown)


def _make_tables(engine: Engine) -> None:
    """Others may be making them at the same time: whoever comes second finds them there."""
    for attempt in range(2):
        try:
            with engine.begin() as connection:
                for table in METADATA.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
                if connection.execute(select(ABOUT.c.id)).first() is None:
                    connection.execute(ABOUT.insert().values(id=1, schema_version=SCHEMA, bytes=0))
            return
        except DBAPIError:
            if attempt:
                raise


def _is_database(path: Path) -> bool:
    """Whether there is an SQLite database; an empty file becomes one.

    Raises:
        CorruptFile: something else is there.
    """
    try:
        with path.open("rb") as file:
            head = file.read(len(_HEADER))
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        raise CorruptFile("an event store is a file, and this is a folder", where=path) from None
    if head and head != _HEADER:
        raise CorruptFile(
            "this file is no event store", where=path, hint="choose another --events-store, or move it away"
        )
    return bool(head)


def _nothing(place: Place) -> NotFound:
    return NotFound(
        "no events have been recorded here",
        where=place.shown,
        hint="bowerbird serve MODEL --events full records them",
    )


@contextmanager
def _disposed_on_failure(engine: Engine) -> Iterator[None]:
    try:
        yield
    except BaseException:
        engine.dispose()
        raise
