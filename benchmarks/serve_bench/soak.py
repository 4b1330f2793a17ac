"""A long time at saturation, with askers who leave and requests that are wrong: memory stays, no slot is stuck."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median

from serve_bench.answers import read
from serve_bench.claims import Verdict, examples, megabytes
from serve_bench.client import Connection, post
from serve_bench.load import warm, why
from serve_bench.running import Bench, pinned
from serve_bench.server import Server, running
from serve_bench.trouble import TROUBLES

_LOOK_SECONDS = 10.0
_SETTLED_SECONDS = 60.0
"""After which memory may not grow any more."""
_SHARE, _BYTES = 0.01, 4e6
"""Of memory that pass as noise."""
_TROUBLED = 0.4
"""Of all requests that are no plain ones."""
_END_SECONDS = 60.0
_TEXTS = 97
"""Different requests: each has one right answer, kept from its first and looked for in all later ones."""


@dataclass
class Soaked:
    """What was seen."""

    memory: list[tuple[float, int]] = field(default_factory=list)
    """Seconds from the start, and the server's bytes."""
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    texts: dict[int, str] = field(default_factory=dict)
    tokens: int = 0
    used_slots: float | None = None
    """After all had left, as `/metrics` tells; None where it does not."""
    end_seconds: float = 0.0
    """That it then took to answer a request on every stream."""


def check(bench: Bench, size: str, streams: int, minutes: float) -> Verdict:
    """All streams ask as fast as they are answered."""
    model_id = bench.model_id(size)
    with pinned(bench.cores), running(bench.place, bench.command(size), f"soak-{size}") as server:
        soaked = asyncio.run(soak(bench, server, model_id, streams, 60 * minutes))
        alive = server.get("/health")[0]
        errors = server.log.read_text(encoding="utf-8", errors="replace").count("Traceback")
    verdict = Verdict("soak")
    judge_memory(verdict, soaked.memory)
    verdict.claim(
        "every answer is right, whoever leaves or errs beside it",
        not soaked.faults,
        f"{soaked.outcomes.total():,} requests, {soaked.tokens:,} tokens"
        + (f"; {len(soaked.faults):,} faults: {examples(soaked.faults)}" if soaked.faults else ""),
    )
    verdict.claim(
        "no slot is stuck",
        not soaked.used_slots and soaked.end_seconds < _END_SECONDS,
        f"{'no word of them' if soaked.used_slots is None else f'{soaked.used_slots:.0f} in use'} after all had left; "
        f"then {streams} answers in {soaked.end_seconds:.1f} s",
    )
    verdict.claim("the server is alive", alive == 200 and not errors, f"status {alive}, {errors} tracebacks")
    verdict.figures = {
        "minutes": minutes,
        "streams": streams,
        "size": size,
        "outcomes": dict(soaked.outcomes),
        "tokens": soaked.tokens,
        "memory": soaked.memory,
        "faults": soaked.faults[:20],
    }
    return verdict


def judge_memory(verdict: Verdict, memory: Sequence[tuple[float, int]]) -> None:
    """Whether the last third of what comes after the first minute is as the first third, but for noise."""
    settled = [size for seconds, size in memory if seconds >= min(_SETTLED_SECONDS, memory[-1][0] / 3)]
    third = max(len(settled) // 3, 1)
    first, last = median(settled[:third]), median(settled[-third:])
    verdict.claim(
        "memory does not grow after the first minute",
        last - first <= max(_SHARE * first, _BYTES),
        f"{megabytes(first)} then {megabytes(last)}, {len(settled)} looks",
    )


async def soak(bench: Bench, server: Server, model_id: str, streams: int, seconds: float) -> Soaked:
    await warm(bench, server, model_id, streams)
    found, began = Soaked(), time.perf_counter()

    async def watch() -> None:
        while True:
            found.memory.append((time.perf_counter() - began, server.resident()))
            await asyncio.sleep(min(_LOOK_SECONDS, seconds / 12))

    async def stream(index: int) -> None:
        dice, asker = random.Random(index), Asker(bench, server, model_id, found)
        while time.perf_counter() - began < seconds:
            if dice.random() < _TROUBLED:
                await asker.trouble(dice)
            else:
                await asker.plain(dice.randrange(_TEXTS))
        asker.leave()

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(stream(index) for index in range(streams)))
    watching.cancel()
    found.used_slots = await idle_slots(server)
    began_last = time.perf_counter()
    askers = [Asker(bench, server, model_id, found) for _ in range(streams)]
    ending = [asyncio.create_task(asker.plain(index % _TEXTS)) for index, asker in enumerate(askers)]
    await asyncio.wait(ending, timeout=_END_SECONDS)
    found.end_seconds = time.perf_counter() - began_last
    for asker in askers:
        asker.leave()
    await asyncio.gather(*ending)
    return found


async def idle_slots(server: Server) -> float | None:
    """Slots that are in use once nobody asks, given a moment to be let go."""
    used: float | None = None
    for _ in range(50):
        status, text = await asyncio.to_thread(server.get, "/metrics")
        used = slots_used(text) if status == 200 else None
        if not used:
            break
        await asyncio.sleep(0.1)
    return used


def slots_used(metrics: str) -> float | None:
    """The sum of `bowerbird_slots_used` in Prometheus' text; None where it is not told."""
    lines = [line for line in metrics.splitlines() if line.startswith("bowerbird_slots_used")]
    return sum(float(line.rpartition(" ")[2]) for line in lines) if lines else None


class Asker:
    """One who asks, on a connection that is made anew where it was lost."""

    def __init__(self, bench: Bench, server: Server, model_id: str, found: Soaked):
        self.bench = bench
        self.server = server
        self.model_id = model_id
        self.found = found
        self._connection: Connection | None = None

    async def connection(self) -> Connection:
        if self._connection is None or not self._connection.is_open:
            self._connection = await Connection.open(self.server.url)
        return self._connection

    def leave(self) -> None:
        if self._connection is not None:
            self._connection.leave()
            self._connection = None

    def body(self, seed: int) -> bytes:
        return post(self.server.url, "/v1/completions", self.bench.asked(self.model_id, seed))

    async def plain(self, seed: int) -> None:
        """A request whose answer is whole, and the same each time."""
        connection = await self.connection()
        exchange = await connection.ask(self.body(seed))
        answer = read(exchange)
        self.found.tokens += len(answer.text)
        if answer.status == 429:
            self.found.outcomes["told to come back"] += 1
            await asyncio.sleep(0.2)
        elif not answer.whole:
            self.found.faults.append(f"a plain request: {why(exchange.failed, answer)}")
        elif self.found.texts.setdefault(seed, answer.text) != answer.text:
            self.found.faults.append(f"seed {seed}: another text than before")
        else:
            self.found.outcomes["whole"] += 1

    async def trouble(self, dice: random.Random) -> None:
        """Something that goes wrong, in a way that the server must bear."""
        trouble = dice.choice(TROUBLES)
        connection = await self.connection()
        fault = await trouble(connection, self.server.url, self.body(dice.randrange(_TEXTS)), dice)
        self.found.outcomes[trouble.__name__.replace("_", " ")] += 1
        if fault:
            self.found.faults.append(f"{trouble.__name__}: {fault}")
