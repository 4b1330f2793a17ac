"""Puts the app on a port of this machine and takes it down politely."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import importlib.util
import os
import socket
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bowerbird.base.errors import BowerbirdError, MissingExtra, UsageError
from bowerbird.serving.connections import BACKLOG, Connection, Connections, room_for
from bowerbird.serving.guards import check_host
from bowerbird.serving.limits import LIMITS, Limits

if TYPE_CHECKING:
    from fastapi import FastAPI

    from bowerbird.serving.draining import DrainingServer

DRAIN_SECONDS = 10.0


def check_installed() -> None:
    """Raises `MissingExtra` where the packages that serve are not installed."""
    if not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn")):
        raise MissingExtra("serving", "serve")


def listen(host: str, port: int, *, keys: bool = False, option: str = "") -> socket.socket:
    """A bound socket. Port 0 takes any that is free; with `keys` the host may be any, `0.0.0.0` is all.

    Args:
        host: an address of this machine.
        port: a number.
        keys: only who has one may ask there, or at the server beside it.
        option: what stands before `host` and `port` in the options that errors name, as `metrics-`.

    Raises:
        UsageError: there is no such port.
        Refused: there are no keys, and the host is not this machine's own.
        BowerbirdError: the port is taken, or may not be used.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"there is no port {port}", hint="0 (any that is free) to 65535")
    check_host(host, keys=keys, option=f"--{option}host")
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":  # a port whose last connections are not forgotten yet may be taken again
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((address, port))
        # Before anything slow happens: from here on no other program can take the port.
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        what = {
            errno.EADDRINUSE: "this port is in use",
            errno.EACCES: "this port may not be used without more rights",
            errno.EADDRNOTAVAIL: "this machine has no such address",
        }.get(error.errno or 0, f"cannot listen here: {error.strerror}")
        raise BowerbirdError(
            what,
            where=f"{host}:{port}",
            hint=f"choose another with --{option}port; 0 takes any that is free",
        ) from error
    return bound


def url_of(bound: socket.socket, *, tls: bool = False) -> str:
    """`http://127.0.0.1:8000`."""
    host, port = bound.getsockname()[:2]
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if tls else 'http'}://{host}:{port}"


def run(
    app: FastAPI,
    bound: socket.socket,
    *,
    on_ready: Callable[[], None],
    drain_seconds: float = DRAIN_SECONDS,
    limits: Limits = LIMITS,
    tls: ssl.SSLContext | None = None,
    taken_at_once: int = BACKLOG,
) -> None:
    """Serve until Ctrl-C or SIGTERM; then answers under way get `drain_seconds`, a second Ctrl-C none.

    Args:
        on_ready: is called once all models are warm.
        taken_at_once: connections; few where several processes share the socket, so that each gets some.

    Raises:
        Exception: what a model raised when it was warmed.
    """
    server = make_server(
        app,
        bound,
        on_ready=on_ready,
        drain_seconds=drain_seconds,
        limits=limits,
        tls=tls,
        taken_at_once=taken_at_once,
    )
    with bound:
        server.run()
    if server.failure is not None:
        raise server.failure


def make_server(
    app: FastAPI,
    bound: socket.socket,
    *,
    on_ready: Callable[[], None] = lambda: None,
    drain_seconds: float = DRAIN_SECONDS,
    limits: Limits = LIMITS,
    tls: ssl.SSLContext | None = None,
    taken_at_once: int = BACKLOG,
) -> DrainingServer:
    """A server whose `run` does what the function `run` does; `should_exit = True` ends it from a thread."""
    import uvicorn

    from bowerbird.serving.draining import FAREWELL_SECONDS, DrainingServer

    class Server(DrainingServer):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup([])  # the sockets are ours: uvicorn would put nothing before its protocol
            self.servers.append(await self._accept())

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            loop = asyncio.get_running_loop()
            # Cut off, requests end by themselves; uvicorn would cancel them, and log each as a fault.
            cut = loop.call_later(0 if self.force_exit else FAREWELL_SECONDS, self.connections.close)
            await super().shutdown(sockets)
            cut.cancel()
            self.connections.close()
            if self.force_exit:  # which leaves out the end of the app: sessions are written then
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.lifespan.shutdown(), FAREWELL_SECONDS)
            await asyncio.sleep(0)  # for them to be closed before the loop is
            if self.server_state.tasks:
                await asyncio.wait(self.server_state.tasks, timeout=FAREWELL_SECONDS)

        async def _accept(self) -> asyncio.Server:
            loop = asyncio.get_running_loop()
            protocol: Any = config.http_protocol_class

            def make(connection: Connection) -> Any:
                state = {**self.lifespan.state, "connection": connection}
                return protocol(config=config, server_state=self.server_state, app_state=state, _loop=loop)

            self.connections = Connections(limits, room_for(limits.connections), make)
            server = await loop.create_server(
                self.connections.accept,
                sock=bound,
                backlog=taken_at_once,
                ssl=tls,
                ssl_handshake_timeout=limits.head_seconds if tls else None,
            )
            bound.listen(BACKLOG)  # asyncio has made the queue as short as what it takes in one go
            return server

    config = uvicorn.Config(
        app,
        http="h11",  # bounds the head of a request, which httptools does not
        log_config=None,  # the command line has set up logging
        log_level="error",  # of what strangers send wrong there is no end
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=FAREWELL_SECONDS + 1,
        proxy_headers=False,
    )
    return Server(config, app, on_ready, drain_seconds)
