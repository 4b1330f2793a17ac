"""A sweep in a folder of its own: every trial a run, what came of each, and who won.

sweep.json      what was asked; written once
trials.jsonl    its journal: a line as a trial begins, a line with what came of it
trials/0001/    an ordinary run
sweep.csv       the table, from the best point to the worst
sweep.png       the picture, where matplotlib is installed
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from bowerbird.base.digest import seal_holds, sealed
from bowerbird.base.errors import CorruptFile, DataError, Interrupted, Refused
from bowerbird.base.files import check_format, held, read_json, whole_folder, write_json, write_whole
from bowerbird.base.journal import Journal, Listener, Record
from bowerbird.runs.run import Run
from bowerbird.runs.stopping import interruptible
from bowerbird.sweeps.plan import Plan
from bowerbird.sweeps.plot import draw
from bowerbird.sweeps.ranking import Standing, doubt, rank, to_csv
from bowerbird.sweeps.search import Past, hopeless, load, suggest
from bowerbird.sweeps.space import Point, grid
from bowerbird.sweeps.trial import Trial, measure_of, run_trial

FORMAT = 1


@dataclass(frozen=True)
class Sweep:
    """A sweep as far as it has come. `best` is the point with the lowest mean score; lower is better."""

    path: Path
    plan: Plan
    trials: tuple[Trial, ...]

    @property
    def ranked(self) -> list[Standing]:
        return rank(self.trials, self.plan.seeds)

    @property
    def best(self) -> Standing | None:
        return next((found for found in self.ranked if found.status == "done"), None)

    @property
    def measure(self) -> str | None:
        """What the scores are, as `bits_per_byte`: of each run's best checkpoint on held-out data."""
        best = self.best
        return measure_of(Run.open(Path(str(best.first.run))).best()["scores"]) if best else None

    @property
    def command(self) -> str | None:
        """The command that trains the winner again, or for longer."""
        best = self.best
        out = self.path.with_name(f"{self.path.name}-best")
        return self.plan.train_command(out, best.settings, best.first.seed) if best else None

    @property
    def doubt(self) -> str | None:
        """Where the winner's lead may be chance, says so."""
        return doubt(self.ranked) if self.best else None

    def told(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {
            "sweep": str(self.path),
            "dataset": str(self.plan.dataset.path),
            "trials": [trial.told() for trial in self.trials],
            "measure": self.measure,
            "best": self.best.told() if self.best else None,
            "doubt": self.doubt,
            "command": self.command,
        }


def open_sweep(plan: Plan, out: Path) -> None:
    """Make the folder of a sweep; the one of a sweep that was stopped is left as it is.

    Raises:
        Refused: the place is taken by something else, or by a sweep of other settings.
    """
    path = out / "sweep.json"
    if not path.exists():
        with whole_folder(out) as building:
            (building / "trials").mkdir()
            record = {"format": FORMAT, "asked": plan.record(), "command": plan.sweep_command(out)}
            write_json(building / "sweep.json", sealed(record))
        return
    found = read_json(path, "sweep")
    if not isinstance(found, dict) or not isinstance(found.get("asked"), dict):
        raise CorruptFile("this sweep is damaged", where=path)
    check_format(found.get("format"), FORMAT, "sweep", path)
    if not seal_holds(found):
        raise CorruptFile("this sweep was changed or damaged: its digest does not match", where=path)
    asked = plan.record()
    other = sorted(key for key in {*asked, *found["asked"]} if asked.get(key) != found["asked"].get(key))
    if other:
        raise Refused(
            f"another sweep was begun here; different: {', '.join(other)}",
            where=out,
            hint=f"choose another --out, or go on with it: {found['command']}",
        )


def conduct(plan: Plan, out: Path, listener: Listener | None = None) -> Sweep:
    """Run every trial that has not ended yet, then write the table and the picture.

    Raises:
        MissingExtra: it is a search, and Optuna is not installed.
        Interrupted: it was asked to stop; the same command goes on.
        DataError: every trial failed.
    """
    if plan.search:
        load()
    open_sweep(plan, out)
    with held(out, "another process is running this sweep"), interruptible() as asked:
        conductor = _Conductor(plan, out, listener, asked)
        try:
            conductor.run()
        except Interrupted as error:
            raise conductor.stopped() from error
        return conductor.finish()


class _Conductor:
    """The parts of a sweep in one process."""

    def __init__(self, plan: Plan, out: Path, listener: Listener | None, asked: threading.Event):
        self.plan, self.out, self.listener, self.asked = plan, out, listener, asked
        self.journal = Journal(out / "trials.jsonl", listener)
        self.journal.rewind(0)  # a last line that a crash cut short must not be written on
        records = self.journal.read()
        self.begun = {record["trial"]: record["settings"] for record in records if record["event"] == "trial"}
        ended = (Trial.of(record) for record in records if record["event"] == "result")
        self.ended = {
            trial.trial: replace(trial, run=trial.run and str(self._folder(trial.trial))) for trial in ended
        }

    def run(self) -> None:
        plan = self.plan
        self._tell(
            event="sweep",
            method="search" if plan.search else "grid",
            points=plan.points,
            trials=plan.points * plan.seeds,
            ended=len(self.ended),
            minutes=plan.minutes,
        )
        listed = [] if plan.search else list(grid(plan.space))
        past: list[Past] = []
        for index in range(plan.points):
            first = index * plan.seeds + 1
            point = listed[index] if listed else self.begun.get(first) or suggest(plan, past)
            trials: list[Trial] = []
            for repetition in range(plan.seeds):
                trial = self._trial(first + repetition, point, repetition, past)
                trials.append(trial)
                if trial.status != "done":
                    break
            past.append(_past(trials))

    def _trial(self, number: int, point: Point, repetition: int, past: Sequence[Past]) -> Trial:
        """One trial's result, kept from before or new. Only the first seed of a point can be pruned."""
        if number in self.ended:
            return self.ended[number]
        if self.asked.is_set():
            raise Interrupted("stopped between two trials")
        seed = self.plan.seed_of(point, repetition)
        if number in self.begun:
            self._tell(event="trial", trial=number, settings=point, seed=seed)
        else:
            self.journal.write(event="trial", trial=number, settings=point, seed=seed)
        prune = self.plan.prune and repetition == 0
        trial = run_trial(
            self.plan,
            number,
            self._folder(number),
            point,
            seed,
            hopeless=partial(hopeless, self.plan, past) if prune else None,
            listener=self.listener,
            asked=self.asked,
        )
        self.journal.write(event="result", **trial.told(), curve=trial.curve)
        self.ended[number] = trial
        return trial

    def _folder(self, number: int) -> Path:
        return self.out / "trials" / f"{number:04}"

    def so_far(self) -> Sweep:
        return Sweep(self.out, self.plan, tuple(trial for _, trial in sorted(self.ended.items())))

    def stopped(self) -> Interrupted:
        error = Interrupted(
            f"stopped after {len(self.ended)} trials; everything is saved",
            where=self.out,
            hint=f"the same command goes on: {self.plan.sweep_command(self.out)}",
        )
        error.outcome = self.so_far().told()
        return error

    def finish(self) -> Sweep:
        sweep = self.so_far()
        write_whole(self.out / "sweep.csv", to_csv(sweep.ranked, list(self.plan.space)))
        if sweep.best is None:
            failed = [trial for trial in sweep.trials if trial.reason]
            raise DataError(
                f"all {len(sweep.trials)} trials failed; the first: {failed[0].reason}",
                where=self.out / "sweep.csv",
                hint="vary other values, or see what `train` says to one of them",
            )
        picture = draw(self.plan.space, sweep.ranked, str(sweep.measure))
        if picture:
            write_whole(self.out / "sweep.png", picture)
        else:
            self._tell(event="note", message="sweep.png is not drawn: pip install 'bowerbird[eval]'")
        return sweep

    def _tell(self, **record: Any) -> None:
        if self.listener:
            told: Record = record
            self.listener(told)


def _past(trials: Sequence[Trial]) -> Past:
    scores = [trial.score for trial in trials if trial.score is not None]
    good = bool(scores) and trials[-1].status != "failed"
    return Past(
        trials[0].settings,
        sum(scores) / len(scores) if good else None,
        trials[0].curve,
        pruned=trials[0].status == "pruned",
    )
