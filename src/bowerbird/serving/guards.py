"""What stands before the app: who may ask, how large a question may be, and a net for our own faults."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import traceback
from typing import TYPE_CHECKING, Any

from bowerbird.base.errors import BowerbirdError, Refused
from bowerbird.serving.errors import BadRequest, Fault, Forbidden, TooLarge, TooSlow, error_body

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20
"""The largest body that is read."""
_DRAIN_BYTES = 16 << 20
"""Of a larger one, so much is read and thrown away, that its sender hears why before the line closes."""
_BODY_SECONDS = 30.0
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger(__name__)


def check_host(host: str) -> None:
    """Without keys only this machine may ask.

    Raises:
        Refused: the host is not loopback.
    """
    if not is_loopback(host):
        raise Refused(
            "without keys a model is served to this machine only",
            where=f"--host {host}",
            hint="use 127.0.0.1, or put an authenticating proxy in front",
        )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """ASGI middleware: turns away web pages of other sites, and answers a fault of ours with 500.

    A page elsewhere can point its own host name at this machine (DNS rebinding) and so read private
    models through its visitor's browser; such requests carry a foreign Host header.

    Args:
        app: what is guarded.
        local: answer only when called by a name of this machine.
    """

    def __init__(self, app: ASGIApp, local: bool = False):
        self.app = app
        self.local = local

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun = False

        async def watched(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            self._check(dict(scope["headers"]))
            await self.app(scope, receive, watched)
        except Forbidden as error:
            await _answer(error, send)
        except Exception as error:
            places = "".join(traceback.format_tb(error.__traceback__))
            log.error("a request failed: %s\n%s", type(error).__name__, places)
            if not begun:
                await _answer(Fault(), send)

    def _check(self, headers: dict[bytes, bytes]) -> None:
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site"):
            raise Forbidden("web pages of other sites may not ask this server")
        host = headers.get(b"host", b"").decode("latin-1")
        if self.local and not is_loopback(_without_port(host)):
            raise Forbidden(
                "this server answers to names of this machine only",
                hint=f"call it by 127.0.0.1 or localhost; a proxy must send such a Host header, not {host!r}",
            )


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


async def _answer(error: BowerbirdError, send: Send) -> None:
    content = json_bytes(error_body(error))
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
    ]
    await send({"type": "http.response.start", "status": error.http_status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def json_bytes(value: Any) -> bytes:
    """JSON as it goes over the wire; what is no character (a lone surrogate) becomes `?`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


async def read_json_body(request: Request, *, most_bytes: int = MOST_BYTES) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        TooLarge, TooSlow: it is not read to its end.
        BadRequest: it is not UTF-8, not JSON, or no object.
    """
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            content = await _read(request, most_bytes)
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {_BODY_SECONDS:.0f} seconds") from error
    try:
        value = json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8 (byte {error.start})", code="invalid_json") from error
    except RecursionError as error:
        raise BadRequest("the body is nested too deeply", code="invalid_json") from error
    except json.JSONDecodeError as error:
        place = f"line {error.lineno} column {error.colno}"
        raise BadRequest(f"the body is not JSON: {error.msg} at {place}", code="invalid_json") from error
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object", code="invalid_json")
    return value


async def _read(request: Request, most_bytes: int) -> bytes:
    from starlette.requests import ClientDisconnect

    announced = request.headers.get("content-length", "0")
    too_large = TooLarge(f"the body is larger than {most_bytes:,} bytes")
    waits = "expect" in request.headers
    if announced.isdecimal() and int(announced) > (most_bytes if waits else _DRAIN_BYTES):
        raise too_large
    content, size = bytearray(), 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= most_bytes:
                content += part
            elif size > _DRAIN_BYTES:
                break
    except ClientDisconnect as error:
        raise BadRequest("the body broke off", code="invalid_json") from error
    if size > most_bytes:
        raise too_large
    return bytes(content)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
