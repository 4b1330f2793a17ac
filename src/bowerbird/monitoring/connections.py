"""Connections to the database of an event store, also after its file was taken away or replaced."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bowerbird.monitoring.database import Place, failures, open_database

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine


class Connections:
    """Of one process; its threads share them.

    Args:
        place: the database.
        create: make it where it is not there.
        timeout_seconds: to wait for other writers, or for a server to answer.

    Raises:
        NotFound, CorruptFile, StorageError, MissingExtra, UsageError: as `open_database`.
    """

    def __init__(self, place: Place, *, create: bool, timeout_seconds: float):
        self.place = place
        self._timeout_seconds = timeout_seconds
        self._turn = threading.Lock()
        self._engine = self._opened(create)
        self._identity = self._found()

    def close(self) -> None:
        """Let go of the database. What is asked for later opens it again."""
        self._engine.dispose()

    @contextmanager
    def writing(self, *, create: bool = False) -> Iterator[Connection]:
        """A connection whose transaction is committed when the block ends well.

        Args:
            create: make the database anew where its file is gone.

        Raises:
            StorageError: the database is locked, full or gone.
        """
        engine = self._present(create)
        with failures(self.place), engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection of which nothing is committed.

        Raises:
            NotFound: the file is gone.
            StorageError: the database says no.
        """
        engine = self._present(create=False)
        with failures(self.place), engine.connect() as connection:
            yield connection

    def _present(self, create: bool) -> Engine:
        """The engine, opened anew where another file, or none, is in the place of the one that it has open."""
        if self.place.path is None:
            return self._engine
        with self._turn:
            if self._found() != self._identity:
                self._engine.dispose()
                self._engine = self._opened(create)
                self._identity = self._found()
            return self._engine

    def _opened(self, create: bool) -> Engine:
        return open_database(self.place, create=create, timeout_seconds=self._timeout_seconds)

    def _found(self) -> tuple[int, int] | None:
        """Which file is there; None of a server, and where there is none."""
        if self.place.path is None:
            return None
        try:
            status = os.stat(self.place.path)
        except OSError:
            return None
        return status.st_dev, status.st_ino
