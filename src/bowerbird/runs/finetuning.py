"""Fine-tuning is a way to start a run: from a model's weights, with its codec, at a lower rate."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bowerbird.base.config import resolve
from bowerbird.base.errors import UsageError
from bowerbird.data.codecs import same_codec
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.loaded import Model
from bowerbird.runs.carry import begin
from bowerbird.runs.run import Run

RATE = 0.3
"""Share of the model's own learning rate that fine-tuning starts with."""


def adopt(
    model: Model,
    dataset: Dataset,
    out: Path,
    layer: Mapping[str, Any],
    config_file: Path | None,
    settings: tuple[str, ...],
    *,
    minutes: float | None,
    steps: int | None,
) -> tuple[Run, Dataset, dict[str, Any]]:
    """Begin a run from `model` over `dataset`; returns the run, the data in the model's codec, what was unseen.

    Raises:
        UsageError: the settings would change the network, or old data is in another codec.
    """
    if dataset.kind != model.kind.name:
        raise UsageError(
            f"a {model.kind.name} model cannot learn from a {dataset.kind} dataset", where=dataset.path
        )
    own, part = model.bundle.manifest["config"], model.kind.learning
    rate = float(own[part]["learning_rate"]) * RATE
    learnt = {**own, "freeze": (), part: {**own[part], "learning_rate": rate}}
    wanted: Any = resolve(
        model.kind.run_config, learnt, layer, config_file=config_file, settings=settings, where="finetune"
    )
    before: Any = model.kind.run_config.model_validate(own)
    changed = [
        name for name in model.kind.fixed if getattr(wanted.model, name) != getattr(before.model, name)
    ]
    if changed:
        raise UsageError(
            f"fine-tuning keeps the network as it is; model.{changed[0]} cannot change",
            hint="leave it out, or train a new model",
        )
    mix = getattr(wanted, "mix", None)
    if mix is not None and mix.dataset is not None:
        old = Dataset.open(mix.dataset, verify=False)
        if not same_codec(old.codec, model.codec):
            raise UsageError(
                "the old data to mix in is not in the model's codec",
                where=old.path,
                hint="name the dataset that the model was trained on",
            )
    data, unseen = model.kind.recode(model, dataset, out.with_name(out.name + ".dataset"))
    try:
        run = begin(
            model.kind,
            data,
            out,
            wanted,
            minutes=minutes,
            steps=steps,
            weights=model.bundle.weights(),
            partners=model.bundle.partners(),
            parent=model.digest,
        )
    except BaseException:
        if data.path != dataset.path:
            shutil.rmtree(data.path, ignore_errors=True)
        raise
    return run, data, unseen
