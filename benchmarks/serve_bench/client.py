"""A lean HTTP/1.1 client on asyncio: it keeps what arrives and when, and reads none of it while the clock runs.

It shares a core with the server that it measures, so that all it does for a piece is to note its time.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

_LAST_CHUNK = b"\r\n0\r\n\r\n"
"""How an answer in chunks ends. Nothing that these servers say has a carriage return in it: JSON writes `\\r`."""
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTING = 64
"""Connections opened side by side."""


@dataclass(slots=True)
class Exchange:
    """A request and all that came back, with times of `time.perf_counter`."""

    sent: float
    label: Any = None
    """Whatever tells its asker which request it was."""
    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    ended: float | None = None
    """When its last byte came; None while it runs, and where it did not end well."""
    failed: str | None = None
    """Why there is no whole answer."""


class Connection(asyncio.Protocol):
    """One connection, kept open for one request after another."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._done: asyncio.Future[Exchange] | None = None
        self._head: bytes | None = b""
        """What came of the answer's head; None once it is whole."""
        self._left: int | None = None
        """Bytes of the body still to come; None where it comes in chunks."""
        self._tail = b""

    @classmethod
    async def open(cls, url: str) -> Connection:
        """Connected to the server of this URL.

        Raises:
            OSError: it does not answer.
        """
        at = urlsplit(url)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, at.hostname, at.port)
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def begun(self) -> bool:
        """Whether something of the answer to the last request has come."""
        return self._exchange is None or bool(self._exchange.pieces)

    def ask(self, request: bytes, label: Any = None) -> asyncio.Future[Exchange]:
        """Send a request; the future has its exchange when the answer is whole or cannot become so."""
        assert self._exchange is None, "one request at a time"
        self._done = asyncio.get_running_loop().create_future()
        self._head, self._left, self._tail = b"", None, b""
        self._exchange = Exchange(time.perf_counter(), label)
        if self._transport is None or self._transport.is_closing():
            self._end("the connection is closed")
        else:
            self._transport.write(request)
        return self._done

    def send(self, data: bytes) -> None:
        """Bytes as they are, of no request that is waited for."""
        if self._transport is not None:
            self._transport.write(data)

    def end_sending(self) -> None:
        """Say that nothing more is sent, and go on reading."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()

    def leave(self, why: str = "the client left") -> None:
        """Hang up at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()
        self._end(why)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        exchange.pieces.append((time.perf_counter(), data))
        if self._head is not None:
            self._head += data
            head, found, body = self._head.partition(b"\r\n\r\n")
            if not found:
                return
            self._head = None
            length = _LENGTH.search(head)
            self._left = int(length[1]) if length else None
            data = found + body
            if self._left is not None:
                self._left += len(found)
        if self._left is not None:
            self._left -= len(data)
            if self._left <= 0:
                self._end(None)
            return
        tail = data[-7:] if len(data) >= 7 else (self._tail + data)[-7:]
        self._tail = tail
        if tail == _LAST_CHUNK:
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(f"the connection was lost{f': {error}' if error else ''}")

    def _end(self, failed: str | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is None:
            return
        exchange.failed = failed
        if failed is None:
            exchange.ended = exchange.pieces[-1][0]
        if self._done is not None and not self._done.done():
            self._done.set_result(exchange)


async def open_many(url: str, count: int) -> list[Connection]:
    """So many connections, opened a few at a time."""
    opened: list[Connection] = []
    for first in range(0, count, _CONNECTING):
        some = range(first, min(first + _CONNECTING, count))
        opened += await asyncio.gather(*(Connection.open(url) for _ in some))
    return opened


def post(url: str, path: str, body: Mapping[str, Any] | bytes) -> bytes:
    """A POST request, whole."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return (
        _head("POST", url, path, f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n")
        + content
    )


def get(url: str, path: str, method: str = "GET") -> bytes:
    """A request without a body."""
    return _head(method, url, path, "")


def _head(method: str, url: str, path: str, more: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: {urlsplit(url).netloc}\r\n{more}\r\n".encode()
