"""Sessions in memory, in front of their files where they have some: claimed one request at a time, and bounded."""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.serving.errors import SessionBusy
from bowerbird.serving.session_files import SessionFiles, Signature
from bowerbird.serving.session_record import About, Key, Session

_SWEEP_SECONDS = 60.0


class Bounds(Config):
    """How much is kept at all."""

    most: int = Field(1000, ge=1, le=1_000_000)
    """Sessions in all. Beyond it the one not used for longest goes, of the key that has most."""
    most_age_seconds: float = Field(7 * 86400.0, gt=0, le=1e10)
    """Seconds since it was used last after which a session goes."""
    most_bytes: int = Field(1 << 30, ge=1)
    """Bytes of all states; beyond it as beyond `most`."""
    most_memory_bytes: int = Field(64 << 20, ge=0)
    """Bytes of the states that are held in memory beside their files."""


BOUNDS = Bounds()


@dataclass(frozen=True)
class _Kept:
    """A session in memory, and the file it is the content of, if any."""

    session: Session
    signature: Signature | None


class SessionCache:
    """Loads and saves; who does either has claimed the session. Files that others changed are read anew.

    Args:
        files: where sessions are kept; None keeps them in memory only.
        bounds: beyond these, sessions go.
        now: seconds since 1970.
    """

    def __init__(self, files: SessionFiles | None, bounds: Bounds, now: Callable[[], float] = time.time):
        self.files = files
        self.bounds = bounds
        self.now = now
        self._lock = threading.Lock()
        self._busy: set[Key] = set()
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._kept_bytes = 0
        self._listed: dict[Path, tuple[Signature, About]] = {}
        self._swept = now()

    def claim(self, key: Key) -> None:
        """Take a session until `release`.

        Raises:
            SessionBusy: it is taken.
        """
        with self._lock:
            if key in self._busy or not (self.files is None or self.files.claim(key)):
                raise SessionBusy(key[1])
            self._busy.add(key)

    def release(self, key: Key) -> None:
        with self._lock:
            self._busy.discard(key)
            if self.files is not None:
                self.files.release(key)

    @contextmanager
    def claimed(self, key: Key) -> Iterator[None]:
        """Raises SessionBusy."""
        self.claim(key)
        try:
            yield
        finally:
            self.release(key)

    def is_there(self, key: Key) -> bool:
        """Whether there is such a session, be it damaged."""
        if self.files is not None:
            return self.files.signature(key) is not None
        with self._lock:
            return key in self._kept

    def about(self, key: Key) -> About | None:
        """None: there is no such session, or it has not been used for too long."""
        session = self._fresh(key)
        if session is not None:
            return self._unless_old(session.about)
        return self._unless_old(self.files.about(key) if self.files is not None else None)

    def load(self, key: Key) -> Session | None:
        """A claimed session; None as `about`. Raises CorruptFile."""
        session = self._fresh(key)
        if session is None and self.files is not None:
            signature = self.files.signature(key)
            if signature is not None:
                session = self.files.read(key)
                self._keep(session, signature)
        return session if session is not None and self._unless_old(session.about) else None

    def save(self, session: Session, *, grown: bool) -> None:
        """Put a claimed session where it is kept; one that has `grown` may push out others.

        Raises:
            StorageError: the disk says no; what was there before is unharmed.
        """
        key, signature = session.about.key, None
        if self.files is not None:
            self.files.write(session)
            signature = self.files.signature(key)
        self._keep(session, signature)
        if grown or self.now() - self._swept > _SWEEP_SECONDS:
            self._sweep(key)

    def drop(self, key: Key) -> None:
        """Remove a claimed session for good."""
        if self.files is not None:
            self.files.remove(key)
        with self._lock:
            self._forget(key)

    def abouts(self) -> list[About]:
        """Of all sessions that are not too old, those used last at the end."""
        return [about for about in self._all() if self._unless_old(about)]

    def _all(self) -> list[About]:
        if self.files is None:
            with self._lock:
                found = [kept.session.about for kept in self._kept.values()]
        else:
            self._listed = self.files.listed(self._listed)
            found = [about for _, about in self._listed.values()]
        return sorted(found, key=lambda about: (about.used, about.key))

    def _unless_old(self, about: About | None) -> About | None:
        if about is None or self.now() - about.used > self.bounds.most_age_seconds:
            return None
        return about

    def _fresh(self, key: Key) -> Session | None:
        """The session if it is in memory, as its file is now."""
        signature = self.files.signature(key) if self.files is not None else None
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.signature != signature:
                return None
            self._kept.move_to_end(key)
            return kept.session

    def _keep(self, session: Session, signature: Signature | None) -> None:
        """Hold a session in memory; where there are files, others leave it for as long as there is no room."""
        with self._lock:
            self._forget(session.about.key)
            self._kept[session.about.key] = _Kept(session, signature)
            self._kept_bytes += session.about.bytes
            if self.files is not None:
                while self._kept_bytes > self.bounds.most_memory_bytes:
                    self._forget(next(iter(self._kept)))

    def _forget(self, key: Key) -> None:
        kept = self._kept.pop(key, None)
        if kept is not None:
            self._kept_bytes -= kept.session.about.bytes

    def _sweep(self, spared: Key) -> None:
        """Remove what is too old, and what is too much; never what is in use, nor the `spared` one."""
        self._swept = self.now()
        found = self._all()
        new = [about for about in found if self._unless_old(about)]
        old = [about.key for about in found if not self._unless_old(about)]
        for key in [*old, *too_much(new, self.bounds)]:
            if key == spared:
                continue
            try:
                with self.claimed(key):
                    self.drop(key)
            except SessionBusy:
                continue


def too_much(abouts: Iterable[About], bounds: Bounds) -> list[Key]:
    """What has to go, of sessions in the order of their last use.

    It is the one not used for longest of the owner who has most, so that nobody pushes out another's.
    """
    left = list(abouts)
    counts, sizes = Counter[str](), Counter[str]()
    for about in left:
        counts[about.owner] += 1
        sizes[about.owner] += about.bytes
    gone: list[Key] = []
    while len(left) > bounds.most or sizes.total() > bounds.most_bytes:
        had = counts if len(left) > bounds.most else sizes
        largest = max(had, key=lambda owner: had[owner])
        about = next(about for about in left if about.owner == largest)
        left.remove(about)
        gone.append(about.key)
        counts[largest] -= 1
        sizes[largest] -= about.bytes
    return gone
