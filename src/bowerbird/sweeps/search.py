"""Optuna's part: which point to try next, and whether a trial is worth going on with.

Both are functions of the trials before and a seed, so that a sweep which was stopped goes on the same.
TPE: Bergstra et al. 2011; the median rule: Golovin et al. 2017, section 3.2.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from bowerbird.base.device import mixed_seed
from bowerbird.base.errors import MissingExtra
from bowerbird.sweeps.plan import Plan
from bowerbird.sweeps.space import Point, Space, Values, count, grid
from bowerbird.sweeps.trial import PARTS, Curve

WARM_UP = PARTS * 3 // 10
"""Before this part of its way no trial is stopped: early curves say little."""
FIRST_WHOLE = 4
"""So many trials are trained to their end before any is stopped."""
_TRIES = 16
"""Draws until a point is new; then the first new one of the grid is taken, if there is a grid."""


@dataclass(frozen=True)
class Past:
    """A point that was tried: its mean score (None: it failed) and the curve of its first trial."""

    point: Point
    score: float | None
    curve: Curve
    pruned: bool


def suggest(plan: Plan, past: Sequence[Past]) -> Point:
    """The next point to try, a new one as long as there are any.

    Raises:
        MissingExtra: Optuna is not installed.
    """
    optuna = load()
    tried = [known.point for known in past]
    distributions = _distributions(optuna, plan.space)
    for draw in range(_TRIES):
        seed = mixed_seed(plan.seed or 0, len(past), draw) % (1 << 32)
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=max(FIRST_WHOLE, plan.points // 4))
        study = _study(optuna, plan.space, past, sampler=sampler)
        point = _point(plan.space, study.ask(distributions).params)
        if point not in tried:
            return point
    if count(plan.space) is not None:
        point = next((new for new in islice(grid(plan.space), len(tried) + 1) if new not in tried), point)
    return point


def hopeless(plan: Plan, past: Sequence[Past], curve: Curve) -> bool:
    """Whether a trial with this curve is behind the median of those that went to their end."""
    optuna = load()
    pruner = optuna.pruners.MedianPruner(n_startup_trials=FIRST_WHOLE, n_warmup_steps=WARM_UP)
    study = _study(optuna, plan.space, past, pruner=pruner)
    trial = study.ask()
    for part, score in curve.items():
        trial.report(score, part)
    return bool(trial.should_prune())


def load() -> Any:
    """Optuna, quiet.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(
            "searching (a range, or --trials)", "sweep", instead="list values for a grid: --vary KEY=a,b,c"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _study(optuna: Any, space: Space, past: Sequence[Past], **parts: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(**parts)
    distributions = _distributions(optuna, space)
    states = optuna.trial.TrialState
    for known in past:
        if known.score is None:
            continue
        study.add_trial(
            optuna.trial.create_trial(
                params=_params(space, known.point),
                distributions=distributions,
                value=None if known.pruned else known.score,
                state=states.PRUNED if known.pruned else states.COMPLETE,
                intermediate_values=known.curve,
            )
        )
    return study


def _distributions(optuna: Any, space: Space) -> dict[str, Any]:
    kinds = optuna.distributions
    return {
        key: kinds.CategoricalDistribution(range(len(side.values)))
        if isinstance(side, Values)
        else (kinds.IntDistribution if side.whole else kinds.FloatDistribution)(
            side.low, side.high, log=side.log
        )
        for key, side in space.items()
    }


def _point(space: Space, params: dict[str, Any]) -> Point:
    return {
        key: side.values[params[key]] if isinstance(side, Values) else side.near(params[key])
        for key, side in space.items()
    }


def _params(space: Space, point: Point) -> dict[str, Any]:
    return {
        key: side.values.index(point[key]) if isinstance(side, Values) else point[key]
        for key, side in space.items()
    }
