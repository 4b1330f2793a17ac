"""Many streams at once: all complete, each is what its seed gives alone, and memory grows by their states."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from serve_bench.answers import read
from serve_bench.claims import Verdict, examples, megabytes
from serve_bench.client import Connection, get, open_many, post
from serve_bench.driving import Driven, drive
from serve_bench.load import seen, warm, why
from serve_bench.running import Bench, pinned
from serve_bench.server import Server, running

_MOST_SECONDS = 300.0
_MOST_SLOTS = 1024
"""That a server has."""
_CONNECTION_BYTES = 48 << 10
"""Of a stream beside its state: its request, its reader, and text that waits to be sent."""


def check(bench: Bench, size: str, streams: int) -> Verdict:
    """All streams at once, each one request."""
    model_id = bench.model_id(size)
    expected = bench.alone(bench.served(size), dict.fromkeys(range(streams), bench.tokens))
    state_bytes = bench.state_bytes(size)
    command = bench.command(size, options=("--slots", str(min(streams, _MOST_SLOTS))))
    with pinned(bench.cores), running(bench.place, command, f"exact-{size}") as server:
        idle, connected, driven = asyncio.run(everyone(bench, server, model_id, streams))
    verdict = Verdict("exact")
    verdict.figures = {
        **seen(driven, _MOST_SECONDS),
        "streams": streams,
        "size": size,
        "idle_bytes": idle,
        "connected_bytes": connected,
        "peak_bytes": driven.peak_bytes,
        "state_bytes": state_bytes,
    }
    judge_answers(verdict, driven, expected, bench.tokens)
    growth = (driven.peak_bytes - connected) / streams
    verdict.claim(
        f"memory grows by the states ({state_bytes / 1024:.1f} KiB a stream) and little more",
        growth <= state_bytes + _CONNECTION_BYTES,
        f"{growth / 1024:.1f} KiB a stream; {megabytes(idle)} idle, {megabytes(connected)} with all connected, "
        f"{megabytes(driven.peak_bytes)} at most",
    )
    first = verdict.figures["first_token_seconds"]
    told = ", ".join(f"p{share} {1000 * seconds:,.0f} ms" for share, seconds in first.items())
    verdict.notes.append(
        f"time to the first token: {told}; {verdict.figures['tokens_per_second']:,.0f} tokens/s"
    )
    return verdict


async def everyone(bench: Bench, server: Server, model_id: str, streams: int) -> tuple[int, int, Driven]:
    """Memory of the warm server, memory when all are connected, and what became of all requests."""
    await warm(bench, server, model_id, 1)
    idle = server.resident()
    connections = await open_many(server.url, streams)
    await said_hello(server.url, connections)
    connected = server.resident()

    def ask(stream: int, made: int) -> bytes:
        return post(server.url, "/v1/completions", bench.asked(model_id, stream))

    driven = await drive(
        server, ask, streams=streams, seconds=0.0, most_seconds=_MOST_SECONDS, connections=connections
    )
    return idle, connected, driven


async def said_hello(url: str, connections: Sequence[Connection]) -> None:
    """A small request on each, so that the server has all of its memory of a connection."""
    await asyncio.gather(*(connection.ask(get(url, "/v1/models")) for connection in connections))


def judge_answers(verdict: Verdict, driven: Driven, expected: Mapping[int, str], tokens: int) -> None:
    """Whether all came whole, and each as it is alone."""
    answers: dict[int, Any] = {exchange.label[0]: read(exchange) for exchange in driven.exchanges}
    failed = [
        f"stream {exchange.label[0]}: {why(exchange.failed, answers[exchange.label[0]])}"
        for exchange in driven.exchanges
        if not answers[exchange.label[0]].whole
    ]
    lengths = [len(answer.text) for answer in answers.values()]
    wrong = [
        f"stream {stream}: {answers[stream].text[:40]!r} instead of {text[:40]!r}"
        for stream, text in expected.items()
        if answers[stream].whole and answers[stream].text != text
    ]
    count = len(expected)
    verdict.claim(
        f"{count:,} streams at once of up to {tokens} tokens: all complete",
        not failed,
        f"{count - len(failed):,} complete, {sum(lengths):,} tokens"
        + (f"; {examples(failed)}" if failed else ""),
    )
    verdict.claim(
        "each equals what its seed gives alone",
        not wrong,
        f"{count - len(failed) - len(wrong):,} equal" + (f"; {examples(wrong)}" if wrong else ""),
    )
