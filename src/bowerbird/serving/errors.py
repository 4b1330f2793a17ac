"""The errors of a served request, each with the field it is about and a word for programs.

BowerbirdError
├── BadRequest          HTTP 400   a field is wrong, unknown or not supported
├── UnknownModel        HTTP 404   no such model is served here
├── TooLarge            HTTP 413   the body is larger than is read
├── TooSlow             HTTP 408   the body did not arrive in time
├── Forbidden           HTTP 403   a web page of another site, or a foreign host name
├── Busy                HTTP 429   the queue is full; says when to come back
├── Stopping            HTTP 503   the server is shutting down
├── TimedOut            HTTP 504   it took longer than its limit, or was not read
└── Fault               HTTP 500   ours; the log has the place, the answer does not
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, ClassVar

from bowerbird.base.errors import BowerbirdError, NotFound, Refused, UsageError, nearest


class BadRequest(UsageError):
    """What is wrong, the field it is about (`param`) and a word for programs (`code`)."""

    def __init__(self, what: str, *, param: str | None = None, code: str | None = None):
        super().__init__(what)
        self.param = param
        self.code = code


class UnknownModel(NotFound):
    param: ClassVar[str] = "model"
    code: ClassVar[str] = "model_not_found"

    def __init__(self, name: str, known: Iterable[str]):
        name, known = name[:100], sorted(known)
        near = nearest(name, known)
        hint = f"did you mean `{near}`? " if near else ""
        super().__init__(
            f"there is no model `{name}` here", hint=f"{hint}served here: {', '.join(known) or 'none'}"
        )


class TooLarge(BowerbirdError):
    http_status = 413
    code: ClassVar[str] = "body_too_large"


class TooSlow(BowerbirdError):
    http_status = 408
    code: ClassVar[str] = "body_too_slow"


class Forbidden(Refused):
    code: ClassVar[str] = "forbidden"


class Busy(BowerbirdError):
    http_status = 429
    code: ClassVar[str] = "queue_full"
    retry_after_seconds: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__("too many requests are waiting", hint="try again in a moment")


class Stopping(BowerbirdError):
    http_status = 503
    code: ClassVar[str] = "stopping"

    def __init__(self) -> None:
        super().__init__("the server is stopping")


class TimedOut(BowerbirdError):
    http_status = 504
    code: ClassVar[str] = "timeout"


class Fault(BowerbirdError):
    exit_code = 1
    http_status = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self) -> None:
        super().__init__("something went wrong here; the server's log says where")


_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


def error_body(error: BowerbirdError) -> dict[str, dict[str, Any]]:
    """An error in OpenAI's shape. Places on this machine (`where`) are not told."""
    message = error.what + (f" ({error.hint})" if error.hint else "")
    return shape(error.http_status, message, getattr(error, "param", None), getattr(error, "code", None))


def shape(
    status: int, message: str, param: str | None = None, code: str | None = None
) -> dict[str, dict[str, Any]]:
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def status_code(status: int) -> str:
    """The word for a status that has no error class of ours, as `method_not_allowed`."""
    return HTTPStatus(status).phrase.lower().replace(" ", "_").replace("-", "_")


def code_of(error: BowerbirdError) -> str:
    """The word for an error, where it has none of its own the word for its status."""
    return getattr(error, "code", None) or status_code(error.http_status)
