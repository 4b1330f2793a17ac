"""Clients in numbers: streams that ask again and again, and what was going on in the server's memory meanwhile."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from serve_bench.client import Connection, Exchange, open_many
from serve_bench.server import Server

_LOOK_SECONDS = 0.1

Ask = Callable[[int, int], bytes]
"""(stream, round) -> a request, whole."""


@dataclass
class Driven:
    """What became of all requests."""

    exchanges: list[Exchange] = field(default_factory=list)
    began: float = 0.0
    seconds: float = 0.0
    """From the first request to the last byte, or to the limit."""
    peak_bytes: int = 0
    """Of the server's memory meanwhile."""
    client_seconds: float = 0.0
    """Of processor time that the clients took."""
    server_seconds: float = 0.0


CUT = "cut at the time limit"


async def drive(
    server: Server,
    ask: Ask,
    *,
    streams: int,
    seconds: float,
    most_seconds: float,
    connections: list[Connection] | None = None,
) -> Driven:
    """Have so many streams make requests, all beginning at once, each its next when its last is answered.

    Args:
        seconds: after which no stream begins another; each makes one at least.
        most_seconds: after which all hang up.
        connections: open ones to use, one a stream.

    A stream whose request fails makes no more.
    """
    open_ones = connections or await open_many(server.url, streams)
    driven = Driven()
    with quiet_memory():
        driven.began = time.perf_counter()
        used, of_server = time.process_time(), server.processor_seconds()

        async def stream(index: int) -> None:
            made, connection = 0, open_ones[index]
            while made == 0 or time.perf_counter() - driven.began < seconds:
                if not connection.is_open:
                    try:
                        connection = open_ones[index] = await Connection.open(server.url)
                    except OSError as error:
                        failed = f"no connection: {error}"
                        driven.exchanges.append(Exchange(time.perf_counter(), (index, made), failed=failed))
                        return
                exchange = await connection.ask(ask(index, made), (index, made))
                driven.exchanges.append(exchange)
                made += 1
                if exchange.failed or not exchange.pieces[0][1].startswith(b"HTTP/1.1 200"):
                    return

        looking = asyncio.create_task(look(server, driven))
        tasks = [asyncio.create_task(stream(index)) for index in range(streams)]
        _, unfinished = await asyncio.wait(tasks, timeout=most_seconds)
        driven.seconds = time.perf_counter() - driven.began
        if unfinished:
            for connection in open_ones:
                connection.leave(CUT)
        await asyncio.gather(*tasks)
        looking.cancel()
        driven.peak_bytes = max(driven.peak_bytes, server.resident())
        driven.client_seconds = time.process_time() - used
        driven.server_seconds = server.processor_seconds() - of_server
    for connection in open_ones:
        connection.leave()
    return driven


async def look(server: Server, driven: Driven) -> None:
    """Note the most memory that the server has, until it is cancelled."""
    while True:
        driven.peak_bytes = max(driven.peak_bytes, server.resident())
        await asyncio.sleep(_LOOK_SECONDS)


@contextmanager
def quiet_memory() -> Iterator[None]:
    """No collection of garbage in the clients, which only gather."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
