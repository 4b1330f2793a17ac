"""A session of a million characters goes on as fast and as small as one of a thousand, before and after a restart."""

from __future__ import annotations

import asyncio
import json
from statistics import median
from typing import Any

from serve_bench.answers import Answer, read
from serve_bench.claims import Verdict, megabytes
from serve_bench.client import Connection, Exchange, get, post
from serve_bench.load import why
from serve_bench.running import Bench, pinned
from serve_bench.server import Server, running
from workplace import Failed

SHORT, LONG, COPY = "bench-short", "bench-long", "bench-copy"
_SHORT_CHARACTERS = 1_000
_PART = 16_000
"""Characters that a request adds."""
_TURNS = 30
"""Requests that are timed, of each."""
_SLOWER = 1.1
"""Times the seconds a token of the short one that pass as noise."""
_BYTES = 4e6
"""Of memory that pass as noise."""


def check(bench: Bench, size: str, characters: int) -> Verdict:
    """Build both, time both, restart the server, time both again."""
    verdict = Verdict("long")
    model_id = bench.model_id(size)
    command = bench.command(size)
    with pinned(bench.cores):
        with running(bench.place, command, f"long-{size}-before") as server:
            talk = Talk(bench, server, model_id)
            for name in (SHORT, LONG, COPY):  # of a run that was stopped
                asyncio.run(talk.forget(name))
            asyncio.run(talk.fill({SHORT: _SHORT_CHARACTERS, LONG: characters}))
            before = talk.measured()
            asyncio.run(talk.forked(LONG, COPY))
            went_on = asyncio.run(talk.one(LONG, seed=5)).text
            server.terminate()
            code = server.wait()
        with running(bench.place, command, f"long-{size}-after") as server:
            talk = Talk(bench, server, model_id)
            after = talk.measured()
            again = asyncio.run(talk.one(COPY, seed=5)).text
            for name in (SHORT, LONG, COPY):
                asyncio.run(talk.forget(name))
    for told, found in (("before", before), ("after", after)):
        judge(verdict, told, found)
    verdict.claim("the server ends properly", code == 0, f"exit code {code}")
    verdict.claim(
        "after a restart the same request gives the same",
        again == went_on,
        f"{len(again)} characters compared",
    )
    verdict.figures = {"size": size, "characters": characters, "before": before, "after": after}
    return verdict


def judge(verdict: Verdict, told: str, found: dict[str, dict[str, Any]]) -> None:
    """Time, memory and state of the long session against the short one's."""
    short, long = found[SHORT], found[LONG]
    times = long["token_seconds"] / short["token_seconds"]
    verdict.claim(
        f"{told} the restart a long session takes no more time a token than a short one",
        times <= _SLOWER,
        f"{long['characters']:,} characters {1e6 * long['token_seconds']:.0f} us, "
        f"{short['characters']:,} {1e6 * short['token_seconds']:.0f} us; first token "
        f"{1000 * long['first_seconds']:.1f} and {1000 * short['first_seconds']:.1f} ms",
    )
    verdict.claim(
        f"{told} the restart its state is as large",
        long["bytes"] == short["bytes"],
        f"{long['bytes']:,} and {short['bytes']:,} bytes",
    )
    verdict.claim(
        f"{told} the restart going on with it takes no more memory",
        long["growth_bytes"] - short["growth_bytes"] <= _BYTES,
        f"{megabytes(long['growth_bytes'])} and {megabytes(short['growth_bytes'])} more after {_TURNS} requests",
    )


class Talk:
    """Requests that go on with sessions of a server."""

    def __init__(self, bench: Bench, server: Server, model_id: str):
        self.bench = bench
        self.server = server
        self.model_id = model_id

    async def ask(self, path: str, body: dict[str, Any]) -> tuple[Exchange, Answer]:
        connection = await Connection.open(self.server.url)
        try:
            exchange = await connection.ask(post(self.server.url, path, body))
        finally:
            connection.leave()
        answer = read(exchange)
        if answer.status != 200:
            raise Failed(f"{path}: {why(exchange.failed, answer)}", where=self.server.log)
        return exchange, answer

    async def fill(self, wanted: dict[str, int]) -> None:
        """Have each session read so many characters of the text, over and over."""
        text = self.bench.prompts_text
        for name, characters in wanted.items():
            for start in range(0, characters, _PART):
                place = start % max(len(text) - _PART, 1)
                part = text[place : place + min(_PART, characters - start)]
                await self.one(name, prompt=part, max_tokens=1, stream=False)

    async def one(self, name: str, *, seed: int = 1, prompt: str = "\n", **more: Any) -> Answer:
        """Go on with a session.

        Raises:
            Failed: it was refused, or did not end.
        """
        body = {**self.bench.asked(self.model_id, seed), "prompt": prompt, "session": name, **more}
        exchange, answer = await self.ask("/v1/completions", body)
        if not answer.whole:
            raise Failed(f"session {name}: {why(exchange.failed, answer)}", where=self.server.log)
        return answer

    async def forked(self, name: str, to: str) -> None:
        await self.ask(f"/v1/sessions/{name}/fork", {"to": to})

    async def forget(self, name: str) -> None:
        connection = await Connection.open(self.server.url)
        await connection.ask(get(self.server.url, f"/v1/sessions/{name}", "DELETE"))
        connection.leave()

    def measured(self) -> dict[str, dict[str, Any]]:
        """What going on costs, by session: seconds a token and to the first, bytes of its state and of the server."""
        asyncio.run(self.one(SHORT))  # what is made when it is first needed
        times: dict[str, list[float]] = {SHORT: [], LONG: []}
        firsts: dict[str, list[float]] = {SHORT: [], LONG: []}
        found: dict[str, dict[str, Any]] = {}
        for name in (SHORT, LONG):
            resident = self.server.resident()
            asyncio.run(self.turns(name, times[name], firsts[name]))
            found[name] = {"growth_bytes": self.server.resident() - resident}
        for name in (LONG, SHORT):  # in both orders, for the machine may be busier later
            asyncio.run(self.turns(name, times[name], firsts[name]))
        for name, one in found.items():
            told = json.loads(self.server.get(f"/v1/sessions/{name}")[1])
            one |= {key: told[key] for key in ("characters", "bytes")}
            one |= {"token_seconds": median(times[name]), "first_seconds": median(firsts[name])}
        return found

    async def turns(self, name: str, times: list[float], firsts: list[float]) -> None:
        for turn in range(_TURNS):
            answer = await self.one(name, seed=turn)
            pieces = [(seconds, len(text)) for seconds, text in answer.pieces if text]
            made = sum(size for _, size in pieces[1:])
            if made:
                times.append((pieces[-1][0] - pieces[0][0]) / made)
                firsts.append(pieces[0][0])
