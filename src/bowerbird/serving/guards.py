"""What stands before the app: who may ask, and how often; and a net for our own faults."""

from __future__ import annotations

import binascii
import ipaddress
import logging
import traceback
from base64 import b64decode
from typing import TYPE_CHECKING, Protocol

from bowerbird.base.errors import BowerbirdError, Refused
from bowerbird.serving.bodies import told
from bowerbird.serving.errors import Fault, Forbidden, KeysUnreadable, Unauthorized
from bowerbird.serving.keys import Key, KeyRing
from bowerbird.serving.limits import LIMITS, Limits
from bowerbird.serving.origins import NO_ORIGINS, Headers, Origins
from bowerbird.serving.rates import Rates

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN = ("/health", "/ready")
"""What needs no key: whoever watches over the server asks it this, and learns nothing else."""
_PAGE = "/"

log = logging.getLogger(__name__)


def check_host(host: str, *, keys: bool = False, option: str = "--host") -> None:
    """Without keys only this machine may ask; `option` is what chose the host.

    Raises:
        Refused: there are no keys and the host is not loopback.
    """
    if not keys and not is_loopback(host):
        raise Refused(
            "without keys a model is served to this machine only",
            where=f"{option} {host}",
            hint="use 127.0.0.1, or make a key (bowerbird keys new NAME) and serve with --keys FILE",
        )


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Line(Protocol):
    """The connection that a request came by, which is told what becomes of it."""

    answering: bool
    """An answer has begun."""

    def begun(self) -> None:
        """A request's head has arrived."""

    def ended(self, whole: bool) -> None:
        """It has been answered, and all of its body was read, or not."""


class Guard:
    """ASGI middleware: lets in who may ask, as often as they may, and answers a fault of ours with 500.

    Whose request it is stands in `scope["state"]["owner"]`: a key's id, or nothing where there are no keys.

    Args:
        app: what is guarded.
        local: answer only when called by a name of this machine. A page elsewhere can point its own host name
            here (DNS rebinding) and so read private models through its visitor's browser; such requests carry
            a foreign Host header.
        keys: who may ask; None: everybody.
        limits: how often they may.
        origins: of web pages that may ask beside the server's own.
    """

    def __init__(
        self,
        app: ASGIApp,
        local: bool = False,
        keys: KeyRing | None = None,
        limits: Limits = LIMITS,
        origins: Origins = NO_ORIGINS,
    ):
        self.app = app
        self.local = local
        self.keys = keys
        self.limits = limits
        self.origins = origins
        self.rates = Rates()
        self._trouble = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state["owner"] = ""
        line: Line | None = state.pop("connection", None)
        headers = dict(scope["headers"])
        added = self.origins.answer_headers(headers)
        begun = False
        whole = not (headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in headers)

        async def reading() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or (message["type"] == "http.request" and not message.get("more_body", False))
            return message

        async def watched(message: Message) -> None:
            nonlocal begun
            if not begun:
                begun = True
                if line is not None:
                    line.answering = True
                if added:
                    message = {**message, "headers": [*message.get("headers", ()), *added]}
            await send(message)

        if line is not None:
            line.begun()
        try:
            await self._answered(scope, headers, reading, watched)
        except Exception as error:
            known = isinstance(error, BowerbirdError) and not begun
            if not known:
                places = "".join(traceback.format_tb(error.__traceback__))
                log.error("a request failed: %s\n%s", type(error).__name__, places)
            if not begun:
                await _answer(error if isinstance(error, BowerbirdError) else Fault(), watched, scope["path"])
        finally:
            if line is not None:
                line.ended(whole)

    async def _answered(
        self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        self.origins.check(headers)
        self._check_name(headers.get(b"host", b"").decode("latin-1"))
        preflight = self.origins.preflight(scope["method"], headers)
        if preflight is not None:
            await send({"type": "http.response.start", "status": 204, "headers": preflight})
            await send({"type": "http.response.body", "body": b""})
        elif scope["path"] in _OPEN:
            await self.app(scope, receive, send)
        else:
            key = self._key(scope["headers"])
            owner, requests, concurrent = "", None, None
            if key is not None:
                owner, requests, concurrent = key.id, key.requests_per_minute, key.concurrent
            scope["state"]["owner"] = owner
            limits = self.limits
            self.rates.enter(owner, requests or limits.requests_per_minute, concurrent or limits.concurrent)
            try:
                await self.app(scope, receive, send)
            finally:
                self.rates.leave(owner)

    def _check_name(self, host: str) -> None:
        if self.local and not is_loopback(_without_port(host)):
            raise Forbidden(
                "this server answers to names of this machine only",
                hint=f"call it by 127.0.0.1 or localhost; a proxy must send such a Host header, not {host!r}",
            )

    def _key(self, headers: Headers) -> Key | None:
        """The key that a request brings; None where none are asked for."""
        if self.keys is None:
            return None
        given = [value for name, value in headers if name == b"authorization"]
        secret = _secret(given[0]) if len(given) == 1 else b""
        if not secret:
            raise Unauthorized(
                "you did not provide an API key", hint="send it as the header Authorization: Bearer YOUR_KEY"
            )
        try:
            key = self.keys.check(secret)
        except Unauthorized:
            raise
        except BowerbirdError as error:
            if str(error) != self._trouble:  # once, not for every request
                self._trouble = str(error)
                log.error("nobody is let in: %s", error)
            raise KeysUnreadable from error
        self._trouble = ""
        return key


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _secret(authorization: bytes) -> bytes:
    """The key in an Authorization header; empty where there is none."""
    scheme, _, given = authorization.strip().partition(b" ")
    if scheme.lower() == b"bearer":
        return given.strip()
    if scheme.lower() == b"basic":  # what a browser sends that asked its user: any name, and the key
        try:
            return b64decode(given.strip(), validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


async def _answer(error: BowerbirdError, send: Send, path: str) -> None:
    status, headers, content = told(error)
    if isinstance(error, Unauthorized):
        # A browser at the page asks its user for a name, which is not read, and a password, which is the key.
        scheme = b'Basic realm="bowerbird", charset="UTF-8"' if path == _PAGE else b'Bearer realm="bowerbird"'
        headers.append((b"www-authenticate", scheme))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
