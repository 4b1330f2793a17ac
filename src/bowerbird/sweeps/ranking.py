"""Which point won: trials gathered by point, ranked by their mean, and the table that says so."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bowerbird.sweeps.space import Point, spell
from bowerbird.sweeps.trial import Trial


@dataclass(frozen=True)
class Standing:
    """A point and how it did. `spread` is from its best seed to its worst."""

    settings: Point
    status: str
    score: float | None
    spread: float | None
    trials: tuple[Trial, ...]

    @property
    def first(self) -> Trial:
        """Its best trial."""
        return min(self.trials, key=lambda trial: (trial.score is None, trial.score or 0.0, trial.trial))

    def told(self) -> dict[str, Any]:
        """What `--json` prints."""
        best = self.first
        return {
            "trial": best.trial,
            "run": best.run,
            "settings": self.settings,
            "seed": best.seed,
            "score": self.score,
            "spread": self.spread,
            "trials": [trial.trial for trial in self.trials],
        }


def rank(trials: Sequence[Trial], seeds: int) -> list[Standing]:
    """Points from the best to the worst; after those that were finished come pruned and failed ones."""
    points: list[list[Trial]] = []
    for trial in trials:
        same = next((group for group in points if group[0].settings == trial.settings), None)
        same.append(trial) if same is not None else points.append([trial])
    order = ("done", "unfinished", "pruned", "failed")
    standings = [_standing(group, seeds) for group in points]
    return sorted(standings, key=lambda found: (order.index(found.status), found.score or 0.0))


def _standing(trials: list[Trial], seeds: int) -> Standing:
    scores = [trial.score for trial in trials if trial.score is not None]
    worst = next((trial.status for trial in trials if trial.status != "done"), "done")
    status = "unfinished" if worst == "done" and len(trials) < seeds else worst
    mean = sum(scores) / len(scores) if scores and status != "failed" else None
    spread = max(scores) - min(scores) if len(scores) > 1 else None
    return Standing(trials[0].settings, status, mean, spread, tuple(trials))


def doubt(ranked: Sequence[Standing]) -> str | None:
    """Says so where the winner is not ahead of the next with every seed: both had the same ones."""
    first, *others = [found for found in ranked if found.status == "done"][:2]
    if not others or len(first.trials) < 2:
        return None
    pairs = list(zip(first.trials, others[0].trials, strict=True))
    ahead = sum((ours.score or 0.0) < (theirs.score or 0.0) for ours, theirs in pairs)
    if ahead == len(pairs):
        return None
    return (
        f"the best point is ahead of the next with {ahead} of {len(pairs)} seeds: "
        "the order between them may be chance"
    )


def rows(ranked: Sequence[Standing]) -> list[tuple[str, ...]]:
    """A line for each point: rank, settings, score, spread, what became of it, its trials."""
    return [
        (
            str(place + 1) if found.status == "done" else "-",
            " ".join(f"{key}={spell(value)}" for key, value in found.settings.items()),
            "-" if found.score is None else f"{found.score:.4f}",
            "-" if found.spread is None else f"{found.spread:.4f}",
            next((trial.reason for trial in found.trials if trial.status == "failed"), None) or found.status,
            " ".join(f"{trial.trial:04}" for trial in found.trials),
        )
        for place, found in enumerate(ranked)
    ]


def to_csv(ranked: Sequence[Standing], keys: Sequence[str]) -> bytes:
    """A line for each trial, points in the order of their rank."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["rank", "trial", *keys, "seed", "status", "score", "steps", "seconds", "run", "reason"])
    for place, found in enumerate(ranked):
        for trial in found.trials:
            settings = [spell(trial.settings[key]) for key in keys]
            told = [
                trial.seed,
                trial.status,
                trial.score,
                trial.steps,
                trial.seconds,
                trial.run,
                trial.reason,
            ]
            table.writerow([place + 1 if found.status == "done" else None, trial.trial, *settings, *told])
    return text.getvalue().encode("utf-8", "replace")
