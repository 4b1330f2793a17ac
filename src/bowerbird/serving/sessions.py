"""Sessions: named states kept on the server, so that a text or chat goes on without being sent again.

A session holds what the network remembers, never the words themselves: its size, and the time to go on from
it, are the same after a hundred characters as after a million.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bowerbird.sampling.state import StreamState
from bowerbird.serving.errors import (
    BadRequest,
    SessionModelChanged,
    SessionTaken,
    UnknownPoint,
    UnknownSession,
)
from bowerbird.serving.session_cache import BOUNDS, Bounds, SessionCache
from bowerbird.serving.session_files import SessionFiles
from bowerbird.serving.session_record import About, PointAbout, Session, checked_name

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model

MOST_POINTS = 16
"""Each is a whole state, and all are written with every answer."""


class SessionStore:
    """Every session is its owner's alone: to others it is as if it were not there.

    With a folder every session is a file, written at the end of each request; memory then holds those used
    last, and several servers may share the folder. Without one they end with the process. When there are too
    many, the one not used for longest goes, of the owner who has most, so that nobody pushes out another's.

    Args:
        folder: where they are kept; None keeps them in memory only. A process opens a folder once.
        most, most_age_seconds, most_bytes, most_memory_bytes: see `Bounds`.
        now: seconds since 1970.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        most: int = BOUNDS.most,
        most_age_seconds: float = BOUNDS.most_age_seconds,
        most_bytes: int = BOUNDS.most_bytes,
        most_memory_bytes: int = BOUNDS.most_memory_bytes,
        now: Callable[[], float] = time.time,
    ):
        files = SessionFiles(folder) if folder is not None else None
        bounds = Bounds(
            most=most,
            most_age_seconds=most_age_seconds,
            most_bytes=most_bytes,
            most_memory_bytes=most_memory_bytes,
        )
        self._cache = SessionCache(files, bounds, now)
        self._now = now

    def close(self) -> None:
        """Let go of the folder; what is in it stays."""
        if self._cache.files is not None:
            self._cache.files.close()

    def use(self, name: str, owner: str, model: Model, model_id: str) -> Use:
        """Go on with a session, or begin one; it is taken until the use is closed.

        Reads a file where the session is not in memory: call it beside the event loop.

        Args:
            name: the session's.
            owner: the id of the asker's key, empty where there are no keys.
            model: the one that goes on.
            model_id: what it is asked for by.

        Raises:
            BadRequest: this cannot be a session's name.
            SessionBusy: another request goes on with it.
            SessionModelChanged: it began on another model.
            CorruptFile: its file is damaged.
            StorageError: the folder cannot be made or written to.
        """
        key = owner, checked_name(name, "session")
        self._cache.claim(key)
        try:
            session = self._cache.load(key)
            if session is not None and session.about.digest != model.digest:
                raise SessionModelChanged(name, session.about.model)
        except BaseException:
            self._cache.release(key)
            raise
        if session is not None:
            return Use(self._cache, session.about, session)
        now = self._now()
        about = About(name=name, owner=owner, model=model_id, digest=model.digest, created=now, used=now)
        return Use(self._cache, about, None)

    def model_for(self, name: str, owner: str, model_id: str, models: Mapping[str, Model]) -> str:
        """The id of the model that a request goes to which names this session and `model_id`.

        It is `model_id`, unless that has been given another model since the session began and the one that it
        began on is served by another id too.
        """
        about = self._cache.about((owner, name))
        if about is None or about.model != model_id or models[model_id].digest == about.digest:
            return model_id
        same = (other for other, model in models.items() if model.digest == about.digest)
        return next(same, model_id)

    def owned_by(self, owner: str) -> list[About]:
        """An owner's sessions, the one used last first."""
        return [about for about in reversed(self._cache.abouts()) if about.owner == owner]

    def get(self, name: str, owner: str) -> About:
        """Raises UnknownSession."""
        about = self._cache.about((owner, name))
        if about is None:
            raise UnknownSession(name)
        return about

    def delete(self, name: str, owner: str) -> None:
        """Forget a session, damaged or not.

        Raises:
            UnknownSession: the owner has none of this name.
            SessionBusy: a request goes on with it.
        """
        key = owner, name
        with self._cache.claimed(key):
            if not self._cache.is_there(key):
                raise UnknownSession(name)
            self._cache.drop(key)

    def fork(self, name: str, owner: str, to: str) -> About:
        """A second session that goes on from where this one is, with the same points.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            BadRequest: `to` cannot be a session's name.
            SessionTaken: there is a session of that name.
        """
        key = owner, checked_name(to, "to")
        with self._existing(name, owner) as session:
            if to == name:
                raise SessionTaken(to)
            with self._cache.claimed(key):
                if self._cache.about(key) is not None:
                    raise SessionTaken(to)
                now = self._now()
                about = session.about.model_copy(update={"name": to, "created": now, "used": now})
                return self._saved(about, session.state, session.points, grown=True)

    def mark(self, name: str, owner: str, point: str) -> About:
        """Name the place where a session is, to come back to it; a point of that name moves there.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            BadRequest: `point` cannot be a name, or there are `MOST_POINTS` others.
        """
        checked_name(point, "name")
        with self._existing(name, owner) as session:
            points = {**session.points, point: session.state}
            if len(points) > MOST_POINTS:
                raise BadRequest(
                    f"a session has {MOST_POINTS} points at most", param="name", code="too_many_points"
                )
            about = session.about
            here = PointAbout(tokens=about.tokens, characters=about.characters, created=self._now())
            about = about.model_copy(update={"points": {**about.points, point: here}})
            return self._saved(about, session.state, points, grown=True)

    def unmark(self, name: str, owner: str, point: str) -> About:
        """Forget a point.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            UnknownPoint: there is no such point.
        """
        with self._existing(name, owner) as session:
            _check_point(session, point, None)
            points = {other: state for other, state in session.points.items() if other != point}
            left = {other: session.about.points[other] for other in points}
            about = session.about.model_copy(update={"points": left})
            return self._saved(about, session.state, points)

    def rewind(self, name: str, owner: str, to: str) -> About:
        """Take a session back, or forth, to one of its points; all points stay.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            UnknownPoint: there is no such point.
        """
        with self._existing(name, owner) as session:
            _check_point(session, to, "to")
            characters = session.about.points[to].characters
            about = session.about.model_copy(update={"characters": characters, "used": self._now()})
            return self._saved(about, session.points[to], session.points)

    @contextmanager
    def _existing(self, name: str, owner: str) -> Iterator[Session]:
        """A session that is there, claimed for as long as the block runs."""
        key = owner, name
        with self._cache.claimed(key):
            session = self._cache.load(key)
            if session is None:
                raise UnknownSession(name)
            yield session

    def _saved(
        self, about: About, state: StreamState, points: Mapping[str, StreamState], *, grown: bool = False
    ) -> About:
        session = Session.of(about, state, points)
        self._cache.save(session, grown=grown)
        return session.about


class Use:
    """One request's hold on a session. Close it, or use it as a context manager, whatever happens.

    A request that fails, or whose asker leaves, keeps nothing: the session is as it was before.
    """

    def __init__(self, cache: SessionCache, about: About, session: Session | None):
        self._cache = cache
        self._session = session
        self._lock = threading.Lock()
        self._closed = self._keeping = False
        self.about = about
        """The session as it is, or will be."""

    @property
    def start(self) -> StreamState | None:
        """Where to go on from; None for a new session."""
        return None if self._session is None else self._session.state

    def keep(self, state: StreamState, characters: int) -> None:
        """Make this the session's state. Writes a file: call it beside the event loop.

        Args:
            state: after all that was read and made.
            characters: how many those were.

        Raises:
            StorageError: the disk says no; the session is as it was.
        """
        with self._lock:
            if self._closed:  # the asker has left
                return
            self._keeping = True
        try:
            told = {"characters": self.about.characters + characters, "used": self._cache.now()}
            points = {} if self._session is None else self._session.points
            session = Session.of(self.about.model_copy(update=told), state, points)
            self._cache.save(session, grown=self._session is None)
            self._session, self.about = session, session.about
        finally:
            self._stop_keeping()

    def _stop_keeping(self) -> None:
        with self._lock:
            self._keeping = False
            if self._closed:  # while the file was written
                self._cache.release(self.about.key)

    def close(self) -> None:
        """Let others have the session; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._keeping:
                self._cache.release(self.about.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _check_point(session: Session, point: str, param: str | None) -> None:
    if point not in session.points:
        raise UnknownPoint(point, session.points, param=param)
