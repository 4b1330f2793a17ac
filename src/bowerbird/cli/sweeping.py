"""The command `sweep`, and how its progress is shown."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from bowerbird.base.journal import Listener, Record
from bowerbird.cli import show
from bowerbird.cli.options import OUTPUT, SETTINGS, Output, Settings


def sweep(
    dataset: Path,
    *,
    out: Path,
    vary: Annotated[tuple[str, ...], Parameter(negative="")],
    trials: int | None = None,
    seeds: int = 1,
    prune: bool = True,
    minutes: float | None = None,
    steps: int | None = None,
    model: str | None = None,
    size: str = "medium",
    seed: int | None = None,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Train with many settings and find the best: each trial a run, a table and a plot at the end.

    Example: bowerbird sweep datasets/poems --out sweeps/poems --vary batch_size=16,32,64 --minutes 1

    Lists alone are tried in full (a grid). With a range, or --trials, Optuna searches, and stops trials that fall
    behind. After Ctrl-C or a crash the same command goes on.

    Parameters
    ----------
    dataset
        A dataset folder made by `prepare`.
    out
        The folder of the sweep: sweep.csv, sweep.png, and a run a trial in trials/.
    vary
        A setting with its values: batch_size=16,32 or model.dropout=0..0.5, optimizer.learning_rate=1e-4..1e-2:log;
        also model.cell=lstm,gru and size=small,medium, which fill in the others anew. May be given many times.
    trials
        How many points to search; 20 where there is a range.
    seeds
        Train each point with so many seeds, and rank by the mean.
    prune
        In a search, stop trials that are behind the median of those before.
    minutes
        Minutes of each trial, 3 unless steps are given: the sweep takes as many times that as it has trials.
    steps
        Training steps of each trial, instead of minutes.
    model
        Of texts and melodies the recurrence, where it is not varied: lstm (unless given), gru, rnn or mingru.
    size
        small, medium or large, where it is not varied.
    seed
        Seed of the search and of the first run of each point.
    """
    from bowerbird import lifecycle
    from bowerbird.data.dataset import Dataset
    from bowerbird.sweeps.ranking import rows

    data = Dataset.open(dataset)
    done = show.stage(
        output,
        lifecycle.sweep,
        data,
        out,
        vary=vary,
        trials=trials,
        seeds=seeds,
        prune=prune,
        model=model,
        size=size,
        minutes=minutes,
        steps=steps,
        seed=seed,
        config=settings.config,
        settings=settings.set,
        listener=_follow(output, data, chosen=trials is not None),
    )
    if done.doubt:
        show.warn(output, done.doubt)
    head = ("rank", "settings", str(done.measure), "spread", "status", "trials")
    best = done.told()["best"]
    lines = [
        *show.table(rows(done.ranked), head),
        f"the best is {best['run']}; all trials: {out / 'sweep.csv'}",
    ]
    if (out / "sweep.png").exists():
        lines.append(f"plot: {out / 'sweep.png'}")
    lines.append(f"train it again, or for longer: {done.command}")
    show.result(output, done.told(), lines, f"bowerbird evaluate {best['run']}")


def _follow(output: Output, data: Any, *, chosen: bool) -> Listener:
    """Shows a sweep as it goes: what lies ahead, each trial and its score, and the live line of the run."""
    told: set[str | None] = set()
    state: dict[str, Any] = {"ran": 0, "began": time.monotonic()}

    def tell(record: Record) -> None:
        event = record.get("event")
        if event == "sweep":
            state.update(record)
            show.note(
                output,
                _ahead(record)
                + ("" if chosen or record["method"] == "grid" else " (--trials N for another number)"),
            )
        elif event == "trial":
            state["run"] = show.follow(output, data)
            settings = " ".join(f"{key}={value}" for key, value in record["settings"].items())
            seed = f" seed {record['seed']}" if state["trials"] > state["points"] else ""
            show.note(output, f"trial {record['trial']} of {state['trials']}: {settings}{seed}", "bold")
        elif event == "result":
            state["ran"] += 1
            score = "" if record["score"] is None else f"{record['score']:.4f} on held-out text, "
            reason = f": {record['reason']}" if record["reason"] else ""
            each = 60 * (state["minutes"] or 0) or (time.monotonic() - state["began"]) / state["ran"]
            left = max(state["trials"] - record["trial"], 0)
            show.note(
                output,
                f"  {score}{record['status']}{reason}; about {show.clock(left * each)} left",
                "cyan" if record["status"] == "done" else "yellow",
            )
        elif event == "note" and "step" not in record:
            show.note(output, record["message"])
        elif event == "train" or (event == "warning" and record["message"] not in told):
            told.add(record.get("message"))  # what each trial would say again is said once
            state["run"](record)

    return tell


def _ahead(record: Record) -> str:
    """How much there is to do, and how long it will take where that is known."""
    seeds = record["trials"] // record["points"]
    what = "a search over" if record["method"] == "search" else "a grid of"
    times = f" with {seeds} seeds, {record['trials']} trials" if seeds > 1 else ""
    kept = f"; {record['ended']} are done" if record["ended"] else ""
    time_each = ""
    if record["minutes"] is not None:
        left = record["minutes"] * 60 * (record["trials"] - record["ended"])
        time_each = f"; {record['minutes']:g} minutes each, at most {show.clock(left)} together"
    return f"{what} {record['points']} points{times}{kept}{time_each}"
