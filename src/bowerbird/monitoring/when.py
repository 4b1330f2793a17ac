"""Times as people write them: a date, a time of a date, or how long ago."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from bowerbird.base.errors import UsageError

_AGO = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)([smhdw])")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def moment(text: str, now: float | None = None) -> float:
    """Unix seconds of `2026-11-27`, `2026-11-27T14:00`, or of so long ago: `90m`, `12h`, `7d`, `2w`.

    Without a zone it is UTC, as all times that we print.

    Raises:
        UsageError: it is none of these.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return (time.time() if now is None else now) - float(ago[1]) * _UNITS[ago[2]]
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise UsageError(
            f"`{text}` is no time", hint="2026-11-27, 2026-11-27T14:00, or 7d for seven days ago"
        ) from error
    return (found if found.tzinfo is not None else found.replace(tzinfo=UTC)).timestamp()


def written(seconds: float) -> str:
    """Unix seconds as people read them, in UTC."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
