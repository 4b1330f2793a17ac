"""The errors of a served request, each with the field it is about and a word for programs.

BowerbirdError
├── BadRequest          HTTP 400   a field is wrong, unknown or not supported
├── UnknownModel        HTTP 404   no such model is served here
├── UnknownAnswer       HTTP 404   the asker was given no such answer lately
├── UnknownSession      HTTP 404   the asker has no session of this name
├── UnknownPoint        HTTP 404   the session has no point of this name
├── SessionBusy         HTTP 409   another request goes on with the session
├── SessionTaken        HTTP 409   the asker has a session of this name already
├── SessionModelChanged HTTP 409   the session began on a model that is not asked here
├── TooLarge            HTTP 413   the body is larger than is read
├── TooSlow             HTTP 408   the body did not arrive in time
├── Unauthorized        HTTP 401   no key, or none that lets in
├── Forbidden           HTTP 403   a web page of another site, or a foreign host name
├── RateLimited         HTTP 429   a key asks too often or for too much at once; says when to come back
├── Busy                HTTP 429   the queue is full; says when to come back
├── Stopping            HTTP 503   the server is shutting down
├── Crowded             HTTP 503   there are as many connections as may be; says when to come back
├── KeysUnreadable      HTTP 503   the file of keys is damaged or open to others: nobody gets in
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


class UnknownAnswer(NotFound):
    param: ClassVar[str] = "id"
    code: ClassVar[str] = "answer_not_found"

    def __init__(self, answer_id: str):
        super().__init__(
            f"no answer `{answer_id[:100]}` is remembered here",
            hint="answers are remembered for a while only; give `model`, `prompt` and `text` instead of `id`",
        )


class UnknownSession(NotFound):
    code: ClassVar[str] = "session_not_found"

    def __init__(self, name: str):
        super().__init__(
            f"there is no session `{name[:100]}`", hint="GET /v1/sessions lists yours; unused ones go in time"
        )


class UnknownPoint(NotFound):
    code: ClassVar[str] = "point_not_found"

    def __init__(self, name: str, known: Iterable[str], *, param: str | None):
        self.param = param
        name, known = name[:100], sorted(known)
        super().__init__(
            f"this session has no point `{name}`", hint=f"its points: {', '.join(known) or 'none'}"
        )


class SessionBusy(BowerbirdError):
    http_status = 409
    param: ClassVar[str] = "session"
    code: ClassVar[str] = "session_busy"

    def __init__(self, name: str):
        super().__init__(
            f"another request goes on with the session `{name}`", hint="wait for its end, or fork the session"
        )


class SessionTaken(BowerbirdError):
    http_status = 409
    param: ClassVar[str] = "to"
    code: ClassVar[str] = "session_exists"

    def __init__(self, name: str):
        super().__init__(f"there is a session `{name}` already", hint="delete it, or take another name")


class SessionModelChanged(BowerbirdError):
    http_status = 409
    param: ClassVar[str] = "session"
    code: ClassVar[str] = "session_model_changed"

    def __init__(self, name: str, model_id: str):
        super().__init__(
            f"the session `{name}` began on another model (then `{model_id}`), and its state fits no other",
            hint="ask that model, if it is still served, as NAME@VERSION, or begin a session of another name",
        )


class TooLarge(BowerbirdError):
    http_status = 413
    code: ClassVar[str] = "body_too_large"


class TooSlow(BowerbirdError):
    http_status = 408
    code: ClassVar[str] = "body_too_slow"


class Unauthorized(Refused):
    http_status = 401

    def __init__(self, what: str, *, code: str | None = None, hint: str | None = None):
        super().__init__(what, hint=hint)
        self.code = code


class Forbidden(Refused):
    code: ClassVar[str] = "forbidden"


class RateLimited(BowerbirdError):
    http_status = 429

    def __init__(self, what: str, *, code: str, retry_after_seconds: int = 1):
        super().__init__(what, hint=f"try again in {retry_after_seconds} s")
        self.code = code
        self.retry_after_seconds = retry_after_seconds


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


class Crowded(BowerbirdError):
    http_status = 503
    code: ClassVar[str] = "too_many_connections"
    retry_after_seconds: ClassVar[int] = 1

    def __init__(self) -> None:
        super().__init__("there are too many connections", hint="try again in a moment")


class KeysUnreadable(BowerbirdError):
    http_status = 503
    code: ClassVar[str] = "keys_unreadable"

    def __init__(self) -> None:
        super().__init__("nobody is let in at the moment; the server's log says why")


class TimedOut(BowerbirdError):
    http_status = 504
    code: ClassVar[str] = "timeout"


class Fault(BowerbirdError):
    exit_code = 1
    http_status = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self) -> None:
        super().__init__("something went wrong here; the server's log says where")


_TYPES = {403: "permission_error", 429: "rate_limit_error"}


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
