"""How answers leave: JSON at once, events as they come, errors in OpenAI's shape; and what an asker who leaves ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from bowerbird.base.errors import BowerbirdError
from bowerbird.serving.bodies import json_bytes, told
from bowerbird.serving.errors import shape, status_code
from bowerbird.serving.ticket import Ticket

Made = TypeVar("Made")


def reply(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer."""
    return Response(json_bytes(value), status, dict(headers or {}), "application/json")


def owner_of(request: Request) -> str:
    """The caller's key, or "" where none is needed."""
    return str(getattr(request.state, "owner", ""))


async def refuse(request: Request, error: Exception) -> Response:
    """The answer to a request that failed with an error of ours."""
    assert isinstance(error, BowerbirdError)
    status, headers, content = told(error)
    return Response(content, status, {name.decode(): value.decode() for name, value in headers})


async def refuse_path(request: Request, error: Exception) -> Response:
    """The answer where there is no such path, or none for this method."""
    assert isinstance(error, HTTPException)
    what = {404: f"there is nothing at {request.url.path[:100]}", 405: "this path takes another method"}
    message = what.get(error.status_code, str(error.detail))
    body = shape(error.status_code, message, code=status_code(error.status_code))
    return reply(body, error.status_code, error.headers)


class EventStream(Response):
    """Server-sent events as they come. When the asker leaves, the ticket is cancelled.

    Args:
        events: the bytes to send; it ends soon after the ticket is cancelled.
        ticket: of the samples that are streamed; None where there are none.
        ended: called once nothing more is sent, whatever the reason; it lets the ticket go.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes], ticket: Ticket | None, ended: Callable[[], None]):
        self.status_code = 200
        self.background = None
        self.init_headers({"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        self._events = events
        self._ticket = ticket
        self._ended = ended

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.create_task(self._let_go_when_gone(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            async for part in self._events:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except OSError:  # how some servers say that the asker has left
            pass
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
            self._ended()

    async def _let_go_when_gone(self, receive: Receive) -> None:
        await hung_up(receive)
        if self._ticket is not None:
            self._ticket.cancel()


async def hung_up(receive: Receive) -> None:
    """Return when the asker has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def unless_gone(receive: Receive, making: Coroutine[Any, Any, Made]) -> Made | None:
    """What `making` gives, or None where its asker hangs up first."""
    made, gone = asyncio.create_task(making), asyncio.create_task(hung_up(receive))
    try:
        await asyncio.wait({made, gone}, return_when=asyncio.FIRST_COMPLETED)
        return made.result() if made.done() else None
    finally:
        for task in (made, gone):
            task.cancel()
        await asyncio.gather(made, gone, return_exceptions=True)


def left() -> Response:
    """What is said to nobody: the asker has left."""
    return Response(status_code=499)
