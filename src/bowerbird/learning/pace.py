"""How far along a run is: progress from 0 to 1 as a function of the step, and the rate that follows it.

With a number of steps, progress is a straight line. With minutes, it follows the clock in small stairs;
the stairs climbed are kept in the checkpoint, so that a resumed run goes on from the one it stood on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

RESTART = 0.5
"""Where a run that had finished starts again when it is given more to do: half-way down the rate."""
STAIR = 0.002


@dataclass
class Pace:
    """Knots are (step, progress there, progress a step from there on)."""

    knots: list[tuple[int, float, float]] = field(default_factory=lambda: [(0, 0.0, 0.0)])
    last_step: int | None = None
    """The step to end at, or None where time decides."""

    @classmethod
    def of_steps(cls, steps: int) -> Pace:
        return cls([(0, 0.0, 1.0 / max(steps, 1))], steps)

    def progress(self, step: int) -> float:
        start, reached, slope = next(knot for knot in reversed(self.knots) if knot[0] <= step)
        return min(1.0, reached + (step - start) * slope)

    def climb(self, step: int, reached: float) -> None:
        """Where time decides: from `step` on, progress is `reached`, if that is a stair or more higher."""
        if reached >= self.progress(step) + STAIR:
            self._place(step, min(reached, 1.0), 0.0)

    def extend(self, step: int, steps: int | None) -> None:
        """Go on from `step` for `steps` more (None: until time decides), the rate falling to its end again."""
        reached = min(self.progress(step), RESTART)
        self._place(step, reached, (1.0 - reached) / steps if steps else 0.0)
        self.last_step = step + steps if steps else None

    def _place(self, step: int, reached: float, slope: float) -> None:
        self.knots = [knot for knot in self.knots if knot[0] < step]
        self.knots.append((step, reached, slope))


def rate_at(progress: float, *, warm_up: float = 0.02, final: float = 0.03) -> float:
    """The share of the learning rate in force: up in a straight line, then down a cosine to `final`."""
    if progress < warm_up:
        return max(progress / warm_up, 0.01)
    down = min((progress - warm_up) / (1 - warm_up), 1.0)
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * down))
