"""The clock that baselines learn by, and what is kept of them."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import learning
import machine
from learning import NotNumbers, learn
from tables import machine_lines


class Clock:
    """Stands for the clock: time passes only where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    stands = Clock()
    monkeypatch.setattr(learning, "time", stands)
    return stands


class Taught:
    """A network whose weight counts its steps; a step takes a second and a look three."""

    def __init__(self, clock: Clock, scores: list[float], losses: dict[int, float] | None = None):
        self.clock, self.scores, self.losses = clock, iter(scores), losses or {}
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.network.weight)
        self.progress: list[float] = []

    def step(self, progress: float) -> Tensor:
        self.clock.now += 1
        self.progress.append(progress)
        with torch.no_grad():
            self.network.weight.add_(1)
        return torch.tensor(self.losses.get(len(self.progress), 0.5))

    def judge(self) -> float:
        self.clock.now += 3
        score = next(self.scores)
        if score < 0:
            raise NotNumbers
        return score


def test_the_weights_with_the_lowest_score_are_kept(clock: Clock) -> None:
    pupil = Taught(clock, [9.0, 4.0, 2.0, 3.0, 5.0])
    found = learn(pupil.network, pupil.step, pupil.judge, 8.0, looks=4)
    assert [score for _, score in found.curve] == [9.0, 4.0, 2.0, 3.0, 5.0]
    assert found.best == 2.0
    assert found.weights["weight"].item() == 4.0, "of the third look, after four steps"
    assert pupil.network.weight.item() == 8.0
    assert found.finite


def test_the_clock_stands_still_for_looks_that_take_no_share(clock: Clock) -> None:
    pupil = Taught(clock, [9.0] * 9)
    found = learn(pupil.network, pupil.step, pupil.judge, 8.0, looks=4)
    assert (found.steps, found.seconds) == (8, 8.0)
    assert [at for at, _ in found.curve] == [0.0, 2.0, 4.0, 6.0, 8.0]
    assert found.judging_seconds == 15.0
    assert pupil.progress == [at / 8 for at in range(8)]


def test_looks_that_take_a_share_are_on_the_clock_and_the_last_ends_in_time(clock: Clock) -> None:
    pupil = Taught(clock, [9.0] * 99)
    found = learn(pupil.network, pupil.step, pupil.judge, 60.0, looks=20, share=0.2)
    assert found.seconds == 60.0
    assert found.steps + found.judging_seconds == 60.0
    assert found.judging_seconds <= 0.2 * 60 + 3
    apart = [after - before for (before, _), (after, _) in zip(found.curve, found.curve[1:], strict=False)]
    assert min(apart[:-1]) >= 15.0, "three seconds are a fifth of fifteen"


def test_without_a_judge_nothing_is_kept(clock: Clock) -> None:
    pupil = Taught(clock, [])
    found = learn(pupil.network, pupil.step, None, 5.0)
    assert (found.steps, found.seconds, found.judging_seconds) == (5, 5.0, 0.0)
    assert (found.curve, found.weights) == ([], {})


@pytest.mark.parametrize(("at", "steps"), [(50, 50), (60, 60), (20, 60)])
def test_a_loss_that_is_no_number_ends_it(clock: Clock, at: int, steps: int) -> None:
    pupil = Taught(clock, [1.0] * 99, {at: math.nan, 60: math.nan})
    found = learn(pupil.network, pupil.step, pupil.judge, 60.0)
    assert not found.finite
    assert found.steps == steps
    assert len(found.curve) == 1, "what is no number is not judged"


def test_a_judge_that_finds_no_numbers_ends_it_and_what_was_good_is_kept(clock: Clock) -> None:
    pupil = Taught(clock, [3.0, 2.0, -1.0, 1.0])
    found = learn(pupil.network, pupil.step, pupil.judge, 60.0, looks=6)
    assert not found.finite
    assert found.best == 2.0
    assert found.weights["weight"].item() == 10.0
    assert found.steps == 20


def test_a_score_that_is_no_number_is_the_best_of_nothing(clock: Clock) -> None:
    pupil = Taught(clock, [math.nan, 4.0, 6.0])
    found = learn(pupil.network, pupil.step, pupil.judge, 4.0, looks=2)
    assert found.best == 4.0
    assert found.weights["weight"].item() == 2.0


def test_time_passes_without_help() -> None:
    network = nn.Linear(1, 1)
    began = time.monotonic()
    found = learn(network, lambda progress: torch.zeros(()), None, 0.02)
    assert 0.02 <= found.seconds <= time.monotonic() - began
    assert found.steps > 0


def test_the_machine_says_what_every_benchmark_tells_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks: dict[str, Any] = {"float32": 2e9, "bfloat16": None}
    monkeypatch.setattr(machine, "product_peaks", lambda: peaks)
    first, second, *_ = machine_lines(machine.describe())
    assert f"torch {torch.__version__}" in first
    assert second == "products at best, Gflop/s: float32 2, bfloat16 none"
