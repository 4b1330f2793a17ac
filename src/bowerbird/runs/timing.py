"""What the clock allows a run: when it must end, what its end will cost, and how often it may be looked at."""

from __future__ import annotations

import math
from collections.abc import Callable

SHORT_SECONDS = 45.0
"""A budget under this has no time for more at the end than an evaluation reads."""
EVALUATIONS = 20
LONGEST_INTERVAL = 60.0


class Timing:
    """Seconds on `clock`. Without a deadline nothing is put aside and progress is not of the clock's.

    `validation` says how many tokens or samples an evaluation looks at, and how many the final scores do.
    """

    def __init__(self, deadline: float | None, clock: Callable[[], float], validation: tuple[int, int]):
        self.clock = clock
        self.quick_tokens, self._final_tokens = validation
        self.deadline = deadline
        self.budget = deadline - clock() if deadline is not None else None
        self.evaluate_seconds = 0.0
        """What the last evaluation cost, reading `tokens_validated`."""
        self.tokens_validated = 1
        self.plot_seconds = 0.0
        self.save_seconds = 0.0
        self._whole = 1.0
        self._done_before = 0.0

    def begin(self, progress: float) -> None:
        """From now on the time left leads from `progress` to 1."""
        self._whole, self._done_before = max(self.left(), 1e-3), progress

    def progress(self) -> float:
        done = 1 - max(self.left(), 0.0) / self._whole
        return self._done_before + (1 - self._done_before) * done

    def left(self) -> float:
        """Seconds left for steps: what the end costs is put aside (one evaluation, scores, saving, curves)."""
        if self.deadline is None:
            return math.inf
        final = self.evaluate_seconds * self.final_tokens() / self.tokens_validated
        end = self.evaluate_seconds + final + self.save_seconds + 1.5 * self.plot_seconds + 0.3
        return self.deadline - self.clock() - end

    def seconds_left(self) -> float | None:
        """Until the deadline, whatever the end costs; None without one."""
        return None if self.deadline is None else max(self.deadline - self.clock(), 0.0)

    def worth_going_on(self) -> bool:
        """The end turned out so much cheaper than was put aside that there is time for more steps."""
        return self.budget is not None and self.left() >= 0.03 * self.budget

    def evaluation_interval(self) -> float:
        """At most a twentieth of the budget or a minute apart, and never more than 5 % of the time."""
        regular = min((self.budget or LONGEST_INTERVAL) / EVALUATIONS, LONGEST_INTERVAL)
        return max(regular, 20 * self.evaluate_seconds)

    def final_tokens(self) -> int:
        """How many held-out tokens the final scores may read, or samples they may make."""
        short = self.budget is not None and self.budget < SHORT_SECONDS
        return self.quick_tokens if short else self._final_tokens
