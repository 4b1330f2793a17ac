"""One record of each request and its answer, told to whoever listens once the answer has ended.

The middleware gives every answer its `X-Request-Id`, measures it, and reads the code of an error out of the
four-key error itself, so that no path has to remember to report one.
"""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bowerbird.serving.errors import status_code
from bowerbird.serving.sink import Note

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UNKNOWN_PATH = "other"
"""Stands for every path that is not ours: what strangers type must not become labels and log lines."""
_GIVEN_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
_CONVERTER = re.compile(r":\w+\}")
_ERROR_EVENT = b'data: {"error":'


@dataclass(slots=True, eq=False)
class Exchange:
    """A request and its answer. Of their words it has none, but for what `note` has where events are recorded."""

    request_id: str
    method: str
    trace_parent: str = ""
    """The header `traceparent` (W3C): the span that the request came from."""
    began: float = field(default_factory=time.time)
    """Unix seconds."""
    seconds: float = 0.0
    """Until the last byte of the answer was handed over."""
    path: str = UNKNOWN_PATH
    """The path's template, as `/v1/models/{model_id}`."""
    status: int = 0
    code: str = ""
    """The word for programs of the error that it ended with, also where a stream had begun."""
    model: str = ""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    owner: str = ""
    """The id of the key that asked."""
    left: bool = False
    """The asker hung up before the end."""
    trace_id: str = ""
    arm: str = ""
    """Of a model under trial: which version answered."""
    note: Note | None = None
    """What its path told of the answer, if it came so far."""


Listener = Callable[[Exchange], None]


class Exchanges:
    """Those under way, and who is told of those that have ended, in this order."""

    def __init__(self) -> None:
        self.listeners: list[Listener] = []
        self.running: set[Exchange] = set()

    def end(self, exchange: Exchange) -> None:
        self.running.discard(exchange)
        for listener in self.listeners:
            listener(exchange)


class Recorder:
    """ASGI middleware, the outermost: what others refuse is recorded too."""

    def __init__(self, app: ASGIApp, exchanges: Exchanges):
        self.app = app
        self.exchanges = exchanges

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        exchange = Exchange(
            _request_id(headers), scope["method"], headers.get(b"traceparent", b"").decode("latin-1")
        )
        state = scope.setdefault("state", {})
        state["request_id"] = exchange.request_id
        whole = False

        async def told(message: Message) -> None:
            nonlocal whole
            if message["type"] == "http.response.start":
                exchange.status = message["status"]
                named = (b"x-request-id", exchange.request_id.encode())
                message = {**message, "headers": [*message.get("headers", ()), named]}
            elif message["type"] == "http.response.body":
                body = message.get("body", b"")
                if exchange.status >= 400 or body.startswith(_ERROR_EVENT):
                    exchange.code = exchange.code or _code_in(body)
                whole = not message.get("more_body", False)
            await send(message)

        async def received() -> Message:
            message = await receive()
            if message["type"] == "http.disconnect" and not whole:
                exchange.left = True
            return message

        began = time.perf_counter()
        self.exchanges.running.add(exchange)
        try:
            await self.app(scope, received, told)
        finally:
            exchange.seconds = time.perf_counter() - began
            _complete(exchange, scope, state)
            self.exchanges.end(exchange)


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The asker's own id where it is one, so that its log and ours can be laid side by side; else a new one."""
    given = headers.get(b"x-request-id", b"").decode("latin-1")
    return given if _GIVEN_ID.fullmatch(given) else f"req-{secrets.token_hex(12)}"


def _code_in(body: bytes) -> str:
    """The code of a four-key error, alone or as an event; "" where there is none."""
    try:
        code = json.loads(body.removeprefix(b"data: "))["error"]["code"]
    except (ValueError, KeyError, TypeError):
        return ""
    return code if isinstance(code, str) else ""


def _complete(exchange: Exchange, scope: Scope, state: dict[str, Any]) -> None:
    """Fill in what others know by now: the router its path, the routes model and tokens, the guard the owner."""
    exchange.path = _template(scope)
    exchange.status = exchange.status or 500
    if exchange.status >= 400 and not exchange.code:
        exchange.code = _phrase(exchange.status)
    exchange.model = str(state.get("model", ""))
    exchange.prompt_tokens, exchange.completion_tokens = state.get("tokens", (0, 0))
    exchange.owner = str(state.get("owner", ""))
    exchange.arm = str(state.get("arm", ""))
    exchange.note = state.get("note")


def _template(scope: Scope) -> str:
    """The path of the route that was taken. Which one that was, the scope tells by its endpoint only."""
    endpoint = scope.get("endpoint")
    for route in getattr(scope.get("app"), "routes", ()):
        if endpoint is not None and getattr(route, "endpoint", None) is endpoint:
            return _CONVERTER.sub("}", route.path)
    return UNKNOWN_PATH


def _phrase(status: int) -> str:
    if status == 499:  # nginx's number for an asker who left; no standard has it
        return "client_closed_request"
    return status_code(status) if status in set(HTTPStatus) else f"status_{status}"
