"""Fine-tuning is a way to start a run: from a model's weights, with its codec, at a lower rate."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bowerbird.base.config import resolve
from bowerbird.base.errors import UsageError
from bowerbird.base.files import whole_folder
from bowerbird.data.codecs import same_codec
from bowerbird.data.dataset import SPLITS, Dataset, DatasetWriter
from bowerbird.data.markers import plain
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
    own = model.bundle.manifest["config"]
    rate = float(own["optimizer"]["learning_rate"]) * RATE
    learnt = {**own, "freeze": (), "optimizer": {**own["optimizer"], "learning_rate": rate}}
    wanted: Any = resolve(
        model.kind.run_config, learnt, layer, config_file=config_file, settings=settings, where="finetune"
    )
    shape = ("cell", "width", "layers", "embedding", "tied", "residual", "norm", "ngrams", "cache")
    before: Any = model.kind.run_config.model_validate(own)
    changed = [name for name in shape if getattr(wanted.model, name) != getattr(before.model, name)]
    if changed:
        raise UsageError(
            f"fine-tuning keeps the network as it is; model.{changed[0]} cannot change",
            hint="leave it out, or train a new model",
        )
    if wanted.mix.dataset is not None:
        old = Dataset.open(wanted.mix.dataset, verify=False)
        if not same_codec(old.codec, model.codec):
            raise UsageError(
                "the old data to mix in is not in the model's codec",
                where=old.path,
                hint="name the dataset that the model was trained on",
            )
    data, unseen = _in_codec(model, dataset, out.with_name(out.name + ".dataset"))
    weights = model.bundle.weights()
    try:
        run = begin(
            model.kind, data, out, wanted, minutes=minutes, steps=steps, weights=weights, parent=model.digest
        )
    except BaseException:
        if data.path != dataset.path:
            shutil.rmtree(data.path, ignore_errors=True)
        raise
    return run, data, unseen


def _in_codec(model: Model, dataset: Dataset, out: Path) -> tuple[Dataset, dict[str, Any]]:
    """The dataset encoded by the model's codec, beside the run, if it is not already."""
    if same_codec(dataset.codec, model.codec) and dataset.normaliser == model.normaliser:
        return dataset, {"characters": 0, "share": 0.0, "most": []}
    counts: Counter[str] = Counter()
    total = 0
    with whole_folder(out) as folder, DatasetWriter(folder, model.codec) as writer:
        for split in SPLITS:
            for index, row in enumerate(dataset.documents(split).tolist()):
                text = model.normaliser(dataset.text(split, index))
                words = plain(text)
                total += len(words)
                strange = model.codec.unseen(words)
                counts.update(character for character in words if character in strange) if strange else None
                writer.add(split, [text], whole=bool(row[3]))
        writer.finish(
            {
                "kind": dataset.kind,
                "structure": dataset.structure,
                "normaliser": model.normaliser.model_dump(),
                "from": dataset.digest,
            }
        )
    found = sum(counts.values())
    most = [character for character, _ in counts.most_common(20)]
    return Dataset.open(out, verify=False), {
        "characters": found,
        "share": found / max(total, 1),
        "most": most,
    }
