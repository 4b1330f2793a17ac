"""What the coach says of a run, and when it ends one."""

from __future__ import annotations

import json
import math

from bowerbird.learning.coach import LITTLE_TEXT, Coach, before_training


def judged(losses: list[tuple[float, float]], patience: int | None = 3) -> tuple[Coach, list[str]]:
    coach, warnings = Coach(patience), []
    for step, (train, valid) in enumerate(losses):
        warnings += coach.judge(step, train, valid)
    return coach, warnings


def test_the_best_is_the_lowest_so_far() -> None:
    coach, warnings = judged([(3, 3), (2, 2.5), (2, 2.6)])
    assert (coach.best_step, coach.best_loss, coach.is_best) == (1, 2.5, False)
    assert warnings == []
    coach.judge(3, 2, 2.4)
    assert coach.is_best


def test_patience_counts_evaluations_without_a_better_one() -> None:
    assert not judged([(1, 1), (1, 2), (1, 2)])[0].out_of_patience
    assert judged([(1, 1), (1, 2), (1, 2), (1, 2)])[0].out_of_patience
    assert not judged([(1, 1), (1, 2), (1, 2), (1, 0.5), (1, 2)])[0].out_of_patience
    assert judged([(1, 1), (1, 1), (1, 1), (1, 1)])[0].out_of_patience, "as good is not better"


def test_without_patience_a_run_never_ends_early() -> None:
    assert not judged([(1, 1)] + [(1, 2)] * 100, patience=None)[0].out_of_patience


def test_overfitting_is_said_once_with_where_and_what_would_help() -> None:
    coach, warnings = judged([(2, 2), (1.5, 2.1), (1.2, 2.2), (1, 2.5), (0.8, 2.7)], patience=None)
    assert len(warnings) == 1
    assert "overfitting" in warnings[0]
    assert "since step 0" in warnings[0]
    assert "--set model.dropout" in warnings[0]
    assert coach.warned_overfitting


def test_a_plateau_is_not_called_overfitting() -> None:
    assert judged([(2, 2)] + [(2, 2.05)] * 10, patience=None)[1] == []


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    coach, _ = judged([(math.nan, 3), (2, math.nan), (2, math.inf)])
    assert (coach.best_step, coach.best_loss) == (0, 3)


def test_its_state_goes_through_json_and_back() -> None:
    coach, _ = judged([(2, 2), (1, 2.5), (1, 2.6)])
    assert Coach(**json.loads(json.dumps(coach.state()))) == coach


def test_too_little_text_is_said_before_any_work() -> None:
    assert before_training(LITTLE_TEXT, 10) == []
    warning = before_training(1000, 123_456)[0]
    assert "too little text" in warning
    assert "1,000" in warning
    assert "123,456" in warning
