"""How a model of pictures does: quickly while it learns, and all the evidence for an evaluation.

N real pictures, M made ones, H height, W width, C channels, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import nn

from bowerbird.base.device import mixed_seed
from bowerbird.base.errors import UsageError
from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.extractors import Extractor, extractors_for
from bowerbird.evaluation.fidelity import frechet, precision_recall
from bowerbird.evaluation.image_evidence import FeatureSet, ImageEvidence
from bowerbird.kinds.image_batches import Pictures, shrunk
from bowerbird.kinds.kind import Validation
from bowerbird.models.gan import Generator
from bowerbird.sampling.images import latent, pictures

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model

ENOUGH = 500
"""Held-out pictures from which a distance to them says something; with fewer, training pictures do."""
MOST_REAL = 2000
"""Real pictures that a validation compares with."""
MOST_EVIDENCE = 10_000
"""Held-out pictures that an evaluation looks at, and training pictures whose features it needs."""
_NEIGHBOURS = 5
_VALIDATION = 0x1A6E
"""Stirred into the seed of the noise that every validation makes its pictures of."""


@dataclass(frozen=True)
class Ruler:
    """What made pictures are measured by in a validation: an extractor, and real pictures as it sees them."""

    extractor: Extractor
    real: NDArray[np.float32]
    """(N, F)"""
    height: int
    """Of the pictures that the extractor learnt from."""


def get_ready(dataset: Dataset, seconds: float | None) -> None:
    """Learn the dataset's own extractor if it has none yet; of a run's `seconds`, at most a part."""
    own_extractor(dataset)


def own_extractor(dataset: Dataset) -> Extractor:
    return extractors_for(dataset, ["own"])[0]


def validate(network: nn.Module, dataset: Dataset, most: int | None) -> Validation:
    """FID and recall of pictures made of the same noise each time, by the dataset's own extractor."""
    config = cast(Generator, network).config
    ruler = _ruler(str(dataset.path), dataset.digest, config.resolution)
    count = most or MOST_REAL
    made = make(network, count, _classes(dataset, config.classes, count, _VALIDATION), _VALIDATION)
    found = ruler.extractor.features(seen(made, ruler.height))
    distance = float(frechet(ruler.real, found))
    neighbours = min(_NEIGHBOURS, len(ruler.real) - 1, count - 1)
    scores = {"fid": distance}
    if neighbours > 0:
        scores["recall"] = float(precision_recall(ruler.real, found, k=neighbours)[1])
    return Validation(distance, scores, count)


@lru_cache(maxsize=2)
def _ruler(path: str, digest: str, side: int) -> Ruler:
    dataset = Dataset.open(Path(path), verify=False)
    held_out = int(dataset.info["splits"]["valid"]["documents"])
    real = dataset.images("valid" if held_out >= ENOUGH else "train")
    chosen = some(len(real), MOST_REAL, _VALIDATION)
    extractor, height = own_extractor(dataset), real.shape[1]
    return Ruler(extractor, extractor.features(seen(shrunk(real[chosen], side), height)), height)


def make(network: nn.Module, count: int, labels: NDArray[np.int64] | None, seed: int) -> Pictures:
    """(M, H, W, C) pictures, the same for the same seed."""
    size = cast(Generator, network).config.latent
    return pictures(network, np.stack([latent(mixed_seed(seed, at), size) for at in range(count)]), labels)


def seen(made: Pictures, height: int) -> Pictures:
    """Pictures as large as an extractor knows them: of a smaller one each pixel becomes a square."""
    times = max(1, height // made.shape[1])
    return made.repeat(times, axis=1).repeat(times, axis=2)


def some(total: int, most: int, seed: int) -> NDArray[np.int64]:
    """Which of `total` to look at, in order: all, or `most` drawn by the seed."""
    if total <= most:
        return np.arange(total)
    return np.sort(np.random.default_rng(seed).choice(total, most, replace=False))


def _classes(dataset: Dataset, classes: int, count: int, seed: int) -> NDArray[np.int64] | None:
    """(M,) classes as often as the training pictures have them; None where the model knows none."""
    if not classes:
        return None
    labels = dataset.labels("train")
    known = labels[(labels >= 0) & (labels < classes)]
    noise = np.random.default_rng([seed, classes])
    return (noise.choice(known, count) if len(known) else noise.integers(classes, size=count)).astype(
        np.int64
    )


def gather_evidence(
    model: Model, dataset: Dataset, *, split: str, seed: int, samples: int, length: int, most_bytes: int
) -> ImageEvidence:
    """Pictures the model makes, held-out and training ones in its size, and all as each extractor sees them.

    Raises:
        UsageError: the dataset's pictures have other channels or a size that the model's does not go into.
    """
    config = cast(Generator, model.network).config
    codec: Any = dataset.codec
    if codec.channels != config.channels:
        raise UsageError(
            f"the model makes pictures of {config.channels} channels, and these have {codec.channels}",
            where=dataset.path,
        )
    training_labels = dataset.labels("train")
    real = dataset.images(split)
    held_out = some(len(real), MOST_EVIDENCE, seed)
    training = shrunk(dataset.images("train"), config.resolution)
    chosen = _classes(dataset, config.classes, samples, mixed_seed(seed))
    made = make(model.network, samples, chosen, mixed_seed(seed, _VALIDATION))
    judged = shrunk(real[held_out], config.resolution)
    shown = some(len(training), MOST_EVIDENCE, seed)
    height = int(codec.height)
    features = {
        extractor.name: FeatureSet(
            real=extractor.features(seen(judged, height)),
            training=extractor.features(seen(training[shown], height)),
            samples=extractor.features(seen(made, height)),
        )
        for extractor in extractors_for(dataset)
    }
    return ImageEvidence(
        kind="image",
        seed=seed,
        split=split,
        real=judged,
        training=training,
        samples=made,
        sample_labels=chosen,
        labels=training_labels,
        classes=codec.classes,
        features=features,
    )
