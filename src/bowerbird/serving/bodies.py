"""Bodies as they go over the wire: a request's JSON read within its limits, an answer's and an error's written."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.serving.errors import BadRequest, TooLarge, TooSlow, error_body
from bowerbird.serving.limits import Limits
from bowerbird.serving.origins import Headers

if TYPE_CHECKING:
    from starlette.requests import Request

_DRAIN_BYTES = 16 << 20
"""Of a body that is too large so much is read and thrown away, that its sender hears why before the line closes."""


async def read_json_body(request: Request, *, limits: Limits) -> dict[str, Any]:
    """The JSON object in a request's body.

    Raises:
        TooLarge, TooSlow: it is not read to its end.
        BadRequest: it is not UTF-8, not JSON, or no object.
    """
    try:
        async with asyncio.timeout(limits.body_seconds):
            content = await _read(request, limits.body_bytes)
    except TimeoutError as error:
        raise TooSlow(f"the body did not arrive within {limits.body_seconds:g} seconds") from error
    try:
        value = json.loads(content.decode("utf-8"), parse_float=_number, parse_constant=_no_constant)
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


def json_bytes(value: Any) -> bytes:
    """JSON as it goes over the wire; what is no character (a lone surrogate) becomes `?`."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def told(error: BowerbirdError) -> tuple[int, Headers, bytes]:
    """An error as it is answered: status, headers, body."""
    content = json_bytes(error_body(error))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    wait = getattr(error, "retry_after_seconds", None)
    if wait is not None:
        headers.append((b"retry-after", str(wait).encode()))
    return error.http_status, headers, content


async def _read(request: Request, most_bytes: int) -> bytes:
    from starlette.requests import ClientDisconnect

    announced = request.headers.get("content-length", "0")
    too_large = TooLarge(f"the body is larger than {most_bytes:,} bytes")
    waits = "expect" in request.headers
    most = most_bytes if waits else max(most_bytes, _DRAIN_BYTES)
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > most):
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


def _number(text: str) -> float:
    """In JSON 16.0 is the same integer as 16."""
    value = float(text)
    return int(value) if value.is_integer() else value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")
