"""The one training loop, for every kind of model. It is handed all it does; it knows no files and no media."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

Arrays = dict[str, Tensor]
Batch = Any


class NotFinite(ArithmeticError):
    """A loss or gradient is not a finite number. Raised before the optimiser moves."""


class Learner(Protocol):
    """Owns the networks and optimisers of one run. `restore` after `resume_state` is exact to the bit."""

    def step(self, batch: Batch, step: int, progress: float) -> dict[str, float]:
        """One update; `progress` (0 to 1) sets the rate. Returns losses as plain numbers.

        Raises:
            NotFinite: the update would not have been finite; nothing has changed.
        """
        ...

    def shipped(self) -> Arrays:
        """The weights to evaluate and serve, which the network then holds."""
        ...

    def partners(self) -> Arrays:
        """Training-only networks."""
        ...

    def resume_state(self) -> Arrays:
        """All else that the next step depends on: optimisers, carried state, the rate's scale."""
        ...

    def restore(
        self,
        shipped: Mapping[str, Tensor],
        partners: Mapping[str, Tensor],
        resume_state: Mapping[str, Tensor] | None = None,
    ) -> None: ...

    def calm(self, factor: float) -> None:
        """Lower the learning rate from now on."""
        ...


def train_loop(
    learner: Learner,
    batch: Callable[[int], Batch],
    first: int,
    *,
    progress: Callable[[int], float],
    finished: Callable[[int], bool],
    on_step: Callable[[int, dict[str, float]], None],
    on_not_finite: Callable[[int, NotFinite], int],
) -> int:
    """Run from step `first` until `finished`; returns how many steps the run has then made.

    A step's number is how many were made before it. `on_step(made, stats)` is called after each and does
    what is due: log, evaluate, save. `on_not_finite(step, error)` mends the learner and says from which
    step to go on, or raises.
    """
    step = first
    while not finished(step):
        try:
            stats = learner.step(batch(step), step, progress(step))
        except NotFinite as error:
            step = on_not_finite(step, error)
            continue
        step += 1
        on_step(step, stats)
    return step
