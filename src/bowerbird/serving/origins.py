"""Which web pages may ask: the server's own, and those of origins that were allowed by name (CORS)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from bowerbird.base.errors import UsageError
from bowerbird.serving.errors import Forbidden

Headers = list[tuple[bytes, bytes]]

_ORIGIN = re.compile(r"https?://(\[[0-9a-f:.]+\]|[a-z0-9.-]+)(:\d{1,5})?")
_NAMES = re.compile(rb"[A-Za-z0-9!#$%&'*+.^_`|~, -]{0,2000}")
_METHODS = b"GET, POST, DELETE"
_REMEMBERED_SECONDS = b"600"


class Origins:
    """The pages that may ask. Other pages are refused, for their visitor did not choose to ask.

    Args:
        allowed: origins as browsers write them, `https://example.org` or `http://localhost:5173`; no patterns.

    Raises:
        UsageError: one of them is no origin.
    """

    def __init__(self, allowed: Iterable[str] = ()):
        self._allowed = frozenset(_checked(origin).encode() for origin in allowed)

    def check(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises `Forbidden` for a request that a page of another origin makes."""
        origin = headers.get(b"origin")
        if origin in self._allowed:
            return
        site = headers.get(b"sec-fetch-site")
        # Browsers leave Sec-Fetch-Site out where the page came by plain HTTP from another machine.
        if site in (b"cross-site", b"same-site") or (
            site is None and origin is not None and not _same(origin, headers.get(b"host", b""))
        ):
            raise Forbidden(
                "web pages of other sites may not ask this server", hint="serve with --allow-origin ORIGIN"
            )

    def answer_headers(self, headers: Mapping[bytes, bytes]) -> Headers:
        """What every answer to this request carries, so that an allowed page may read it."""
        if not self._allowed:
            return []
        origin = headers.get(b"origin")
        if origin not in self._allowed or origin is None:
            return [(b"vary", b"Origin")]
        return [
            (b"vary", b"Origin"),
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", b"Retry-After, X-Request-Id"),
        ]

    def preflight(self, method: str, headers: Mapping[bytes, bytes]) -> Headers | None:
        """What answers a browser that asks beforehand whether an allowed page may ask; None for other requests."""
        if (
            method != "OPTIONS"
            or headers.get(b"origin") not in self._allowed
            or b"access-control-request-method" not in headers
        ):
            return None
        answer = [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-max-age", _REMEMBERED_SECONDS),
        ]
        wanted = headers.get(b"access-control-request-headers", b"")
        if wanted and _NAMES.fullmatch(wanted):
            answer.append((b"access-control-allow-headers", wanted))
        return answer


NO_ORIGINS = Origins()


def _checked(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise UsageError(
            f"`{origin}` is no origin of a web page",
            hint="scheme and host as browsers write them: https://example.org, or http://localhost:5173",
        )
    return origin


def _same(origin: bytes, host: bytes) -> bool:
    return origin.partition(b"://")[2].lower() == host.lower()
