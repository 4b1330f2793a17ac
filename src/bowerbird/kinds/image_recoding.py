"""Brings a dataset of pictures to the size and the classes of a model, as fine-tuning does."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bowerbird.base.errors import UsageError
from bowerbird.base.files import whole_folder
from bowerbird.data.codecs import same_codec
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.dataset import SPLITS, Dataset, DatasetWriter
from bowerbird.data.picture import fitted

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model


def recode(model: Model, dataset: Dataset, out: Path) -> tuple[Dataset, dict[str, Any]]:
    """The dataset as the model's own was, in `out` if it is not so already, and the classes it lacks.

    Grey pictures are colours to a model of colours.

    Raises:
        UsageError: the pictures have other channels.
    """
    own, theirs = cast(Pixels, model.codec), cast(Pixels, dataset.codec)
    if same_codec(theirs, own):
        return dataset, _unseen(Counter(), dataset)
    is_grey = (theirs.channels, own.channels) == (1, 3)
    if theirs.channels != own.channels and not is_grey:
        raise UsageError(
            f"the model makes pictures of {own.channels} channels, and these have {theirs.channels}",
            where=dataset.path,
            hint="prepare them with --set image.alpha=composite, or keep for a model with opacity; "
            "a model of grey pictures learns no colours",
        )
    numbers = [own.classes.index(name) if name in own.classes else -1 for name in theirs.classes]
    strange: Counter[str] = Counter()
    with whole_folder(out) as folder, DatasetWriter(folder, own) as writer:
        for split in SPLITS:
            for picture, label in zip(dataset.images(split), dataset.labels(split).tolist(), strict=True):
                number = numbers[label] if label >= 0 else -1
                if own.classes and label >= 0 and number < 0:
                    strange[theirs.classes[label]] += 1
                same = picture.shape[0] == own.height
                sized = picture if same else fitted(picture, own.height, "squash", "white")
                writer.add_picture(split, sized.repeat(3, axis=2) if is_grey else sized, number)
        writer.finish(
            {
                "kind": dataset.kind,
                "structure": "labelled" if own.classes else "plain",
                "normaliser": dataset.normaliser.model_dump(mode="json"),
                "from": dataset.digest,
            }
        )
    return Dataset.open(out, verify=False), _unseen(strange, dataset)


def _unseen(strange: Counter[str], dataset: Dataset) -> dict[str, Any]:
    """Pictures of classes that the model does not know, what share of all they are, and which classes."""
    whole = sum(split["documents"] for split in dataset.info["splits"].values())
    found = sum(strange.values())
    return {
        "pictures": found,
        "share": found / max(whole, 1),
        "most": [name for name, _ in strange.most_common(20)],
    }
