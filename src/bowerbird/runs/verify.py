"""Proves on a run's own settings that stopping and resuming changes no bit."""

from __future__ import annotations

import math
import random
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bowerbird.base.errors import Interrupted, UsageError
from bowerbird.runs.carry import begin, carry_on
from bowerbird.runs.run import Run, checkpoint_name
from bowerbird.store.bundle import open_checkpoint


def verify(run: Run, *, steps: int, stops: int, seed: int) -> dict[str, Any]:
    """Train `steps` steps from the start, once straight through and once stopped and resumed `stops` times.

    Everything is read back from disk at each stop, as after a crash. Returns `equal`, the steps stopped at,
    and for each tensor of the last checkpoint (weights, partners, optimisers, carried state) whether it is equal.

    Raises:
        UsageError: there is no room for so many stops.
    """
    if not 0 < stops < steps:
        raise UsageError(f"{stops} stops do not fit into {steps} steps")
    dataset = run.dataset()
    places = sorted(random.Random(seed).sample(range(1, steps), stops))
    with tempfile.TemporaryDirectory(prefix="bowerbird-verify-") as folder:
        straight = begin(run.kind, dataset, Path(folder, "straight"), run.config, minutes=None, steps=steps)
        carry_on(straight, dataset=dataset)
        stopped = begin(run.kind, dataset, Path(folder, "stopped"), run.config, minutes=None, steps=steps)
        for place in places:
            with suppress(Interrupted):
                carry_on(stopped, dataset=dataset, sitting=place)
        outcome = carry_on(stopped, dataset=dataset)
        ours, theirs = _last_tensors(straight), _last_tensors(stopped)
    tensors = [_compared(name, ours.get(name), theirs.get(name)) for name in sorted(set(ours) | set(theirs))]
    return {
        "run": str(run.path),
        "steps": outcome["steps"],
        "stops": places,
        "equal": all(row["equal"] for row in tensors),
        "tensors": tensors,
    }


def _last_tensors(run: Run) -> dict[str, Tensor]:
    last = run.checkpoints()[-1]
    bundle, resume, _ = open_checkpoint(run.path / "checkpoints" / checkpoint_name(int(last.name)))
    return {
        **{f"weights/{name}": value for name, value in bundle.weights().items()},
        **{f"partners/{name}": value for name, value in bundle.partners().items()},
        **resume,
    }


def _compared(name: str, ours: Tensor | None, theirs: Tensor | None) -> dict[str, Any]:
    shape = list(ours.shape) if ours is not None else None
    if ours is None or theirs is None or ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return {"name": name, "shape": shape, "equal": False, "max_abs_difference": None}
    same_bits = torch.equal(ours.reshape(-1).view(torch.uint8), theirs.reshape(-1).view(torch.uint8))
    difference = 0.0 if same_bits else float((ours.double() - theirs.double()).abs().max())
    known = None if math.isnan(difference) else difference
    return {"name": name, "shape": shape, "equal": same_bits, "max_abs_difference": known}
