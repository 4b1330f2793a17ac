"""A sweep from what is asked to who won: grids, interruption, failure, refusals; tiny models, counted in steps."""

from __future__ import annotations

import csv
import json
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY, Ran

import bowerbird as bb
from bowerbird import lifecycle
from bowerbird.base.errors import DataError, Interrupted, Refused, StorageError, UsageError
from bowerbird.base.files import held
from bowerbird.runs.run import Run
from bowerbird.sweeps.plan import Plan
from bowerbird.sweeps.ranking import doubt, rank
from bowerbird.sweeps.trial import Trial

SETTINGS = tuple(setting for setting in TINY if not setting.startswith("batch_size"))
OPTIONS = [part for setting in SETTINGS for part in ("--set", setting)]
VARY = {"batch_size": [2, 4], "optimizer.learning_rate": [0.001, 0.02]}
Bowerbird = Callable[..., Ran]


def swept(dataset: Path, out: Path, **how: Any) -> bb.Sweep:
    return bb.sweep(dataset, out, **{"vary": VARY, "steps": 8, "settings": SETTINGS, **how})


def table(out: Path) -> list[dict[str, str]]:
    """The rows of sweep.csv, without what differs between two sweeps of the same."""
    rows = list(csv.DictReader((out / "sweep.csv").read_text().splitlines()))
    return [{key: value for key, value in row.items() if key not in ("seconds", "run")} for row in rows]


@pytest.fixture(scope="module")
def whole(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> bb.Sweep:
    """A grid of four points, run without a stop. Not to be changed."""
    return swept(tiny_dataset, tmp_path_factory.mktemp("sweeps") / "whole")


def test_every_point_is_an_ordinary_run_with_its_settings(whole: bb.Sweep) -> None:
    assert [trial.settings for trial in whole.trials] == [
        {"batch_size": size, "optimizer.learning_rate": rate} for size in (2, 4) for rate in (0.001, 0.02)
    ]
    for trial in whole.trials:
        run = Run.open(Path(str(trial.run)))
        assert run.record["settings"]["batch_size"] == trial.settings["batch_size"]
        assert (
            run.record["settings"]["optimizer"]["learning_rate"] == trial.settings["optimizer.learning_rate"]
        )
        assert trial.score == run.best()["scores"]["bits_per_byte"]
        assert (trial.status, trial.steps) == ("done", 8)
    assert bb.load(str(whole.trials[0].run)).generate(length=4)


def test_the_winner_has_the_lowest_score_and_stands_first_in_the_table(whole: bb.Sweep) -> None:
    scores = {trial.trial: trial.score for trial in whole.trials}
    assert whole.best is not None
    assert whole.best.score == min(score for score in scores.values() if score is not None)
    rows = table(whole.path)
    assert [float(row["score"]) for row in rows] == sorted(score for score in scores.values() if score)
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert (whole.path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_the_winning_command_trains_the_winner_again_to_the_bit(
    whole: bb.Sweep, tmp_path: Path, bowerbird: Bowerbird
) -> None:
    assert whole.best is not None
    words = shlex.split(str(whole.command))
    assert words[0] == "bowerbird"
    words[words.index("--out") + 1] = str(tmp_path / "again")
    ran = bowerbird(*words[1:], "--json")
    assert ran.code == 0, ran.err
    assert (
        json.loads(ran.out)["bundle_digest"] == Run.open(Path(str(whole.best.first.run))).best_bundle().digest
    )


@pytest.mark.parametrize("when", ["in the first trial", "in a later trial", "as one ends", "between two"])
def test_a_sweep_that_was_interrupted_ends_as_one_that_was_not(
    when: str, whole: bb.Sweep, tiny_dataset: Path, tmp_path: Path
) -> None:
    seen: list[str] = []

    def press(record: dict[str, Any]) -> None:
        event = str(record["event"])
        seen.append(event)
        wanted = {
            "in the first trial": ("evaluate", 2),
            "in a later trial": ("evaluate", 8),
            "as one ends": ("end", 2),
            "between two": ("result", 1),
        }
        if (event, seen.count(event)) == wanted[when]:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(Interrupted) as stopped:
        swept(tiny_dataset, tmp_path / "s", listener=press)
    assert "bowerbird sweep" in str(stopped.value.hint)
    assert stopped.value.outcome is not None
    assert (
        len(stopped.value.outcome["trials"])
        == {"in the first trial": 0, "in a later trial": 2, "as one ends": 2, "between two": 1}[when]
    )
    swept(tiny_dataset, tmp_path / "s")
    assert table(tmp_path / "s") == table(whole.path)


def test_a_sweep_that_was_killed_ends_as_one_that_was_not(
    whole: bb.Sweep, tiny_dataset: Path, tmp_path: Path
) -> None:
    class Killed(BaseException):
        pass

    def kill(record: dict[str, Any]) -> None:
        seen.append(record["event"])
        if seen.count("evaluate") == 6:
            raise Killed

    seen: list[str] = []
    with pytest.raises(Killed):
        swept(tiny_dataset, tmp_path / "s", listener=kill)
    with (tmp_path / "s" / "trials.jsonl").open("a") as file:
        file.write('{"event": "result", "tri')  # a line cut short
    (tmp_path / "s" / "trials" / ".0003.left").mkdir()
    again: list[dict[str, Any]] = []
    swept(tiny_dataset, tmp_path / "s", listener=again.append)
    assert [record["trial"] for record in again if record["event"] == "result"] == [2, 3, 4]
    assert table(tmp_path / "s") == table(whole.path)
    assert not (tmp_path / "s" / "trials" / ".0003.left").exists()


def test_a_finished_sweep_called_again_trains_nothing(whole: bb.Sweep, tiny_dataset: Path) -> None:
    before = (whole.path / "trials.jsonl").read_bytes()
    assert swept(tiny_dataset, whole.path).told() == whole.told()
    assert (whole.path / "trials.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"vary": {"batch_size": [2, 8]}}, "vary"),
        ({"steps": 9}, "steps"),
        ({"seed": 2}, "seed"),
        ({"settings": [*SETTINGS, "model.dropout=0.2"]}, "settings"),
        ({"seeds": 2}, "seeds"),
    ],
)
def test_another_sweep_in_the_same_place_is_refused_and_said_what_differs(
    changed: dict[str, Any], named: str, whole: bb.Sweep, tiny_dataset: Path
) -> None:
    with pytest.raises(Refused, match=f"different: .*{named}") as error:
        swept(tiny_dataset, whole.path, **changed)
    assert "bowerbird sweep" in str(error.value.hint)


def test_a_place_that_is_taken_by_something_else_is_refused(tiny_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Refused, match="taken"):
        swept(tiny_dataset, tmp_path)


def test_a_sweep_in_another_process_is_left_alone(whole: bb.Sweep, tiny_dataset: Path) -> None:
    with held(whole.path, "x"), pytest.raises(Refused, match="another process is running this sweep"):
        swept(tiny_dataset, whole.path)


def test_a_trial_that_fails_is_recorded_and_the_sweep_goes_on(tiny_dataset: Path, tmp_path: Path) -> None:
    done = swept(tiny_dataset, tmp_path / "s", vary=["freeze=[nowhere],[]"], seeds=2)
    failed, *others = done.trials
    assert (failed.status, failed.run, failed.score) == ("failed", None, None)
    assert "no part `nowhere`" in str(failed.reason)
    assert [trial.status for trial in others] == ["done", "done"]
    assert done.best is not None
    assert done.best.settings == {"freeze": []}
    assert "no part `nowhere`" in (tmp_path / "s" / "sweep.csv").read_text()


def test_a_fault_in_a_trial_is_recorded_too(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bowerbird.learning.next_token import NextToken

    real = NextToken.step

    def step(self: NextToken, batch: Any, step: int, progress: float) -> dict[str, float]:
        if len(batch) == 2:
            raise RuntimeError("not enough memory: you tried to allocate much\nat this place")
        return real(self, batch, step, progress)

    monkeypatch.setattr(NextToken, "step", step)
    done = swept(tiny_dataset, tmp_path / "s", vary={"batch_size": [2, 4]})
    assert [trial.status for trial in done.trials] == ["failed", "done"]
    assert done.trials[0].reason == "RuntimeError: not enough memory: you tried to allocate much"


def test_a_full_disk_is_not_a_trial_s_fault_and_ends_the_sweep_until_there_is_room(
    tiny_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*what: Any, **how: Any) -> None:
        raise StorageError("could not write: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("bowerbird.sweeps.trial.begin", full)
        with pytest.raises(StorageError):
            swept(tiny_dataset, tmp_path / "s", vary={"batch_size": [2]})
    done = swept(tiny_dataset, tmp_path / "s", vary={"batch_size": [2]})
    assert [trial.status for trial in done.trials] == ["done"]


def test_when_every_trial_fails_it_is_an_error_that_says_why(tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"all 2 trials failed.*no part `nowhere`"):
        swept(tiny_dataset, tmp_path / "s", vary=["freeze=[nowhere],[neither]"])


def test_seeds_repeat_each_point_and_the_mean_decides(tiny_dataset: Path, tmp_path: Path) -> None:
    done = swept(tiny_dataset, tmp_path / "s", vary={"batch_size": [2, 4]}, seeds=2, steps=4, seed=5)
    assert [(trial.settings["batch_size"], trial.seed) for trial in done.trials] == [
        (2, 5),
        (2, 6),
        (4, 5),
        (4, 6),
    ]
    for standing in done.ranked:
        low, high = sorted(float(trial.score or 0) for trial in standing.trials)
        assert standing.score == pytest.approx((low + high) / 2)
        assert standing.spread == pytest.approx(high - low)
    assert done.best is not None
    assert f"--set seed={done.best.first.seed}" in str(done.command)


def trial(number: int, value: int, score: float, status: Any = "done") -> Trial:
    return Trial(number, None, {"batch_size": value}, number, score, 1, 1.0, status)


def test_a_lead_that_not_every_seed_agrees_on_is_called_chance() -> None:
    apart = [trial(1, 8, 2.0), trial(2, 8, 2.4), trial(3, 16, 2.1), trial(4, 16, 2.5)]
    assert doubt(rank(apart, 2)) is None
    crossing = [trial(1, 8, 2.0), trial(2, 8, 2.4), trial(3, 16, 2.1), trial(4, 16, 2.35)]
    assert "1 of 2 seeds" in str(doubt(rank(crossing, 2)))


def test_pruned_and_unfinished_points_never_win() -> None:
    ranked = rank([trial(1, 8, 1.0, "pruned"), trial(3, 16, 2.0), trial(4, 16, 2.0), trial(5, 32, 1.5)], 2)
    assert [found.status for found in ranked] == ["done", "unfinished", "pruned"]


def test_varying_size_and_cell_fills_in_the_other_settings_anew(tiny_dataset: Path) -> None:
    plan = Plan.of(
        bb.Dataset.open(tiny_dataset), ["size=small,large", "model=lstm,gru"], None, model="lstm", size="medium",
        seed=None, settings=(), minutes=None, steps=4, seeds=1, prune=True, file=None,
    )  # fmt: skip
    large = plan.config({"size": "large", "model.cell": "gru"}).model_dump()["model"]
    small = plan.config({"size": "small", "model.cell": "lstm"}).model_dump()["model"]
    assert (large["width"], large["cell"], small["width"], small["cell"]) == (768, "gru", 192, "lstm")
    assert "--model gru --size large" in plan.train_command(
        Path("x"), {"size": "large", "model.cell": "gru"}, 1
    )


BAD: list[tuple[dict[str, Any], str]] = [
    ({"vary": {"batch_size": [2, 0]}}, "batch_size"),
    ({"vary": ["batch_size=2,many"]}, "batch_size"),
    ({"vary": ["model.dropout=0..1"]}, "dropout"),
    ({"vary": ["model=lstm,gur"]}, "gru"),
    ({"vary": ["size=small,larg"]}, "large"),
    ({"vary": ["batch_size=2,4"], "settings": ["batch_size=4"]}, "set and varied"),
    ({"vary": ["batch_size=4,4.0"]}, "listed twice"),
    ({"vary": ["seed=1,2"], "seeds": 2}, "varied already"),
    ({"vary": ["size=small,large"], "settings": ["model.width=8", "model.embedding=8"]}, "same settings"),
    ({"vary": ["seed=" + ",".join(map(str, range(1001)))]}, "largest"),
    ({"vary": ["model.dropout=0..0.5"], "trials": 5000}, "largest"),
    ({"trials": 0}, "--trials"),
    ({"seeds": 0}, "--seeds"),
    ({"steps": 0}, "--steps"),
    ({"minutes": 1}, "not both"),
]


@pytest.mark.parametrize(("wrong", "says"), BAD, ids=[says for _, says in BAD])
def test_what_cannot_be_done_is_refused_before_any_work(
    wrong: dict[str, Any], says: str, tiny_dataset: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError) as error:
        swept(tiny_dataset, tmp_path / "s", **wrong)
    assert says in str(error.value)
    assert not (tmp_path / "s").exists()


def test_a_config_file_that_changed_is_another_sweep(tiny_dataset: Path, tmp_path: Path) -> None:
    file = tmp_path / "more.yaml"
    file.write_text("model: {norm: layer}\n")
    how: dict[str, Any] = {"vary": {"batch_size": [2]}, "steps": 2, "config": file}
    done = swept(tiny_dataset, tmp_path / "s", **how)
    assert f"--config {file}" in str(done.command)
    file.write_text("model: {norm: rms}\n")
    with pytest.raises(Refused, match="config"):
        swept(tiny_dataset, tmp_path / "s", **how)


def test_trials_have_their_minutes_each(tiny_dataset: Path, tmp_path: Path) -> None:
    done = lifecycle.sweep(
        tiny_dataset,
        tmp_path / "s",
        vary={"batch_size": [4]},
        minutes=0.1,
        settings=[*SETTINGS, "patience=null"],
    )
    assert Run.open(Path(str(done.trials[0].run))).record["budget"] == {"minutes": 0.1, "steps": None}
    assert "--minutes 0.1" in str(done.command)


def test_the_command_tells_what_it_does_and_prints_one_object(
    whole: bb.Sweep, tiny_dataset: Path, bowerbird: Bowerbird
) -> None:
    vary = ["--vary", "batch_size=2,4", "--vary", "optimizer.learning_rate=1e-3,0.02"]
    asked = ["sweep", tiny_dataset, "--out", whole.path, *vary, "--steps", 8, *OPTIONS]
    told = json.loads(bowerbird(*asked, "--json").out)
    assert {"sweep", "dataset", "trials", "measure", "best", "command"} <= set(told)
    assert told["measure"] == "bits_per_byte"
    keys = {"trial", "run", "settings", "seed", "score", "steps", "seconds", "status", "reason"}
    assert all(set(found) == keys for found in told["trials"])
    assert told["best"]["score"] == min(found["score"] for found in told["trials"])
    ran = bowerbird(*asked)
    assert ran.code == 0
    assert "4 are done" in ran.err
    assert f"train it again, or for longer: {told['command']}" in ran.out
    assert f"next: bowerbird evaluate {told['best']['run']}" in ran.err
    ran = bowerbird(*asked, "--seed", 9)
    assert (ran.code, ran.out) == (5, "")
