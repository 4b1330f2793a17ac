"""The search: what it tries next and what it stops depend on the trials before and the seed, on nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

import bowerbird as bb
from bowerbird.base.errors import MissingExtra
from bowerbird.data.dataset import Dataset
from bowerbird.runs.run import Run
from bowerbird.sweeps.plan import DEFAULT_TRIALS, Plan
from bowerbird.sweeps.search import Past, hopeless, suggest
from bowerbird.sweeps.space import Point
from bowerbird.sweeps.trial import PARTS, curve_of

SETTINGS = (
    "batch_size=4",
    "length=16",
    "model.width=16",
    "model.embedding=8",
    "patience=null",
    "evaluate_every=10",
)
RATES = {"optimizer.learning_rate": (1e-6, 0.05)}


def planned(dataset: Path, *vary: str, trials: int | None = None, seed: int = 1) -> Plan:
    return Plan.of(
        Dataset.open(dataset), vary, trials, model="lstm", size="small", seed=seed, settings=(), minutes=None,
        steps=20, seeds=1, prune=True, file=None,
    )  # fmt: skip


def past(point: Point, score: float, pruned: bool = False) -> Past:
    return Past(point, score, {part: score + (PARTS - part) / 10 for part in range(PARTS + 1)}, pruned)


def test_a_range_without_a_number_of_trials_has_a_sensible_one(tiny_dataset: Path) -> None:
    assert planned(tiny_dataset, "model.dropout=0..0.5").points == DEFAULT_TRIALS
    assert planned(tiny_dataset, "batch_size=2,4", trials=9).points == 2, "there are no more points than two"


def test_suggestions_are_new_inside_the_space_and_the_same_again(tiny_dataset: Path) -> None:
    plan = planned(tiny_dataset, "batch_size=2,4", "length=8..9", "model.cell=lstm,gru", trials=8)
    tried: list[Past] = []
    for number in range(8):
        point = suggest(plan, tried)
        assert point == suggest(plan, tried)
        assert point not in [known.point for known in tried]
        assert point["batch_size"] in (2, 4)
        assert point["length"] in (8, 9)
        tried.append(past(point, number))
    other = planned(tiny_dataset, "model.dropout=0..0.5", seed=2)
    assert suggest(other, []) != suggest(planned(tiny_dataset, "model.dropout=0..0.5"), [])


def test_the_search_moves_to_where_scores_are_low(tiny_dataset: Path) -> None:
    plan = planned(tiny_dataset, "model.dropout=0..0.9", trials=30)
    tried: list[Past] = []
    for _ in range(30):
        point = suggest(plan, tried)
        tried.append(past(point, (point["model.dropout"] - 0.3) ** 2))
    last = [abs(known.point["model.dropout"] - 0.3) for known in tried[-10:]]
    assert sum(last) / 10 < 0.15  # at random it would be about 0.25


def test_a_trial_behind_the_median_is_hopeless_once_there_are_enough_and_it_is_late_enough(
    tiny_dataset: Path,
) -> None:
    plan = planned(tiny_dataset, "model.dropout=0..0.9")
    tried = [past({"model.dropout": 0.1 * number}, 1.0 + number) for number in range(5)]
    behind = dict.fromkeys(range(11), 9.0)
    ahead = dict.fromkeys(range(11), 1.5)
    assert hopeless(plan, tried, behind)
    assert not hopeless(plan, tried, ahead)
    assert not hopeless(plan, tried, dict.fromkeys(range(3), 9.0)), "too early to say"
    assert not hopeless(plan, tried[:3], behind), "too few to compare with"


def test_a_curve_is_the_best_so_far_at_each_part_of_the_way(tiny_dataset: Path) -> None:
    plan = planned(tiny_dataset, "model.dropout=0..0.9")  # of 20 steps: a step is a part
    records = [
        {"event": "evaluate", "step": step, "seconds": 1.0, "valid_bits_per_byte": score}
        for step, score in ((0, 8.0), (3, 5.0), (5, 6.0))
    ]
    assert curve_of(plan, records) == {0: 8.0, 1: 8.0, 2: 8.0, 3: 5.0, 4: 5.0, 5: 5.0}
    assert curve_of(plan, records, whole=True)[PARTS] == 5.0


def test_a_search_prunes_keeps_the_pruned_run_and_goes_on_the_same_after_a_kill(
    tiny_dataset: Path, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def search(out: Path, listener: Any = None) -> bb.Sweep:
        return bb.sweep(
            tiny_dataset, out, vary=RATES, trials=8, steps=20, settings=SETTINGS, seed=1, listener=listener
        )

    straight = search(tmp_path / "straight")
    pruned = [trial for trial in straight.trials if trial.status == "pruned"]
    assert pruned
    assert all(trial.steps < 20 and "median" in str(trial.reason) for trial in pruned)
    assert all(trial.status == "done" for trial in straight.trials[:4])
    assert straight.best is not None
    assert straight.best.status == "done"

    seen: list[str] = []

    def kill(record: dict[str, Any]) -> None:
        seen.append(record["event"])
        if record["event"] == "evaluate" and seen.count("trial") == pruned[0].trial and record["step"] > 0:
            raise Killed

    with pytest.raises(Killed):
        search(tmp_path / "killed", kill)
    again = search(tmp_path / "killed")
    told = [(trial.settings, trial.status, trial.score, trial.steps) for trial in straight.trials]
    assert told == [(trial.settings, trial.status, trial.score, trial.steps) for trial in again.trials]
    run = bb.resume(str(pruned[0].run))
    assert run.outcome["steps"] == 20, "a pruned run is a run like any other"
    assert Run.open(run.path).best()["scores"]["bits_per_byte"] > 0


def test_without_optuna_a_search_names_the_extra_and_a_grid_does_without(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[sweep\]"):
        bb.sweep(tiny_dataset, tmp_path / "s", vary=RATES, steps=2, settings=SETTINGS)
    assert not (tmp_path / "s").exists()
    done = bb.sweep(
        tiny_dataset, tmp_path / "s", vary={"optimizer.learning_rate": [0.01]}, steps=2, settings=SETTINGS
    )
    assert done.best is not None
