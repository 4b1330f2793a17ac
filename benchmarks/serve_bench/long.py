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
_START = "start"
"""The point that every timed request goes on from."""
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
        """Have each session read so many characters of the text, over and over, and name the place.

        The last thousand are the same, so that a model that looks for what was just said finds as much in each.
        """
        text = self.bench.prompts_text
        for name, characters in wanted.items():
            for start in range(0, characters - _SHORT_CHARACTERS, _PART):
                place = start % max(len(text) - _PART, 1)
                size = min(_PART, characters - _SHORT_CHARACTERS - start)
                await self.one(name, prompt=text[place : place + size], max_tokens=1, stream=False)
            await self.one(name, prompt=text[:_SHORT_CHARACTERS], max_tokens=1, stream=False)
            await self.ask(f"/v1/sessions/{name}/points", {"name": _START})

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
        found: dict[str, dict[str, Any]] = {}
        asyncio.run(self.turn(SHORT, 0))  # what is made when it is first needed
        for name in (SHORT, LONG):
            resident = self.server.resident()
            for seed in range(_TURNS):
                asyncio.run(self.turn(name, seed))
            told = json.loads(self.server.get(f"/v1/sessions/{name}")[1])
            found[name] = {"growth_bytes": self.server.resident() - resident, "bytes": told["bytes"]}
        times: dict[str, list[tuple[float, float]]] = {SHORT: [], LONG: []}
        for seed in range(_TURNS):
            for name in (SHORT, LONG):  # taking turns, for the machine may be busier later
                times[name].append(asyncio.run(self.turn(name, seed)))
        for name, one in found.items():
            asyncio.run(self.rewound(name))
            told = json.loads(self.server.get(f"/v1/sessions/{name}")[1])
            a_token, first = zip(*times[name], strict=True)
            one |= {"token_seconds": median(a_token), "first_seconds": median(first)}
            one["characters"] = told["characters"]
        return found

    async def rewound(self, name: str) -> None:
        await self.ask(f"/v1/sessions/{name}/rewind", {"to": _START})

    async def turn(self, name: str, seed: int) -> tuple[float, float]:
        """Go on from the named place; seconds a token after the first piece, and to the first."""
        await self.rewound(name)
        answer = await self.one(name, seed=seed)
        pieces = [(seconds, len(text)) for seconds, text in answer.pieces if text]
        made = sum(size for _, size in pieces[1:])
        return (pieces[-1][0] - pieces[0][0]) / max(made, 1), pieces[0][0]
