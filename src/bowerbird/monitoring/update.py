"""An update: new data gathered, the live version fine-tuned on it, both judged, and a challenger put on trial.

    WORKSPACE/updates/NAME/STAMP/    new/, dataset/, run/, old-1.json ...: what it was made of
    WORKSPACE/updates/NAME.jsonl     every decision, with its numbers

Nothing becomes live without consent: a person's, here and now, or a policy's, once a trial has shown enough.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from bowerbird.base.errors import Refused
from bowerbird.base.journal import Listener
from bowerbird.data.dataset import Dataset
from bowerbird.monitoring.decisions import Decision, note
from bowerbird.monitoring.making import CHALLENGER, Making
from bowerbird.monitoring.wanted import (
    Wanted,
    gathered_for,
    held_update,
    live_version,
    of_version,
    old_data,
    too_little,
)
from bowerbird.store.rollout import read_rollout
from bowerbird.workspace import Workspace


def plan(wanted: Wanted, space: Workspace) -> Decision:
    """What an update would do; nothing is kept of it.

    Raises:
        as `update`.
    """
    wanted.check()
    live, version = live_version(wanted.name, space)
    old = old_data(live, space, wanted)
    with tempfile.TemporaryDirectory(prefix="bowerbird-update-") as folder:
        gathered = gathered_for(wanted, live, space, old, Path(folder))
    numbers = {
        "live": of_version(version),
        "gathered": None if gathered is None else gathered.to_json(),
        "old": [str(dataset.path) for dataset in old],
        "policy": wanted.config.policy.model_dump(mode="json"),
    }
    if short := too_little(gathered, wanted.config):
        return Decision(wanted.name, "planned", f"nothing would be learnt: {short}", numbers)
    budget = f"{wanted.steps:,} steps" if wanted.steps else f"{wanted.minutes or 3:g} minutes"
    mixed = (
        f", {wanted.config.mix:.0%} of each batch from old data" if live.kind.name != "image" and old else ""
    )
    after = "live at once" if wanted.now and wanted.mode is None else f"on trial ({wanted.mode or 'shadow'})"
    if not old:
        after = f"refused, for what it learnt from is not known here (name it: --old DATASET); else {after}"
    why = f"version {version.version} would be fine-tuned for {budget}{mixed}; if all gates let it through: {after}"
    return Decision(wanted.name, "planned", why, numbers)


def update(
    wanted: Wanted,
    space: Workspace,
    *,
    listener: Callable[[Dataset], Listener] | None = None,
    tell: Callable[[str], None] = lambda line: None,
    skip_known: bool = False,
) -> Decision:
    """Make a challenger, and put it on trial or, with consent, live. Every decision is logged.

    Args:
        wanted: what to do.
        space: where the name is published.
        listener: gives what is told of the training over a dataset.
        tell: is told what is being done, a line a stage.
        skip_known: decide `steady` where the last update was made of the very same data.

    Raises:
        NotFound: nothing is published under the name.
        UsageError: there is nothing to learn from.
        Refused: another update of the name is under way, or on trial.
    """
    wanted.check()
    with held_update(wanted.name, space) as folder:
        trial = read_rollout(space.root, wanted.name)
        if trial is not None:
            raise Refused(
                f"{wanted.name}@{trial.version} is on trial already",
                where=f"{wanted.name}@{CHALLENGER}",
                hint=f"decide on it first: bowerbird update {wanted.name} --yes, or --stop",
            )
        decision = Making(wanted, space, folder, tell).decision(listener, skip_known)
        if decision.decision != "steady":
            note(space.root, decision)
        return decision
