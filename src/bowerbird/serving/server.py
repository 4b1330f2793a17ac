"""Puts the app on a port of this machine and takes it down politely."""

from __future__ import annotations

import errno
import importlib.util
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from bowerbird.base.errors import BowerbirdError, MissingExtra, UsageError
from bowerbird.serving.guards import check_host

if TYPE_CHECKING:
    from fastapi import FastAPI

DRAIN_SECONDS = 10.0
BACKLOG = 2048
"""Connections that may wait to be taken."""


def check_installed() -> None:
    """Raises `MissingExtra` where the packages that serve are not installed."""
    if not all(importlib.util.find_spec(name) for name in ("fastapi", "uvicorn")):
        raise MissingExtra("serving", "serve")


def listen(host: str, port: int) -> socket.socket:
    """A bound socket. Port 0 takes any that is free.

    Raises:
        UsageError: there is no such port.
        Refused: the host is not this machine's own.
        BowerbirdError: the port is taken, or may not be used.
    """
    if not 0 <= port <= 65535:
        raise UsageError(f"there is no port {port}", hint="0 (any that is free) to 65535")
    check_host(host)
    address = "127.0.0.1" if host == "localhost" else host
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
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
            what, where=f"{host}:{port}", hint="choose another: --port 8001, or --port 0 for any that is free"
        ) from error
    return bound


def url_of(bound: socket.socket) -> str:
    """`http://127.0.0.1:8000`."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(
    app: FastAPI,
    bound: socket.socket,
    *,
    on_ready: Callable[[], None],
    drain_seconds: float = DRAIN_SECONDS,
    backlog: int = BACKLOG,
) -> None:
    """Serve until Ctrl-C or SIGTERM; then answers under way get `drain_seconds`, a second Ctrl-C none.

    Args:
        on_ready: is called once all models are warm.
        backlog: connections taken in one go: few where several processes share the socket, so that each gets some.

    Raises:
        Exception: what a model raised when it was warmed.
    """
    import uvicorn

    from bowerbird.serving.draining import FAREWELL_SECONDS, DrainingServer

    config = uvicorn.Config(
        app,
        log_config=None,  # the command line has set up logging
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_graceful_shutdown=FAREWELL_SECONDS,
        proxy_headers=False,
        backlog=backlog,
    )
    server = DrainingServer(config, app, on_ready, drain_seconds)
    with bound:
        server.run(sockets=[bound])
    if server.failure is not None:
        raise server.failure
