"""What was asked of a sweep: one dataset, what is varied, and what all its trials share."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bowerbird.base.config import Config, parse_settings, read_config_file
from bowerbird.base.errors import UsageError
from bowerbird.data.dataset import Dataset
from bowerbird.kinds import KINDS
from bowerbird.kinds.kind import Kind
from bowerbird.runs.carry import check_budget, settle
from bowerbird.sweeps.space import (
    CELL,
    SIZE,
    Point,
    Space,
    Values,
    assignments,
    count,
    ends,
    grid,
    read_space,
)

DEFAULT_TRIALS = 20
"""Points of a search over a range, unless it is said how many."""
LARGEST_GRID = 1000


@dataclass(frozen=True)
class Plan:
    """Checked before any work: every listed value, every end of a range, every point of a grid."""

    dataset: Dataset
    space: Space
    model: str
    size: str
    minutes: float | None
    steps: int | None
    seed: int | None
    seeds: int
    points: int
    search: bool
    prune: bool
    file: Path | None
    settings: tuple[str, ...]

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        vary: Mapping[str, Any] | Iterable[str],
        trials: int | None,
        *,
        minutes: float | None,
        steps: int | None,
        seeds: int,
        prune: bool,
        **shared: Any,
    ) -> Plan:
        """The plan for what was asked.

        Raises:
            UsageError: something in it cannot be done.
        """
        minutes = check_budget(minutes, steps)
        space = read_space(vary, KINDS[dataset.kind].run_config)
        for number, option in ((trials, "--trials"), (seeds, "--seeds")):
            if number is not None and number < 1:
                raise UsageError(f"{option} must be 1 or more, not {number}")
        if seeds > 1 and "seed" in space:
            raise UsageError("the seed is varied already", hint="leave --seeds or --vary seed out")
        limit, listed = count(space), all(isinstance(side, Values) for side in space.values())
        search = trials is not None or not listed
        points = min(trials or (DEFAULT_TRIALS if search else limit or 1), limit or LARGEST_GRID)
        if points > LARGEST_GRID or (limit is None and (trials or 0) > LARGEST_GRID):
            raise UsageError(
                f"{max(points, trials or 0):,} points are more than the {LARGEST_GRID:,} of the largest sweep",
                hint="list fewer values, or search: --trials 30",
            )
        plan = cls(
            dataset=dataset,
            space=space,
            minutes=minutes,
            steps=steps,
            seeds=seeds,
            points=points,
            search=search,
            prune=prune and search,
            **shared,
        )
        return plan._checked(listed)

    @property
    def kind(self) -> Kind:
        return KINDS[self.dataset.kind]

    def config(self, point: Point, seed: int | None = None) -> Config:
        """The settings of a trial; the cell and the size of a point fill in the others as in `train`."""
        point = {**point, **({} if seed is None else {"seed": seed})}
        told = {key: value for key, value in point.items() if key != SIZE}
        config: Config = settle(
            self.kind,
            self.dataset,
            model=str(point.get(CELL, self.model)),
            size=str(point.get(SIZE, self.size)),
            minutes=self.minutes,
            seed=self.seed,
            config=self.file,
            settings=[*self.settings, *assignments(told)],
        )
        return config

    def seed_of(self, point: Point, repetition: int) -> int:
        return int(self.config(point).seed) + repetition  # type: ignore[attr-defined]  # each kind's record has one

    def record(self) -> dict[str, Any]:
        """What sweep.json holds; two plans with equal records are the same sweep."""
        return {
            "kind": self.kind.name,
            "dataset": self.dataset.digest,
            "vary": {key: str(side) for key, side in self.space.items()},
            "model": self.model,
            "size": self.size,
            "minutes": self.minutes,
            "steps": self.steps,
            "seed": self.seed,
            "seeds": self.seeds,
            "points": self.points,
            "method": "search" if self.search else "grid",
            "prune": self.prune,
            "config": read_config_file(self.file) if self.file else {},
            "settings": parse_settings(self.settings),
        }

    def train_command(self, out: Path, point: Point, seed: int) -> str:
        """The command that trains a point by itself."""
        told = {key: value for key, value in point.items() if key not in (CELL, SIZE)}
        if self.seeds > 1:
            told["seed"] = seed
        chosen = replace(self, model=str(point.get(CELL, self.model)), size=str(point.get(SIZE, self.size)))
        return chosen._command("train", out, [("--set", text) for text in assignments(told)])

    def sweep_command(self, out: Path) -> str:
        """The command that goes on with this sweep."""
        more = [("--vary", f"{key}={side}") for key, side in self.space.items()]
        more += [("--trials", str(self.points))] if self.search else []
        more += [("--seeds", str(self.seeds))] if self.seeds > 1 else []
        more += [("--no-prune", "")] if self.search and not self.prune else []
        return self._command("sweep", out, more)

    def _command(self, verb: str, out: Path, more: list[tuple[str, str]]) -> str:
        budget = (
            ("--steps", str(self.steps)) if self.minutes is None else ("--minutes", f"{self.minutes:.12g}")
        )
        options = [("--out", str(out)), ("--model", self.model), ("--size", self.size), budget]
        options += [("--seed", str(self.seed))] if self.seed is not None else []
        options += [("--config", str(self.file))] if self.file else []
        options += [("--set", setting) for setting in self.settings]
        words = [word for option in [*options, *more] for word in option if word]
        return shlex.join(["bowerbird", verb, str(self.dataset.path), *words])

    def _checked(self, listed: bool) -> Plan:
        given = parse_settings(self.settings)
        for key in self.space:
            if _holds(given, key):
                raise UsageError(f"`{key}` is set and varied", hint="leave --set or --vary out")
        space: Space = dict(self.space)
        typed: dict[str, list[Any]] = {}
        for key, value in ends(self.space):
            typed.setdefault(key, []).append(self._typed(key, value))
        for key, values in typed.items():
            if isinstance(space[key], Values):
                twice = next((value for value in values if values.count(value) > 1), None)
                if twice is not None:
                    raise UsageError(f"--vary {key}: {twice!r} is listed twice")
                space[key] = Values(tuple(values))
        plan = replace(self, space=space)
        if listed and (count(space) or 0) <= LARGEST_GRID:
            plan._distinct()
        return plan

    def _typed(self, key: str, value: Any) -> Any:
        """A value as the run's settings hold it; those that cannot be are refused."""
        config = self.config({key: value})
        found: Any = value if key == SIZE else config.model_dump(mode="json")
        for part in [] if key == SIZE else key.split("."):
            found = found[part]
        return found

    def _distinct(self) -> None:
        """Refuse points that come to the same settings, as sizes do where the width is set by hand."""
        seen: dict[str, Point] = {}
        for point in grid(self.space):
            same = seen.setdefault(self.config(point).model_dump_json(), point)
            if same is not point:
                raise UsageError(
                    f"two points come to the same settings: {' '.join(assignments(same))} and "
                    f"{' '.join(assignments(point))}",
                    hint="a setting given with --set or --config wins over what --size fills in",
                )


def _holds(given: Mapping[str, Any], key: str) -> bool:
    found: Any = given
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return False
        found = found[part]
    return True
