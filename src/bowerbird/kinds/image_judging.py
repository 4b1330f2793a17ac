"""How a model of pictures does: quickly while it learns, and all the evidence for an evaluation.

N real pictures, M made ones, H height, W width, C channels, F features.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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
from bowerbird.evaluation.extractors.own import SECONDS, own
from bowerbird.evaluation.fidelity import frechet, precision_recall
from bowerbird.evaluation.image_evidence import ImageEvidence, feature_sets
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
MOST_HELD_OUT, MOST_TRAINING = 10_000, 50_000
"""Pictures that an evaluation looks at."""
_AT_ONCE = 1024
_SHARE, _LEAST_SECONDS = 0.08, 3.0
"""Of a run's time that its dataset's extractor may take to learn."""
_VALIDATION = 0x1A6E
"""Stirred into the seed of the noise that every validation makes its pictures of."""


@dataclass(frozen=True)
class Ruler:
    """What made pictures are measured by in a validation: an extractor, and real pictures as it sees them."""

    extractor: Extractor
    real: NDArray[np.float32]
    """(N, F)"""


def get_ready(network: nn.Module, dataset: Dataset, seconds: float | None) -> None:
    """Learn the dataset's own extractor if it has none yet, in a small part of a run's `seconds`, and use it once."""
    own(dataset, seconds=SECONDS if seconds is None else min(SECONDS, max(seconds * _SHARE, _LEAST_SECONDS)))
    _ruler(str(dataset.path), dataset.digest, cast(Generator, network).config.resolution)


def validate(network: nn.Module, dataset: Dataset, most: int | None) -> Validation:
    """How far off pictures made of the same noise each time are, by the dataset's own extractor.

    Of the scores, diversity is the spread of what is made as a share of that of real pictures.
    """
    config = cast(Generator, network).config
    ruler = _ruler(str(dataset.path), dataset.digest, config.resolution)
    count = most or MOST_REAL
    labels = _classes(dataset.labels("train"), config.classes, count, _VALIDATION)
    made = make(network, count, labels, _VALIDATION)
    found = ruler.extractor.features(made)
    distance = frechet(ruler.real, found)
    _, recall = precision_recall(ruler.real, found)
    spread = np.sqrt(found.var(0).sum() / max(ruler.real.var(0).sum(), 1e-12))
    return Validation(distance, {"fid": distance, "recall": recall, "diversity": float(spread)}, count)


@lru_cache(maxsize=2)
def _ruler(path: str, digest: str, side: int) -> Ruler:
    dataset = Dataset.open(Path(path), verify=False)
    held_out = int(dataset.info["splits"]["valid"]["documents"])
    real = dataset.images("valid" if held_out >= ENOUGH else "train")
    chosen = some(len(real), MOST_REAL, _VALIDATION)
    extractor = _seeing(own(dataset), real.shape[1])
    return Ruler(extractor, extractor.features(shrunk(real[chosen], side)))


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


def _classes(labels: NDArray[np.int32], classes: int, count: int, seed: int) -> NDArray[np.int64] | None:
    """(M,) classes as often as the (N,) labels have them; None where the model knows none."""
    if not classes:
        return None
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
            hint="prepare them for it: --set image.colours=keep for three, image.alpha=keep for four",
        )
    extractors = [_seeing(extractor, int(codec.height)) for extractor in extractors_for(dataset)]
    held_out, training = dataset.images(split), dataset.images("train")
    judged = shrunk(held_out[some(len(held_out), MOST_HELD_OUT, seed)], config.resolution)
    shown = some(len(training), MOST_TRAINING, seed)
    learnt_from = shrunk(training if len(shown) == len(training) else training[shown], config.resolution)
    labels = dataset.labels("train")[shown]
    alike = codec.classes == cast(Any, model.codec).classes
    chosen = _classes(labels if alike else labels[:0], config.classes, samples, mixed_seed(seed))
    made = make(model.network, samples, chosen, mixed_seed(seed, _VALIDATION))
    return ImageEvidence(
        kind="image",
        seed=seed,
        split=split,
        real=judged,
        training=learnt_from,
        samples=made,
        features=feature_sets(extractors, judged, learnt_from, made),
        sample_labels=chosen if alike else None,
        labels=labels,
        classes=codec.classes,
        classify=next((one.classify for one in extractors if one.classify is not None), None),
    )


def _seeing(extractor: Extractor, height: int) -> Extractor:
    """An extractor that takes pictures of the model's size, and enlarges some at a time."""

    def features(made: Pictures) -> NDArray[np.float32]:
        parts = [made[at : at + _AT_ONCE] for at in range(0, max(len(made), 1), _AT_ONCE)]
        return np.concatenate([extractor.features(seen(part, height)) for part in parts])

    classify = extractor.classify
    if classify is None:
        return replace(extractor, features=features)
    return replace(extractor, features=features, classify=lambda made: classify(seen(made, height)))
