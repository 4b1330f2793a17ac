"""A uvicorn server that tells when its models are warm, and lets answers end before it does.

Imports uvicorn at its top: `server.run` imports it, once it is known to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from bowerbird.serving.exchange import Exchange

if TYPE_CHECKING:
    from fastapi import FastAPI

_LAST_WORDS_SECONDS = 1.0
"""After the time to drain, for answers to be read that the engine has ended."""
FAREWELL_SECONDS = 2
"""After that, for requests that came while the others ended."""


class DrainingServer(uvicorn.Server):
    """At SIGTERM or Ctrl-C the engine takes in no more: new requests and `/ready` are answered with 503, on a
    port that stays open, until those under way have ended or `drain_seconds` are over. A second Ctrl-C waits
    for nothing.

    Args:
        config: for the same app.
        app: made by `create_app`.
        on_ready: is called once its models are warm.
        drain_seconds: what answers under way are given to end.
    """

    def __init__(
        self, config: uvicorn.Config, app: FastAPI, on_ready: Callable[[], None], drain_seconds: float
    ):
        super().__init__(config)
        self.failure: Exception | None = None
        """What a model raised when it was warmed, or `on_ready` did: the server has ended by it."""
        self._app = app
        self._on_ready = on_ready
        self._drain_seconds = drain_seconds
        self._under_way: frozenset[Exchange] | None = None
        """Once it is to stop: the requests that may still end."""
        self._leave_at = 0.0
        self._telling: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._telling = asyncio.create_task(self._tell_when_warm())

    async def on_tick(self, counter: int) -> bool:
        leave = await super().on_tick(counter)
        if not self.should_exit or self.force_exit:
            return leave
        running = self._app.state.exchanges.running
        if self._under_way is None:
            self._app.state.engine.stop(self._drain_seconds)
            self._under_way = frozenset(running)
            self._leave_at = time.monotonic() + self._drain_seconds + _LAST_WORDS_SECONDS
        return self._under_way.isdisjoint(running) or time.monotonic() > self._leave_at

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._telling is not None:
            self._telling.cancel()
        self._app.state.engine.stop(self._drain_seconds)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        # uvicorn's own raises the signal again when all is done, so that a polite end looks like a kill.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self._ask_to_stop) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask_to_stop(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit and number == signal.SIGINT
        self.should_exit = True

    async def _tell_when_warm(self) -> None:
        try:
            await self._app.state.warming.done()
            if not self.should_exit:
                self._on_ready()
        except Exception as error:
            self.failure, self.should_exit = error, True
