"""What the coach of a generator says, when, and the one change it makes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

import pytest

from bowerbird.learning.gan_coach import MOST, GANCoach, Verdict

WELL = {"sure": 0.5, "real_score": 0.4, "fake_score": -0.3, "generator_loss": 1.0}
SURE = {**WELL, "sure": 1.0, "real_score": 8.0, "fake_score": -8.0}


def watched(
    evaluations: Iterable[Mapping[str, float]],
    stats: Mapping[str, float] = WELL,
    coach: GANCoach | None = None,
) -> tuple[GANCoach, list[Verdict]]:
    coach, verdicts = coach or GANCoach(), []
    for number, scores in enumerate(evaluations):
        for _ in range(100):
            coach.note(stats)
        verdicts += coach.judge(100 * number, scores)
    return coach, verdicts


class Learner:
    def __init__(self) -> None:
        self.told: list[tuple[str, float]] = []

    def calm(self, factor: float) -> None:
        self.told.append(("calm", factor))

    def penalise(self, factor: float) -> None:
        self.told.append(("penalise", factor))

    def augment(self, more: float) -> None:
        self.told.append(("augment", more))


def test_a_run_that_gets_better_is_left_alone() -> None:
    scores = [{"fid": 20.0 / n, "recall": 0.05 * n, "diversity": 0.3 + 0.05 * n} for n in range(1, 13)]
    assert watched(scores)[1] == []


def test_a_new_generator_without_modes_is_not_called_collapsed() -> None:
    assert watched([{"fid": 50.0, "recall": 0.0, "diversity": 0.01}] * 6)[1] == []


def test_a_score_that_is_no_number_is_passed_over() -> None:
    bad = {"fid": float("nan"), "recall": float("nan"), "diversity": float("inf")}
    coach, verdicts = watched([bad, {"fid": 2.0, "recall": 0.4}, bad, bad, bad])
    assert verdicts == []
    assert (coach.best_fid, coach.best_recall, coach.best_diversity) == (2.0, 0.4, 0.0)


def test_a_bad_evaluation_is_forgiven_once() -> None:
    assert watched([{"fid": 2.0}, {"fid": 30.0}, {"fid": 1.9}, {"fid": 30.0}, {"fid": 2.0}])[1] == []


@pytest.mark.parametrize(
    ("evaluations", "stats", "finding", "change"),
    [
        ([{"fid": 2.0}, {"fid": 30.0}, {"fid": 40.0}], WELL, "diverged", ("calm", 0.5)),
        ([{}, {}], {**WELL, "generator_loss": 1e6}, "diverged", ("calm", 0.5)),
        ([{}, {}], {**WELL, "real_score": 1e6}, "diverged", ("calm", 0.5)),
        ([{"fid": 5.0}, {"fid": 5.0}], SURE, "critic winning", ("penalise", 2.0)),
        ([{"recall": 0.4}, {"recall": 0.02}, {"recall": 0.0}], WELL, "collapse", ("augment", 0.2)),
        ([{"diversity": 0.9}, {"diversity": 0.1}, {"diversity": 0.1}], WELL, "collapse", ("augment", 0.2)),
    ],
)
def test_each_trouble_is_named_and_answered_by_one_change(
    evaluations: list[dict[str, float]], stats: dict[str, float], finding: str, change: tuple[str, float]
) -> None:
    _, verdicts = watched(evaluations, stats)
    assert [verdict.finding for verdict in verdicts] == [finding]
    assert f"at step {100 * (len(evaluations) - 1)}" in verdicts[0].message
    assert verdicts[0].message.endswith(".")
    learner = Learner()
    verdicts[0].apply(learner)
    assert learner.told == [change]


def test_a_change_is_given_time_and_made_only_so_often() -> None:
    coach, verdicts = watched([{"fid": 5.0}] * 14, SURE)
    assert len(verdicts) == 7, "every other evaluation"
    learner = Learner()
    for verdict in verdicts:
        verdict.apply(learner)
    assert learner.told == [("penalise", 2.0)] * MOST
    assert "nothing more is changed" in verdicts[-1].message
    assert coach.changes == {"critic winning": MOST}


def test_the_recent_past_outweighs_the_first_steps() -> None:
    coach, _ = watched([{}], SURE)
    assert coach.sure == pytest.approx(1.0)
    watched([{}] * 5, WELL, coach)
    assert coach.sure == pytest.approx(0.5, abs=0.01)
    assert coach.gap == pytest.approx(0.7, abs=0.1)


def test_its_state_goes_through_json_and_back() -> None:
    coach, _ = watched([{"fid": 2.0, "recall": 0.5}, {"fid": 30.0, "recall": 0.0}], SURE)
    again = GANCoach(**json.loads(json.dumps(coach.state())))
    assert again == coach
    assert (
        again.judge(300, {"fid": 30.0, "recall": 0.0}) == coach.judge(300, {"fid": 30.0, "recall": 0.0}) != []
    )
    fresh = GANCoach()
    assert GANCoach(**json.loads(json.dumps(fresh.state()))) == fresh
