"""One cell of the load bench: so many streams at one server for some seconds, and what their readers saw."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from serve_bench.answers import Answer, read
from serve_bench.client import Connection, post
from serve_bench.driving import CUT, Driven, drive
from serve_bench.running import Bench
from serve_bench.server import Server, running

_WARM_TOKENS, _WARM_STREAMS, _WARM_SECONDS = 16, 64, 60.0


@dataclass(frozen=True)
class Load:
    """A cell: what is measured."""

    size: str
    contestant: str
    streams: int
    repeat: int
    seconds: float
    """After which no stream begins another request."""
    most_seconds: float
    """After which those under way are cut."""

    def key(self, bench: Bench) -> dict[str, Any]:
        """All that a finished cell must agree with, so as not to be measured again."""
        return {**vars(self), **bench.settled}


def measure(bench: Bench, load: Load) -> dict[str, Any]:
    """Start the server, warm it, load it; returns the finished cell."""
    log = f"{load.size}-{load.contestant}-{load.streams}-{load.repeat}"
    model_id = bench.model_id(load.size)
    with running(bench.place, bench.command(load.size, load.contestant), log) as server:
        idle = server.resident()
        asyncio.run(warm(bench, server, model_id, load.streams))
        warm_bytes = server.resident()

        def ask(stream: int, made: int) -> bytes:
            seed = stream + made * load.streams
            return post(server.url, "/v1/completions", bench.asked(model_id, seed))

        driven = asyncio.run(
            drive(server, ask, streams=load.streams, seconds=load.seconds, most_seconds=load.most_seconds)
        )
        parameters = server.told.get("parameters") or bench.model(load.size)["parameters"]
    return {
        **load.key(bench),
        **seen(driven, load.most_seconds),
        "parameters": parameters,
        "start_seconds": server.start_seconds,
        "idle_bytes": idle,
        "warm_bytes": warm_bytes,
        "peak_bytes": driven.peak_bytes,
    }


async def warm(bench: Bench, server: Server, model_id: str, streams: int) -> None:
    """Have everything that is made when it is first needed made: a few short answers, alone and side by side."""

    def ask(stream: int, made: int) -> bytes:
        asked = bench.asked(model_id, 10**6 + stream, max_tokens=_WARM_TOKENS)
        return post(server.url, "/v1/completions", asked)

    for count in sorted({1, min(streams, _WARM_STREAMS)}):
        await drive(server, ask, streams=count, seconds=0.0, most_seconds=_WARM_SECONDS)


def seen(driven: Driven, most_seconds: float) -> dict[str, Any]:
    """Rates, times and failures of all requests. Times to the first token that were cut count as the limit."""
    answers = [(exchange, read(exchange)) for exchange in driven.exchanges]
    made = sum(len(answer.text) for _, answer in answers)
    cut = [answer for exchange, answer in answers if exchange.failed == CUT]
    failed = [
        (exchange, answer) for exchange, answer in answers if not answer.whole and exchange.failed != CUT
    ]
    firsts = [most_seconds if answer.first is None else answer.first for _, answer in answers]
    at_once = [
        most_seconds if answer.first is None else answer.first
        for exchange, answer in answers
        if exchange.label[1] == 0
    ]
    a_token, a_piece = gaps([answer for _, answer in answers])
    return {
        "tokens_per_second": made / driven.seconds,
        "tokens_made": made,
        "measured_seconds": driven.seconds,
        "requests": len(answers),
        "whole": sum(answer.whole for _, answer in answers),
        "cut": len(cut),
        "failed": len(failed),
        "failures": sorted({why(exchange.failed, answer) for exchange, answer in failed})[:5],
        "first_token_seconds": {str(share): percentile(firsts, share) for share in (50, 95, 99)},
        "first_token_at_once_seconds": {str(share): percentile(at_once, share) for share in (50, 95, 99)},
        "token_seconds": {str(share): weighted(a_token, share) for share in (50, 99)},
        "piece_seconds": {str(share): percentile(a_piece, share) for share in (50, 99)},
        "tokens_a_piece": made / max(sum(len(answer.pieces) for _, answer in answers), 1),
        "client_seconds": driven.client_seconds,
        "server_seconds": driven.server_seconds,
    }


def why(failed: str | None, answer: Answer) -> str:
    """What became of a request that was not answered whole."""
    told = answer.error["message"] if answer.error else failed or "it did not end"
    return f"{answer.status}: {told}"


def gaps(answers: Iterable[Answer]) -> tuple[list[tuple[float, int]], list[float]]:
    """Seconds a token with the tokens they hold for, and seconds between one piece and the next."""
    a_token: list[tuple[float, int]] = []
    a_piece: list[float] = []
    for answer in answers:
        pieces = [(seconds, len(text)) for seconds, text in answer.pieces if text]
        for (before, _), (after, size) in pairwise(pieces):
            a_token.append(((after - before) / size, size))
            a_piece.append(after - before)
    return a_token, a_piece


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value under which so many percent lie, by nearest rank; None of nothing."""
    return weighted([(value, 1) for value in values], share)


def weighted(values: Sequence[tuple[float, int]], share: float) -> float | None:
    """As `percentile`, of values with how often each counts."""
    ordered = sorted(values)
    rank = math.ceil(share / 100 * sum(count for _, count in ordered))
    for value, count in ordered:
        rank -= count
        if rank <= 0:
            return value
    return None


async def one_answer(url: str, request: bytes) -> Answer:
    """The answer to one request on a connection of its own."""
    connection = await Connection.open(url)
    try:
        return read(await connection.ask(request))
    finally:
        connection.leave()
