"""The one loop: steps are numbered by how many were made, and what is not finite is handed on."""

from __future__ import annotations

from typing import Any

from bowerbird.learning.loop import NotFinite, train_loop


class Counter:
    """A learner that records what it is given and fails where told."""

    def __init__(self, fails: tuple[int, ...] = ()):
        self.fails = list(fails)
        self.seen: list[tuple[Any, int, float]] = []

    def step(self, batch: Any, step: int, progress: float) -> dict[str, float]:
        if step in self.fails:
            self.fails.remove(step)
            raise NotFinite("loss nan")
        self.seen.append((batch, step, progress))
        return {"loss": float(step)}


def looped(learner: Counter, first: int, last: int, back_to: int = 0) -> tuple[int, list[Any], list[int]]:
    told: list[Any] = []
    failed: list[int] = []

    def mend(step: int, error: NotFinite) -> int:
        failed.append(step)
        return back_to

    end = train_loop(
        learner,  # type: ignore[arg-type]  # only `step` is called
        lambda step: f"batch {step}",
        first,
        progress=lambda step: step / 10,
        finished=lambda step: step >= last,
        on_step=lambda made, stats: told.append((made, stats["loss"])),
        on_not_finite=mend,
    )
    return end, told, failed


def test_each_step_gets_its_own_batch_and_progress() -> None:
    learner = Counter()
    end, told, _ = looped(learner, 2, 5)
    assert end == 5
    assert learner.seen == [("batch 2", 2, 0.2), ("batch 3", 3, 0.3), ("batch 4", 4, 0.4)]
    assert told == [(3, 2.0), (4, 3.0), (5, 4.0)], "told how many steps are made"


def test_a_loop_that_is_finished_makes_no_step() -> None:
    assert looped(Counter(), 5, 5) == (5, [], [])


def test_after_a_failure_it_goes_on_from_where_it_is_told() -> None:
    learner = Counter(fails=(4,))
    end, told, failed = looped(learner, 0, 6, back_to=2)
    assert (end, failed) == (6, [4])
    assert [step for _, step, _ in learner.seen] == [0, 1, 2, 3, 2, 3, 4, 5]
    assert told[-1] == (6, 5.0)
