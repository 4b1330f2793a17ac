"""Sessions: named states kept on the server, so that a text or chat goes on without being sent again.

A session holds what the network remembers, never the words themselves: its size, and the time to go on from
it, are the same after a hundred characters as after a million.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from bowerbird.sampling.state import StreamState
from bowerbird.serving.errors import (
    BadRequest,
    SessionBusy,
    SessionModelChanged,
    SessionTaken,
    UnknownPoint,
    UnknownSession,
)
from bowerbird.serving.session_files import About, Key, PointAbout, Session, SessionFiles, Signature

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Of sessions and points: safe in a path as it is."""
MOST_POINTS = 16
"""Each is a whole state, and all are written with every answer."""
_SWEEP_SECONDS = 60.0


@dataclass
class _Kept:
    """A session in memory, and the file it is the content of, if any."""

    session: Session
    signature: Signature | None


class SessionStore:
    """Every session is its owner's alone: to others it is as if it were not there.

    With a folder every session is a file, written at the end of each request; memory then holds those used
    last, and several servers may share the folder. Without one they end with the process. When there are too
    many, the one not used for longest goes, of the owner who has most, so that nobody pushes out another's.

    Args:
        folder: where they are kept; None keeps them in memory only.
        most: sessions in all.
        most_age_seconds: since a session was used last.
        most_bytes: of the states of all.
        most_memory_bytes: of the states that are held in memory beside their files.
        now: seconds since 1970.

    Raises:
        StorageError: the folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        most: int = 1000,
        most_age_seconds: float = 7 * 86400,
        most_bytes: int = 1 << 30,
        most_memory_bytes: int = 64 << 20,
        now: Callable[[], float] = time.time,
    ):
        self.most = most
        self.most_age_seconds = most_age_seconds
        self.most_bytes = most_bytes
        self.most_memory_bytes = most_memory_bytes
        self._now = now
        self._files = SessionFiles(folder) if folder is not None else None
        self._lock = threading.Lock()
        self._busy: set[Key] = set()
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._listed: dict[Path, tuple[Signature, About]] = {}
        self._swept = now()

    def close(self) -> None:
        """Let go of the folder. What is in it stays."""
        if self._files is not None:
            self._files.close()

    def use(self, name: str, owner: str, model: Model, model_id: str | None = None) -> Use:
        """Go on with a session, or begin one; it is taken until the use is closed.

        Reads a file where the session is not in memory: call it beside the event loop.

        Args:
            name: the session's.
            owner: the id of the asker's key, empty where there are no keys.
            model: the one that goes on.
            model_id: what it is asked for by, for those who list sessions; its own name where not given.

        Raises:
            BadRequest: this cannot be a session's name.
            SessionBusy: another request goes on with it.
            SessionModelChanged: it began on another model.
        """
        key = owner, checked_name(name, "session")
        self._claim(key)
        try:
            session = self._load(key)
            if session is not None and session.about.digest != model.digest:
                raise SessionModelChanged(name, session.about.model)
            if session is None:
                now = self._now()
                about = About(
                    name=name,
                    owner=owner,
                    model=model.name if model_id is None else model_id,
                    digest=model.digest,
                    created=now,
                    used=now,
                )
                return Use(self, about, None)
            return Use(self, session.about, session)
        except BaseException:
            self._release(key)
            raise

    def model_for(self, name: str, owner: str, model_id: str, models: Mapping[str, Model]) -> str:
        """The id of the model that a request goes to which names this session and `model_id`.

        It is `model_id`, unless that has been given another model since the session began and the one that it
        began on is served by another id too.
        """
        about = self._about((owner, name))
        if about is None or about.model != model_id or models[model_id].digest == about.digest:
            return model_id
        same = (other for other, model in models.items() if model.digest == about.digest)
        return next(same, model_id)

    def owned_by(self, owner: str) -> list[About]:
        """An owner's sessions, the one used last first."""
        own = [about for about in self._all() if about.owner == owner and not self._is_old(about)]
        return sorted(own, key=lambda about: (-about.used, about.name))

    def get(self, name: str, owner: str) -> About:
        """Raises UnknownSession."""
        about = self._about((owner, name))
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
        self._claim(key)
        try:
            if not self._is_there(key):
                raise UnknownSession(name)
            self._drop(key)
        finally:
            self._release(key)

    def fork(self, name: str, owner: str, to: str) -> About:
        """A second session that goes on from where this one is, with the same points.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            BadRequest: `to` cannot be a session's name.
            SessionTaken: there is a session of that name.
        """
        key = owner, checked_name(to, "to")
        with self._existing(name, owner) as session:
            if name == to:
                raise SessionTaken(to)
            self._claim(key)
            try:
                if self._about(key) is not None:
                    raise SessionTaken(to)
                now = self._now()
                about = session.about.model_copy(update={"name": to, "created": now, "used": now})
                return self._save(replace(session, about=about), grown=True)
            finally:
                self._release(key)

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
            made = PointAbout(
                tokens=session.about.tokens, characters=session.about.characters, created=self._now()
            )
            about = session.about.model_copy(update={"points": {**session.about.points, point: made}})
            return self._save(Session(about, session.state, points), grown=True)

    def unmark(self, name: str, owner: str, point: str) -> About:
        """Forget a point.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            UnknownPoint: there is no such point.
        """
        with self._existing(name, owner) as session:
            _check_point(session, point, None)
            points = {other: state for other, state in session.points.items() if other != point}
            abouts = {other: session.about.points[other] for other in points}
            about = session.about.model_copy(update={"points": abouts})
            return self._save(Session(about, session.state, points))

    def rewind(self, name: str, owner: str, to: str) -> About:
        """Take a session back, or forth, to one of its points; all points stay.

        Raises:
            UnknownSession, SessionBusy: as `delete`.
            UnknownPoint: there is no such point.
        """
        with self._existing(name, owner) as session:
            point = _check_point(session, to, "to")
            about = session.about.model_copy(update={"characters": point.characters, "used": self._now()})
            return self._save(replace(session, about=about, state=session.points[to]))

    @contextmanager
    def _existing(self, name: str, owner: str) -> Iterator[Session]:
        """A session that is there, claimed for as long as the block runs."""
        key = owner, name
        self._claim(key)
        try:
            session = self._load(key)
            if session is None:
                raise UnknownSession(name)
            yield session
        finally:
            self._release(key)

    def _claim(self, key: Key) -> None:
        with self._lock:
            if key in self._busy or not (self._files is None or self._files.claim(key)):
                raise SessionBusy(key[1])
            self._busy.add(key)

    def _release(self, key: Key) -> None:
        with self._lock:
            self._busy.discard(key)
            if self._files is not None:
                self._files.release(key)

    def _is_old(self, about: About) -> bool:
        return self._now() - about.used > self.most_age_seconds

    def _about(self, key: Key) -> About | None:
        kept = self._fresh(key)
        if kept is not None:
            about: About | None = kept.about
        else:
            about = self._files.about(key) if self._files is not None else None
        return None if about is None or self._is_old(about) else about

    def _is_there(self, key: Key) -> bool:
        if self._files is not None:
            return self._files.signature(key) is not None
        with self._lock:
            return key in self._kept

    def _fresh(self, key: Key) -> Session | None:
        """The session if it is in memory, as its file is now."""
        signature = self._files.signature(key) if self._files is not None else None
        with self._lock:
            kept = self._kept.get(key)
            return kept.session if kept is not None and kept.signature == signature else None

    def _load(self, key: Key) -> Session | None:
        """A claimed session; None where there is none, or it has not been used for too long."""
        session = self._fresh(key)
        if session is None and self._files is not None:
            signature = self._files.signature(key)
            if signature is not None:
                session = self._files.read(key)
                self._keep(session, signature)
        return None if session is None or self._is_old(session.about) else session

    def _save(self, session: Session, *, grown: bool = False) -> About:
        """Put a claimed session where it is kept. One that has grown may push out others."""
        states = [session.state, *session.points.values()]
        size = sum(state.nbytes for state in states)
        about = session.about.model_copy(update={"tokens": session.state.read, "bytes": size})
        session = replace(session, about=about)
        signature = None
        if self._files is not None:
            self._files.write(session)
            signature = self._files.signature(about.key)
        self._keep(session, signature)
        if grown or self._now() - self._swept > _SWEEP_SECONDS:
            self._sweep(about.key)
        return about

    def _keep(self, session: Session, signature: Signature | None) -> None:
        """Hold a session in memory; others leave it for as long as there is no room."""
        with self._lock:
            self._forget(session.about.key)
            self._kept[session.about.key] = _Kept(session, signature)
            self._kept_bytes += session.about.bytes
            while self._files is not None and self._kept_bytes > self.most_memory_bytes and self._kept:
                self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_bytes -= kept.session.about.bytes

    def _drop(self, key: Key) -> None:
        """Remove a claimed session for good."""
        if self._files is not None:
            self._files.remove(key)
        with self._lock:
            self._forget(key)

    def _all(self) -> list[About]:
        if self._files is None:
            with self._lock:
                return [kept.session.about for kept in self._kept.values()]
        self._listed = self._files.listed(self._listed)
        return [about for _, about in self._listed.values()]

    def _sweep(self, spared: Key) -> None:
        """Remove what is too old, and what is too much; never what is in use, nor the `spared` one."""
        self._swept = self._now()
        left = sorted(self._all(), key=lambda about: about.used)
        for about in [about for about in left if self._is_old(about)]:
            self._push_out(about.key, spared)
            left.remove(about)
        counts, sizes = Counter[str](), Counter[str]()
        for about in left:
            counts[about.owner] += 1
            sizes[about.owner] += about.bytes
        while left:
            over = counts if len(left) > self.most else sizes
            if over is sizes and sizes.total() <= self.most_bytes:
                return
            largest = max(over, key=lambda owner: over[owner])
            about = next(about for about in left if about.owner == largest)
            self._push_out(about.key, spared)
            left.remove(about)
            counts[largest] -= 1
            sizes[largest] -= about.bytes

    def _push_out(self, key: Key, spared: Key) -> None:
        if key == spared:
            return
        try:
            self._claim(key)
        except SessionBusy:
            return
        try:
            self._drop(key)
        finally:
            self._release(key)


class Use:
    """One request's hold on a session. Close it, or use it as a context manager, whatever happens.

    A request that fails, or whose asker leaves, keeps nothing: the session is as it was before.
    """

    def __init__(self, store: SessionStore, about: About, session: Session | None):
        self._store = store
        self._about = about
        self._session = session
        self._lock = threading.Lock()
        self._closed = self._keeping = False

    @property
    def start(self) -> StreamState | None:
        """Where to go on from; None for a new session."""
        return None if self._session is None else self._session.state

    @property
    def about(self) -> About:
        """The session as it is, or will be."""
        return self._about

    def keep(self, state: StreamState, text: str) -> About:
        """Make this the session's state. Writes a file: call it beside the event loop.

        Args:
            state: after all that was read and made.
            text: what that was, to be counted.

        Raises:
            StorageError: the disk says no; the session is as it was.
        """
        with self._lock:
            assert not self._closed, "a use that is closed keeps nothing"
            self._keeping = True
        try:
            characters = self._about.characters + len(text)
            about = self._about.model_copy(update={"characters": characters, "used": self._store._now()})
            points = {} if self._session is None else self._session.points
            session = Session(about, state, points)
            self._about = self._store._save(session, grown=self._session is None)
            self._session = replace(session, about=self._about)
            return self._about
        finally:
            with self._lock:
                self._keeping = False
                if self._closed:  # the asker left while the file was written
                    self._store._release(self._about.key)

    def close(self) -> None:
        """Let others have the session; a second time does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if not self._keeping:
                self._store._release(self._about.key)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def checked_name(name: str, param: str) -> str:
    """Raises BadRequest: this cannot be the name of a session or point."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise BadRequest(
            "a name has up to 100 letters, digits and . _ -, and begins with a letter or digit",
            param=param,
            code="invalid_value",
        )
    return name


def _check_point(session: Session, point: str, param: str | None) -> PointAbout:
    if point not in session.points:
        raise UnknownPoint(point, session.points, param=param)
    return session.about.points[point]
