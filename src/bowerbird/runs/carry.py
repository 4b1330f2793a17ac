"""Begins a run, or takes one up again: joins the folder, the dataset and the learner, and trains."""

from __future__ import annotations

import math
import shutil
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from bowerbird.base.config import Config, resolve
from bowerbird.base.errors import BudgetTooShort, CorruptFile, Interrupted, UsageError
from bowerbird.base.journal import Journal, Listener
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.kind import Kind
from bowerbird.learning.coach import Coach
from bowerbird.learning.pace import Pace
from bowerbird.runs.previews import rewind_previews
from bowerbird.runs.run import Run
from bowerbird.runs.saver import Saver, first_manifest
from bowerbird.runs.stopping import interruptible
from bowerbird.runs.training import Training, prepare_machine

DEFAULT_MINUTES = 3.0


def check_budget(minutes: float | None, steps: int | None) -> float | None:
    """Refuse a budget that is no budget; returns the minutes, the default ones where nothing is given.

    Raises:
        UsageError: both are given, or one is not positive.
    """
    if minutes is not None and steps is not None:
        raise UsageError("give --minutes or --steps, not both")
    if minutes is not None and not (math.isfinite(minutes) and minutes > 0):
        raise UsageError(f"--minutes must be above 0, not {minutes}")
    if steps is not None and steps < 1:
        raise UsageError(f"--steps must be 1 or more, not {steps}")
    return DEFAULT_MINUTES if minutes is None and steps is None else minutes


def settle(
    kind: Kind,
    dataset: Dataset,
    *,
    model: str | None,
    size: str,
    minutes: float | None,
    seed: int | None,
    config: Path | None,
    settings: Iterable[str],
) -> Any:
    """The settings of a new run, every one filled in: what is recommended, then what is given.

    Where no model is named it is the kind's first.
    """
    model = next(iter(kind.models)) if model is None else model
    layers = [kind.recommend(dataset, model, size, minutes), {} if seed is None else {"seed": seed}]
    return resolve(kind.run_config, *layers, config_file=config, settings=settings, where="train")


def begin(
    kind: Kind,
    dataset: Dataset,
    out: Path,
    config: Config,
    *,
    minutes: float | None,
    steps: int | None,
    weights: Mapping[str, Tensor] | None = None,
    partners: Mapping[str, Tensor] | None = None,
    parent: str | None = None,
) -> Run:
    """Make the folder of a new run, with its first checkpoint in it.

    It begins with new weights, or with those given: of the network that ships, and of its partners.
    """
    network, learner = _build(kind, dataset, config, weights)
    if weights is not None and partners:
        learner.restore(weights, partners)
    settings = config.model_dump(mode="json")
    pace = Pace.of_steps(steps) if steps else Pace()
    state = {
        "step": 0,
        "pace": {"knots": pace.knots, "last_step": pace.last_step},
        "coach": Coach(patience=None).state(),
        **({"watch": kind.watch().state()} if kind.watch else {}),
        "mean_loss": None,
        "seconds": 0.0,
        "seconds_left": minutes * 60 if minutes is not None else None,
        "best": {"step": None, "scores": None},
    }
    saver = _saver(out, kind, dataset, settings, parent, network)
    record = {
        "kind": kind.name,
        "settings": settings,
        "budget": {"minutes": minutes, "steps": steps},
        "dataset": {"path": str(dataset.path.absolute()), "digest": dataset.digest},
        "parent": parent,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
    }
    return Run.create(out, record, lambda folder: str(saver.save(0, learner, state, folder)))


def launch(run: Run, *, dataset: Dataset, made: Path | None = None, **how: Any) -> dict[str, Any]:
    """`carry_on` for a run that has just begun. If there is no time for a step, it is taken away again.

    `made` is a folder that was made for it.
    """
    try:
        return carry_on(run, dataset=dataset, **how)
    except BudgetTooShort:
        for path in (run.path, made):
            if path is not None:
                shutil.rmtree(path, ignore_errors=True)
        raise


def carry_on(
    run: Run,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    started: float | None = None,
    listener: Listener | None = None,
    sitting: int | None = None,
    dataset: Dataset | None = None,
    stop: threading.Event | None = None,
) -> dict[str, Any]:
    """Train a run to the end of its budget, or by `minutes` or `steps` more; returns the outcome.

    `started` (on time.monotonic) is when the time began to count. To set `stop`, as a listener may, stops
    the run at its next step as Ctrl-C does.

    Raises:
        Interrupted: it was asked to stop; the state is saved.
        Refused: another process holds the run.
    """
    check_budget(minutes, steps)
    began = time.monotonic() if started is None else started
    with run.held(), interruptible(stop) as asked:
        dataset = dataset or run.dataset()
        network, learner = _build(run.kind, dataset, run.config)
        bundle, resume, state = run.newest()
        with _fitting(run):
            learner.restore(bundle.weights(), bundle.partners(), resume)
        settings = run.record["settings"]
        saver = _saver(run.path, run.kind, dataset, settings, run.record["parent"], network)
        journal = Journal(run.journal_path, listener)
        with _fitting(run):
            journal.rewind(int(state["step"]))
            by_time = minutes is not None or (steps is None and state["pace"]["last_step"] is None)
            seconds = minutes * 60 if minutes is not None else float(state["seconds_left"] or 0.0)
        training = Training(
            run,
            dataset,
            learner,
            network,
            saver,
            journal,
            deadline=began + seconds if by_time else None,
            stop=asked,
            sitting=sitting,
        )
        with _fitting(run):
            training.restore(state)
        rewind_previews(run.path, training.step)
        training.began = began
        if minutes is not None or steps is not None:
            training.extend(steps)
        try:
            reason = training.train()
        except Interrupted as error:
            error.outcome = _outcome(run, training, "interrupted", began)
            raise
        training.final_scores()
        return _outcome(run, training, reason, began)


@contextmanager
def _fitting(run: Run) -> Iterator[None]:
    """Taking up a checkpoint that is whole but was not written by such a run."""
    try:
        yield
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CorruptFile(
            f"the newest checkpoint does not fit this run: {error}",
            where=run.checkpoints()[-1],
            hint="start a new run",
        ) from error


def _outcome(run: Run, training: Training, reason: str, began: float) -> dict[str, Any]:
    """What `train --json` prints."""
    return {
        "run": str(run.path),
        "kind": run.kind.name,
        "model": run.kind.model_name(run.record["settings"]),
        "parameters": run.record["parameters"],
        "steps": training.step,
        "seconds": round(time.monotonic() - began, 3),
        "stopped": reason,
        "best": run.best(),
        "bundle_digest": run.best_bundle().digest,
    }


def _build(
    kind: Kind, dataset: Dataset, config: Any, weights: Mapping[str, Tensor] | None = None
) -> tuple[nn.Module, Any]:
    device = prepare_machine(config)
    network = kind.build_network(config.model.model_dump(), dataset.codec).to(device)
    if weights is not None:
        network.load_state_dict(dict(weights), strict=True)
    return network, kind.build_learner(network, config, dataset)


def _saver(
    out: Path, kind: Kind, dataset: Dataset, settings: dict[str, Any], parent: str | None, network: nn.Module
) -> Saver:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Saver(
        out,
        first_manifest(kind, settings, dataset, parent),
        dataset.codec.files(),
        kind.card(settings, dataset, parameters),
    )
