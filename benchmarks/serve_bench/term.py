"""`kill -TERM` under load: every stream that runs ends properly, and then the server."""

from __future__ import annotations

import asyncio
import time

from serve_bench.answers import Answer, read
from serve_bench.claims import Verdict, examples
from serve_bench.client import Connection, Exchange, open_many, post
from serve_bench.driving import CUT
from serve_bench.load import warm, why
from serve_bench.running import Bench, pinned
from serve_bench.server import Server, running

_MOST_SECONDS = 60.0


def check(bench: Bench, size: str, streams: int) -> Verdict:
    """All streams have begun when the signal comes."""
    with pinned(bench.cores), running(bench.place, bench.command(size), f"term-{size}") as server:
        model_id = bench.model_id(size)
        exchanges, late, ready = asyncio.run(interrupted(bench, server, model_id, streams))
        code = server.wait()
        errors = server.log.read_text(encoding="utf-8", errors="replace").count("Traceback")
    answers = [(exchange, read(exchange)) for exchange in exchanges]
    bad = [why(exchange.failed, answer) for exchange, answer in answers if not answer.whole]
    expected = bench.alone(bench.served(size), {exchange.label: bench.tokens for exchange in exchanges})
    wrong = sum(answer.whole and answer.text != expected[exchange.label] for exchange, answer in answers)
    verdict = Verdict("term", figures={"streams": streams, "size": size, "exit_code": code})
    verdict.claim(
        "every stream that ran ends with its last token and [DONE]",
        not bad,
        f"{len(answers) - len(bad):,} of {len(answers):,}" + (f"; {examples(bad)}" if bad else ""),
    )
    verdict.claim(
        "with the text it would have had", not wrong, f"{len(answers) - wrong:,} of {len(answers):,}"
    )
    verdict.claim(
        "new requests are refused meanwhile", refused(late), f"status {late.status or 'none: not connected'}"
    )
    verdict.claim(
        "it is not ready any more at once", ready != 200, f"status {ready or 'none: not connected'}"
    )
    verdict.claim(
        "exit code 0, no traceback", code == 0 and not errors, f"exit code {code}, {errors} tracebacks"
    )
    return verdict


def refused(late: Answer) -> bool:
    return late.status in (0, 503)


async def interrupted(
    bench: Bench, server: Server, model_id: str, streams: int
) -> tuple[list[Exchange], Answer, int]:
    """All exchanges, what a request got that came after the signal, and the status of `/ready` then."""
    await warm(bench, server, model_id, min(streams, 8))
    connections = await open_many(server.url, streams)
    probe = await Connection.open(server.url)
    tasks = [
        connection.ask(post(server.url, "/v1/completions", bench.asked(model_id, seed)), seed)
        for seed, connection in enumerate(connections)
    ]
    until = time.perf_counter() + _MOST_SECONDS
    while not all(connection.begun for connection in connections) and time.perf_counter() < until:
        await asyncio.sleep(0.002)
    server.terminate()
    await asyncio.sleep(0.1)
    ready = (await asyncio.to_thread(server.get, "/ready"))[0]
    late = await after(server, probe, post(server.url, "/v1/completions", bench.asked(model_id, 0)))
    await asyncio.wait(tasks, timeout=_MOST_SECONDS)
    for connection in connections:
        connection.leave(CUT)
    return list(await asyncio.gather(*tasks)), late, ready


async def after(server: Server, probe: Connection, request: bytes) -> Answer:
    """On a connection that was open before the signal, if it still is."""
    if not probe.is_open:
        return Answer()
    exchange = await probe.ask(request)
    probe.leave()
    return read(exchange)
