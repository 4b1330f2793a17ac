"""How often and for how much at once each caller may ask: a bucket of tokens and a count for each."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from bowerbird.serving.errors import RateLimited

_ROUNDING = 1e-9
"""So that who comes back after exactly the seconds told is let in."""


@dataclass(slots=True)
class _Caller:
    tokens: float
    filled: float
    """When `tokens` was true."""
    running: int = 0


class Rates:
    """What callers have asked lately and have running. Used on one thread.

    Args:
        clock: seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._callers: dict[str, _Caller] = {}

    def enter(self, owner: str, requests_per_minute: int | None, concurrent: int | None) -> None:
        """Count a request of this caller, until `leave`.

        A bucket holds a minute's requests and fills evenly: after a pause all may come at once.

        Raises:
            RateLimited: it is one too many; it is not counted.
        """
        now = self._clock()
        caller = self._callers.get(owner)
        if caller is None:
            caller = self._callers[owner] = _Caller(float(requests_per_minute or 0), now)
        if concurrent is not None and caller.running >= concurrent:
            raise RateLimited(
                f"{caller.running:,} requests are running, and no more may at once",
                code="concurrency_limit_exceeded",
            )
        if requests_per_minute is not None:
            a_second = requests_per_minute / 60
            tokens = caller.tokens + (now - caller.filled) * a_second
            caller.tokens, caller.filled = min(tokens, float(requests_per_minute)), now
            if caller.tokens < 1 - _ROUNDING:
                raise RateLimited(
                    f"no more than {requests_per_minute:,} requests a minute may be made",
                    code="rate_limit_exceeded",
                    retry_after_seconds=math.ceil((1 - caller.tokens) / a_second),
                )
            caller.tokens -= 1
        caller.running += 1

    def leave(self, owner: str) -> None:
        """A request that `enter` let in has been answered."""
        self._callers[owner].running -= 1

    def running(self, owner: str) -> int:
        """Requests of this caller that are not answered yet."""
        caller = self._callers.get(owner)
        return caller.running if caller else 0
