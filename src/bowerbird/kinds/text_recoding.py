"""Reads a dataset of texts or melodies in a model's own codec, as fine-tuning does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bowerbird.base.files import whole_folder
from bowerbird.data.codecs import same_codec
from bowerbird.data.dataset import SPLITS, Dataset, DatasetWriter
from bowerbird.data.markers import plain

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model


def recode(model: Model, dataset: Dataset, out: Path) -> tuple[Dataset, dict[str, Any]]:
    """The dataset encoded by the model's codec, in `out` if it is not already, and the characters it lacks."""
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
