"""What stands between the sockets and the HTTP protocol: how many connections, how slow each may be, how it ends.

A connection waits until a request's head is here, and is busy until the answer is out. The guard, which sees
both, tells it; everything else goes through to uvicorn's protocol, whichever parser that has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, cast

from bowerbird.base.errors import BowerbirdError
from bowerbird.serving.bodies import told
from bowerbird.serving.errors import BadRequest, Crowded, TooSlow
from bowerbird.serving.limits import Limits

LINGER_SECONDS = 1.0
"""For so long a refused connection stays half open: closing with bytes unread would take back the answer."""
MOST_LINGERING = 512
GONE_SECONDS = 1.0
"""Who has closed his side is gone, unless the answer is out in this time: a short one for a hasty client."""
BACKLOG = 1024
"""Connections that the system accepts before we do."""
_SPARE_FILES = 256
"""Files the server needs beside its connections."""

Make = Callable[["Connection"], Any]
"""Makes uvicorn's protocol for a connection."""


class Connections:
    """All connections of a server. Used on its event loop's thread.

    Args:
        limits: `connections`, `head_seconds` and `write_seconds` of them count.
        most: connections at the same time.
        make: makes the HTTP protocol behind a connection.
    """

    def __init__(self, limits: Limits, most: int, make: Make):
        self.limits = limits
        self.most = most
        self.make = make
        self.open = 0
        """Those that were let in and are not closed."""
        self.made: set[Connection] = set()
        """All that are not closed, those that were not let in or have to go included."""
        self.lingering: set[Connection] = set()
        """Those that were told why they end, and have a moment to read it."""
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait

    def accept(self) -> Connection:
        """A protocol for one more connection."""
        return Connection(self)

    def let_in(self) -> bool:
        """Make room for one more, where need be by closing the one that has waited longest for a request.

        So a crowd that only connects keeps nobody out who asks.
        """
        if self.open >= self.most:
            longest = next(iter(self._waiting), None)
            if longest is None:
                return False
            longest.evict()
        self.open += 1
        return True

    def wait(self, connection: Connection) -> None:
        self._waiting[connection] = None

    def leave_waiting(self, connection: Connection) -> None:
        self._waiting.pop(connection, None)

    def close(self) -> None:
        """Close all at once: the server ends."""
        for connection in list(self.made):
            connection.abort()


class Connection(asyncio.Protocol):
    """One connection. What it is told by its transport goes on to the HTTP protocol, while there is one."""

    def __init__(self, all_of_them: Connections):
        self.answering = False
        self._all = all_of_them
        self._transport: asyncio.Transport
        self._http: Any = None
        self._counted = False
        self._requests = 0
        self._answered = 0
        """Requests answered before this one."""
        self._heard = False
        """Something came since it waits."""
        self._whole = True
        """What comes is no rest of a body whose request was answered without it."""
        self._waiting: asyncio.Handle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._leaving: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._all.made.add(self)
        if not self._all.let_in():
            self.end(Crowded())
            return
        self._counted = True
        self._http = self._all.make(self)
        self._http.send_400_response = self._malformed  # uvicorn's own is not JSON
        self._http.connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._http is not None:
            self._http.data_received(data)

    def eof_received(self) -> bool | None:
        if self._requests == 0 or self._http is None or self._transport.get_extra_info("sslcontext"):
            return None  # closes it
        self._leaving = _later(GONE_SECONDS, self._gone)
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._drop(error)
        for timer in (self._waiting, self._stalled, self._leaving):
            if timer is not None:
                timer.cancel()
        self._all.lingering.discard(self)
        self._all.made.discard(self)

    def pause_writing(self) -> None:
        self._stalled = _later(self._all.limits.write_seconds, self._transport.abort)
        if self._http is not None:
            self._http.pause_writing()

    def resume_writing(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
        if self._http is not None:
            self._http.resume_writing()

    def begun(self) -> None:
        """A request's head is here."""
        self._requests += 1
        self.answering = False
        self._stop_waiting()

    def ended(self, whole: bool) -> None:
        """A request has been answered; `whole`: all of its body was read."""
        self._requests -= 1
        self._answered += 1
        self._whole = whole
        if self._requests or self._http is None:
            return
        if self._leaving is not None:
            self._transport.close()
        else:
            self._wait()

    def evict(self) -> None:
        """Make room for another."""
        if self._answered:  # it is only kept for a next request: its client expects that it may close
            self._drop(None)
            self._transport.close()
        else:
            self.end(Crowded())

    def end(self, error: BowerbirdError) -> None:
        """Tell why, and close once the other side had time to read it."""
        self._drop(ConnectionAbortedError())
        if self in self._all.lingering:
            return
        if len(self._all.lingering) >= MOST_LINGERING:
            self._transport.abort()
            return
        self._transport.write(_response(error))
        try:
            if self._transport.can_write_eof():
                self._transport.write_eof()
        except OSError:  # nobody is there any more: our words were answered with a reset
            self._transport.abort()
            return
        if self._leaving is not None:
            self._leaving.cancel()
        self._all.lingering.add(self)
        self._leaving = _later(LINGER_SECONDS, self._transport.abort)

    def abort(self) -> None:
        """Close it now."""
        self._transport.abort()

    def _wait(self) -> None:
        self._heard = False
        self._all.wait(self)
        self._waiting = _later(self._all.limits.head_seconds, self._too_late)

    def _stop_waiting(self) -> None:
        self._all.leave_waiting(self)
        if self._waiting is not None:
            self._waiting.cancel()

    def _too_late(self) -> None:
        # On a busy loop a whole head may have come in this very turn; its request begins in the next one.
        self._waiting = asyncio.get_running_loop().call_soon(self._end_waiting)

    def _end_waiting(self) -> None:
        if self._heard and self._whole:
            seconds = self._all.limits.head_seconds
            self.end(TooSlow(f"no whole request arrived within {seconds:g} seconds"))
        else:
            self._drop(None)
            self._transport.close()

    def _gone(self) -> None:
        if self.answering:
            self._transport.close()
        else:
            what = "the connection was closed at your side before there was an answer"
            self.end(BadRequest(what, code="client_closed"))

    def _malformed(self, message: str) -> None:
        if self.answering and self._requests:  # it is too late for another answer
            self._drop(ConnectionAbortedError())
            self._transport.close()
        else:
            self.end(BadRequest("this is no HTTP request, or its head is too large", code="malformed_http"))

    def _drop(self, error: Exception | None) -> None:
        """No longer be counted; the HTTP protocol learns that nobody is there, and its app with it."""
        self._stop_waiting()
        if self._counted:
            self._counted = False
            self._all.open -= 1
        http, self._http = self._http, None
        if http is not None:
            http.connection_lost(error)


def _later(seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
    return asyncio.get_running_loop().call_later(seconds, call)


def _response(error: BowerbirdError) -> bytes:
    """The whole of an answer after which the connection is closed."""
    status, headers, content = told(error)
    head = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()]
    head += [name + b": " + value for name, value in [*headers, (b"connection", b"close")]]
    return b"\r\n".join([*head, b"", content])


def room_for(wanted: int) -> int:
    """So many connections as wanted, or as few as the open files of this process leave room for.

    The number of files that may be open is raised where the system allows it.
    """
    try:
        import resource
    except ImportError:  # not a POSIX system
        return wanted
    spare = BACKLOG + MOST_LINGERING + _SPARE_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    needed = wanted + spare if hard == resource.RLIM_INFINITY else min(wanted + spare, hard)
    if soft < needed:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
            soft = needed
    return min(wanted, max(soft - spare, soft // 2))
