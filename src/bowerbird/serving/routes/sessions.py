"""`/v1/sessions`: list, get, delete and fork the asker's own, name points in them and go back to those."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic import ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from bowerbird.base.config import Config
from bowerbird.serving.asked import validated
from bowerbird.serving.bodies import read_json_body
from bowerbird.serving.routes.replies import owner_of, reply
from bowerbird.serving.served import Served
from bowerbird.serving.session_record import NAME_PATTERN, About


class ForkBody(Config):
    """The body of `POST /v1/sessions/{id}/fork`."""

    model_config = ConfigDict(strict=True)

    to: str = Field(pattern=NAME_PATTERN)
    """What the second session is called."""


class PointBody(Config):
    """The body of `POST /v1/sessions/{id}/points`."""

    model_config = ConfigDict(strict=True)

    name: str = Field(pattern=NAME_PATTERN)
    """What this place in the session is called; a point of that name moves here."""


class RewindBody(Config):
    """The body of `POST /v1/sessions/{id}/rewind`."""

    model_config = ConfigDict(strict=True)

    to: str = Field(pattern=NAME_PATTERN)
    """A point's name."""


def described(about: About) -> dict[str, Any]:
    """A session as it is told of; times in Unix seconds."""
    return {
        "id": about.name,
        "object": "session",
        "model": about.model,
        "model_digest": about.digest,
        "created": int(about.created),
        "used": int(about.used),
        "tokens": about.tokens,
        "characters": about.characters,
        "bytes": about.bytes,
        "points": [
            {
                "name": name,
                "tokens": point.tokens,
                "characters": point.characters,
                "created": int(point.created),
            }
            for name, point in about.points.items()
        ],
    }


def add(app: FastAPI, served: Served) -> None:
    """Nothing where no sessions are kept."""
    if served.sessions is None:
        return
    store = served.sessions

    def name_of(request: Request) -> str:
        return str(request.path_params["session_id"])

    async def told(act: Callable[..., About], *arguments: str) -> Response:
        return reply(described(await asyncio.to_thread(act, *arguments)))

    async def list_sessions(request: Request) -> Response:
        found = await asyncio.to_thread(store.owned_by, owner_of(request))
        return reply({"object": "list", "data": [described(about) for about in found]})

    async def get_session(request: Request) -> Response:
        return await told(store.get, name_of(request), owner_of(request))

    async def delete_session(request: Request) -> Response:
        name = name_of(request)
        await asyncio.to_thread(store.delete, name, owner_of(request))
        return reply({"id": name, "object": "session.deleted", "deleted": True})

    async def fork(request: Request) -> Response:
        body = validated(await read_json_body(request, limits=served.limits), ForkBody)
        return await told(store.fork, name_of(request), owner_of(request), body.to)

    async def mark(request: Request) -> Response:
        body = validated(await read_json_body(request, limits=served.limits), PointBody)
        return await told(store.mark, name_of(request), owner_of(request), body.name)

    async def unmark(request: Request) -> Response:
        point = str(request.path_params["point"])
        return await told(store.unmark, name_of(request), owner_of(request), point)

    async def rewind(request: Request) -> Response:
        body = validated(await read_json_body(request, limits=served.limits), RewindBody)
        return await told(store.rewind, name_of(request), owner_of(request), body.to)

    for path, method, handler in (
        ("", "GET", list_sessions),
        ("/{session_id}", "GET", get_session),
        ("/{session_id}", "DELETE", delete_session),
        ("/{session_id}/fork", "POST", fork),
        ("/{session_id}/points", "POST", mark),
        ("/{session_id}/points/{point}", "DELETE", unmark),
        ("/{session_id}/rewind", "POST", rewind),
    ):
        app.add_route(f"/v1/sessions{path}", handler, methods=[method])
