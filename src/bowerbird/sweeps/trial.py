"""A trial: one point of a sweep with one seed, trained as an ordinary run, and what came of it."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from bowerbird.base.errors import BowerbirdError, CorruptFile, Interrupted, Refused, StorageError
from bowerbird.base.journal import Journal, Listener, Record
from bowerbird.runs.carry import begin, carry_on
from bowerbird.runs.run import Run
from bowerbird.sweeps.plan import Plan
from bowerbird.sweeps.space import Point

Curve = dict[int, float]
"""The best score so far at each twentieth of a run's way."""
PARTS = 20
_SCORES = ("bits_per_byte", "bits_per_note", "fid", "loss")
"""The first of these that a kind's validation gives is what trials are ranked by; lower is better."""
_BEHIND = "behind the median of the trials before it"
_NOT_THE_TRIALS = (Interrupted, StorageError, Refused, CorruptFile)
"""What would befall the next trial too: it ends the sweep, which can be gone on with."""


@dataclass(frozen=True)
class Trial:
    """How a trial went. `score` is of its best checkpoint on held-out data."""

    trial: int
    run: str | None
    settings: Point
    seed: int
    score: float | None
    steps: int
    seconds: float
    status: Literal["done", "pruned", "failed"]
    reason: str | None = None
    curve: Curve = field(default_factory=dict)

    @classmethod
    def of(cls, record: Record) -> Trial:
        known = {key: record[key] for key in cls.__dataclass_fields__ if key in record}
        curve = {int(part): float(score) for part, score in record["curve"].items()}
        return cls(**{**known, "curve": curve})

    def told(self) -> dict[str, Any]:
        """What `--json` prints."""
        return {key: value for key, value in asdict(self).items() if key != "curve"}


def run_trial(
    plan: Plan,
    number: int,
    folder: Path,
    point: Point,
    seed: int,
    *,
    hopeless: Callable[[Curve], bool] | None,
    listener: Listener | None,
    asked: threading.Event,
) -> Trial:
    """Train a trial, or go on with it, to its end; what is wrong with its settings is its result.

    Args:
        hopeless: whether to stop a trial with such a curve; asked at each evaluation.
        asked: is set where a person wants the sweep to stop, but this trial had ended.

    Raises:
        Interrupted: it was asked to stop; the run's state is saved.
    """
    began = time.monotonic()
    stop = threading.Event()
    journal = Journal(folder / "metrics.jsonl")

    def behind() -> bool:
        curve = curve_of(plan, journal.read()) if hopeless else {}
        return bool(hopeless and curve and max(curve) < PARTS - 1 and hopeless(curve))

    def watch(record: Record) -> None:
        if listener:
            listener(record)
        if record.get("event") == "evaluate" and behind():
            stop.set()

    def result(status: Literal["done", "pruned", "failed"], reason: str | None = None) -> Trial:
        records = journal.read()
        return Trial(
            trial=number,
            run=str(folder) if folder.exists() else None,
            settings=point,
            seed=seed,
            score=_score(folder) if status != "failed" else None,
            steps=max((int(record.get("step", 0)) for record in records), default=0),
            seconds=round(max((float(record.get("seconds", 0)) for record in records), default=0.0), 3),
            status=status,
            reason=reason,
            curve=curve_of(plan, records, whole=status == "done"),
        )

    try:
        if (folder / "run.json").exists():
            run = Run.open(folder)
            with run.held():  # what the journal is ahead of the state will be made again
                journal.rewind(int(run.checkpoints()[-1].name))
        else:
            for left in folder.parent.glob(f".{folder.name}.*"):  # of a run that was killed as it began
                shutil.rmtree(left, ignore_errors=True)
            config = plan.config(point, seed)
            run = begin(plan.kind, plan.dataset, folder, config, minutes=plan.minutes, steps=plan.steps)
        ended = any(record.get("event") == "end" for record in journal.read())
        if not ended and behind():  # killed between the verdict and its being written down
            return result("pruned", _BEHIND)
        if not ended:
            carry_on(run, started=began, listener=watch, dataset=plan.dataset, stop=stop)
            if stop.is_set():  # by a person, as it was ending
                asked.set()
    except Interrupted:
        if not behind():
            raise
        return result("pruned", _BEHIND)
    except _NOT_THE_TRIALS:
        raise
    except BowerbirdError as error:
        return result("failed", error.what)
    except Exception as error:
        logging.getLogger(__name__).exception("trial %s failed; the sweep goes on", number)
        return result("failed", f"{type(error).__name__}: {error}".partition("\n")[0])
    return result("done")


def curve_of(plan: Plan, records: Sequence[Record], *, whole: bool = False) -> Curve:
    """The curve in a run's journal; a `whole` one is carried on to the end."""
    curve: Curve = {}
    best, last = float("inf"), 0
    for record in records:
        if record.get("event") != "evaluate":
            continue
        if plan.steps is not None:
            progress = record["step"] / plan.steps
        else:
            progress = record["seconds"] / (60 * (plan.minutes or 1.0))
        part = max(last, min(int(progress * PARTS), PARTS))
        curve.update(dict.fromkeys(range(last, part), best) if curve else {})
        found = {key.removeprefix("valid_"): value for key, value in record.items()}
        best = min(best, found[measure_of(found)])
        curve[part], last = best, part
    if whole and curve:
        curve.update(dict.fromkeys(range(last, PARTS + 1), best))
    return curve


def measure_of(scores: Mapping[str, Any]) -> str:
    """Which of a run's validation scores its trial is ranked by."""
    return next(name for name in _SCORES if name in scores)


def _score(folder: Path) -> float | None:
    scores = Run.open(folder).best()["scores"]
    return float(scores[measure_of(scores)]) if scores else None
