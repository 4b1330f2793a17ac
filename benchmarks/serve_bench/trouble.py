"""What clients do wrong: they leave, stop half way, and ask for what cannot be. Each must be borne, or told so."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from typing import Any

from serve_bench.answers import Answer, read
from serve_bench.client import Connection, get, post

_PATH = "/v1/completions"
_KEYS = {"message", "type", "param", "code"}


async def leaves_early(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    """Hangs up as soon as the request is sent."""
    asked = connection.ask(request)
    await asyncio.sleep(0)
    connection.leave()
    await asked
    return None


async def leaves_later(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    """Hangs up somewhere in the answer."""
    asked = connection.ask(request)
    await asyncio.wait([asked], timeout=dice.uniform(0.0, 2.0))
    connection.leave()
    await asked
    return None


async def stops_sending(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    """Says half of a request, and nothing more."""
    connection.send(request[: dice.randrange(1, len(request))])
    await asyncio.sleep(dice.uniform(0.0, 0.5))
    connection.leave()
    return None


async def closes_half(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    """Sends all, closes its side, and reads what comes; an answer or none is as good."""
    asked = connection.ask(request)
    connection.end_sending()
    await asyncio.wait([asked], timeout=2.0)
    connection.leave()
    await asked
    return None


async def says_no_json(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    return await refused(connection, post(url, _PATH, b'{"model": "'), {400})


async def says_bad_utf8(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    body = request.partition(b"\r\n\r\n")[2].replace(b'"prompt": "', b'"prompt": "\xff\xfe')
    return await refused(connection, post(url, _PATH, body), {400})


async def asks_for_nobody(
    connection: Connection, url: str, request: bytes, dice: random.Random
) -> str | None:
    return await refused(connection, changed(url, request, model="nobody"), {404})


async def asks_nonsense(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    """A field with a value that it cannot have, or one that is not there."""
    field, value = dice.choice(
        [
            ("max_tokens", -1),
            ("max_tokens", 10**30),
            ("temperature", "warm"),
            ("temperature", float("nan")),
            ("top_p", 7),
            ("n", 0),
            ("stop", 5),
            ("prompt", {"a": 1}),
            ("stream", "yes"),
            ("seed", -5),
            ("colour", "red"),
        ]
    )
    return await refused(connection, changed(url, request, **{field: value}), {400, 413, 422})


async def asks_nowhere(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    return await refused(connection, get(url, "/v1/nothing"), {404})


async def asks_wrongly(connection: Connection, url: str, request: bytes, dice: random.Random) -> str | None:
    return await refused(connection, get(url, _PATH, "PUT"), {404, 405})


Trouble = Callable[[Connection, str, bytes, random.Random], Awaitable[str | None]]
TROUBLES: tuple[Trouble, ...] = (
    leaves_early,
    leaves_later,
    stops_sending,
    closes_half,
    says_no_json,
    says_bad_utf8,
    asks_for_nobody,
    asks_nonsense,
    asks_nowhere,
    asks_wrongly,
)


def changed(url: str, request: bytes, **fields: Any) -> bytes:
    """The request with other fields."""
    body = json.loads(request.partition(b"\r\n\r\n")[2])
    return post(url, _PATH, body | fields)


async def refused(connection: Connection, request: bytes, statuses: set[int]) -> str | None:
    """What is wrong with an answer that ought to be an error of one of these statuses; None where nothing is."""
    exchange = await connection.ask(request)
    answer: Answer = read(exchange)
    if answer.status == 429:
        return None
    if answer.status not in statuses:
        return f"status {answer.status} {exchange.failed or ''} instead of {sorted(statuses)}"
    if answer.error is None or set(answer.error) != _KEYS:
        return f"status {answer.status} without the four keys of an error"
    return None
