"""Moving `live` under load: nobody is dropped, old requests end on the old model, new ones begin on the new."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_bench.answers import Answer, read
from serve_bench.claims import Verdict, examples
from serve_bench.client import Connection, Exchange, open_many, post
from serve_bench.driving import CUT, quiet_memory
from serve_bench.load import warm, why
from serve_bench.running import Bench, pinned
from serve_bench.server import Server, ours, running

NAME = "bench-swap"
_BEFORE_SECONDS, _AFTER_SECONDS, _MOST_SECONDS = 2.0, 3.0, 60.0
"""Of load before the alias moves and after the new model's first answer, and that may pass in between."""
_SLACK_SECONDS = 0.25
"""Requests sent so close to each other may be taken in the other order."""
_MOST_COMPARED = 600
"""Answers of each model that are made again alone."""


@dataclass
class Swapped:
    """What happened."""

    asked: float = 0.0
    """When the alias began to move."""
    moved: float = 0.0
    """When it had."""
    exchanges: list[Exchange] = field(default_factory=list)
    """Each with its seed as label."""


def check(bench: Bench, size: str, streams: int) -> Verdict:
    """Two models that learnt from different seeds; the second becomes `live` while the first is busy."""
    versions = [published(bench, size, seed) for seed in (1, 2)]
    old, new = (f"{NAME}@{version['version']}" for version in versions)
    prints = [f"bb_{version['digest'].rpartition(':')[2][:12]}" for version in versions]
    bench.bowerbird("swap-first", "promote", old, "--alias", "live")
    command = ours([f"{NAME}@live"], bench.options)
    with pinned(bench.cores), running(bench.place, command, f"swap-{size}") as server:
        swapped = asyncio.run(under_load(bench, server, streams, new, prints[1]))
    answers = [(exchange, read(exchange)) for exchange in swapped.exchanges]
    verdict = Verdict("swap")
    judge(verdict, answers, prints, swapped)
    for reference, one in zip((old, new), prints, strict=True):
        compare(bench, verdict, answers, reference, one)
    verdict.figures |= {"streams": streams, "size": size, "requests": len(answers)}
    return verdict


def published(bench: Bench, size: str, seed: int) -> dict[str, Any]:
    """A model as a version of the name; its `version` and `digest`."""
    return bench.bowerbird(f"swap-publish-{seed}", "publish", str(bench.model(size, seed)["run"]), NAME)


def length_of(bench: Bench, seed: int) -> int:
    """Half to one and a half times as many tokens as others make, so that streams do not march in step."""
    return bench.tokens // 2 + seed * 37 % bench.tokens


async def under_load(bench: Bench, server: Server, streams: int, version: str, new: str) -> Swapped:
    """Streams that ask again and again while the alias moves to a version, whose fingerprint is `new`."""
    model_id = f"{NAME}@live"
    await warm(bench, server, model_id, min(streams, 8))
    connections = await open_many(server.url, streams)
    found, ending, seen = Swapped(), asyncio.Event(), asyncio.Event()

    async def stream(index: int, connection: Connection) -> None:
        seed = index
        while not ending.is_set():
            body = bench.asked(model_id, seed, max_tokens=length_of(bench, seed))
            exchange = await connection.ask(post(server.url, "/v1/completions", body), seed)
            found.exchanges.append(exchange)
            if exchange.failed:
                return
            if not seen.is_set() and new.encode() in b"".join(data for _, data in exchange.pieces[:2]):
                seen.set()
            seed += streams

    with quiet_memory():
        tasks = [asyncio.create_task(stream(index, one)) for index, one in enumerate(connections)]
        await asyncio.sleep(_BEFORE_SECONDS)
        found.asked = time.perf_counter()
        promoting = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bowerbird", "promote", version, "--alias", "live", "--quiet"),
            env=bench.place.environment,
            stdout=asyncio.subprocess.DEVNULL,
        )
        await promoting.wait()
        found.moved = time.perf_counter()
        try:
            await asyncio.wait_for(seen.wait(), _MOST_SECONDS)
        except TimeoutError:
            ending.set()
        await asyncio.sleep(0.0 if ending.is_set() else _AFTER_SECONDS)
        ending.set()
        await asyncio.wait(tasks, timeout=_MOST_SECONDS)
        for connection in connections:
            connection.leave(CUT)
        await asyncio.gather(*tasks)
    return found


Answers = Sequence[tuple[Exchange, Answer]]


def judge(verdict: Verdict, answers: Answers, prints: Sequence[str], swapped: Swapped) -> None:
    """Whether none was dropped or mixed, and whether old and new came in their order.

    Args:
        prints: the fingerprints of the old model and of the new.
    """
    by_old, by_new = ([pair for pair in answers if pair[1].fingerprints == {one}] for one in prints)
    dropped = [why(exchange.failed, answer) for exchange, answer in answers if not answer.whole]
    verdict.claim(
        "no request is dropped",
        not dropped,
        f"{len(answers) - len(dropped):,} of {len(answers):,} whole"
        + (f"; {examples(dropped)}" if dropped else ""),
    )
    apart = len(by_old) + len(by_new)
    verdict.claim(
        "each is answered by one model, the old or the new",
        apart == len(answers),
        f"{len(by_old):,} by the old, {len(by_new):,} by the new, {len(answers) - apart} by neither or both",
    )
    early = [1 for exchange, _ in by_new if exchange.sent < swapped.asked]
    first_new = min((exchange.sent for exchange, _ in by_new), default=None)
    if first_new is None:
        verdict.claim("new requests begin on the new model", False, "none did")
        return
    across = [1 for exchange, _ in by_old if exchange.sent < first_new < (exchange.ended or 0.0)]
    late = [1 for exchange, _ in by_old if exchange.sent > first_new + _SLACK_SECONDS]
    verdict.claim(
        "those running when the new model takes over end on the old",
        bool(across) and not early,
        f"{len(across)} did; {len(early)} sent before the alias moved were given to the new",
    )
    verdict.claim(
        "new requests begin on the new model",
        not late,
        f"the first {first_new - swapped.moved:.2f} s after the alias had moved; {len(late)} on the old after that",
    )
    verdict.figures |= {"seconds_to_new": first_new - swapped.moved, "across": len(across)}


def compare(bench: Bench, verdict: Verdict, answers: Answers, reference: str, one: str) -> None:
    """Whether the answers with this fingerprint are what the model gives alone."""
    some = [(exchange.label, answer.text) for exchange, answer in answers if answer.fingerprints == {one}]
    some = some[-_MOST_COMPARED:]
    expected = bench.alone(reference, {seed: length_of(bench, seed) for seed, _ in some})
    wrong = sum(text != expected[seed] for seed, text in some)
    verdict.claim(
        f"answers of {reference} are what it gives alone",
        not wrong,
        f"{len(some) - wrong:,} of {len(some):,}",
    )
