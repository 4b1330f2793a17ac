"""How every baseline learns: by the clock, and the weights are kept that were judged best."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor, contiguous_format, nn

CHECK_EVERY = 50
"""Steps from one look for numbers that are none to the next."""


class NotNumbers(ArithmeticError):
    """A network makes what is not a number."""


@dataclass
class Learnt:
    """How a training went. `curve` holds (seconds, score); `finite` is False once anything was no number."""

    steps: int = 0
    seconds: float = 0.0
    judging_seconds: float = 0.0
    finite: bool = True
    curve: list[tuple[float, float]] = field(default_factory=list)
    best: float = math.inf
    weights: dict[str, Tensor] = field(default_factory=dict)


def learn(
    network: nn.Module,
    step: Callable[[float], Tensor],
    judge: Callable[[], float] | None,
    seconds: float,
    *,
    looks: int = 1,
    share: float | None = None,
) -> Learnt:
    """Train for so many seconds and keep the weights with the lowest score. It ends early at what is no number.

    Args:
        network: whose weights are kept.
        step: makes one step, is told the share of the seconds that has passed, and returns the loss.
        judge: scores the network; raises NotNumbers where it cannot. None: nothing is scored or kept.
        seconds: of the clock.
        looks: how often the network is judged on the way, about, beside the beginning and the end.
        share: judging is on the clock, and takes about this share of it at most. None: the clock stands still.
    """
    found, began = Learnt(), time.monotonic()

    def clock() -> float:
        return time.monotonic() - began - (found.judging_seconds if share is None else 0.0)

    def look() -> float:
        """Judge, and keep the weights if they are the best yet; returns the seconds of the clock that it took."""
        if judge is None:
            return 0.0
        at, before = clock(), time.monotonic()
        try:
            score = judge()
        except NotNumbers:
            found.finite = False
        else:
            found.curve.append((at, score))
            if score < found.best or not found.weights:
                found.weights = {
                    name: value.detach().clone(memory_format=contiguous_format)
                    for name, value in network.state_dict().items()
                }
            found.best = min(found.best, score)
        found.judging_seconds += time.monotonic() - before
        return clock() - at

    cost, last, loss = look(), 0.0, None
    while found.finite and (now := clock()) < seconds - cost:
        pause = seconds / looks if share is None else max(seconds / looks, cost / share)
        if judge is not None and now - last >= pause:
            cost, last = look(), now
            continue
        loss = step(now / seconds)
        found.steps += 1
        if found.steps % CHECK_EVERY == 0:
            found.finite = math.isfinite(loss.item())
    if found.finite and loss is not None:
        found.finite = math.isfinite(loss.item())
    if found.finite:
        look()
    found.seconds = clock()
    return found
