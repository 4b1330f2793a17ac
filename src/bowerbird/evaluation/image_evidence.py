"""Evidence about a model of pictures: what was held out, what it learnt from, what it made, and their features."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.evaluation.extractors.extractor import Extractor, Features, Pictures


@dataclass(frozen=True)
class FeatureSet:
    """The features of one extractor, a row for each picture, in the order of the pictures."""

    real: Features
    """Of the held-out pictures."""
    training: Features
    """Of all training pictures."""
    samples: Features
    digest: str = ""
    """The extractor's."""
    note: str = ""
    """What a reader should know of the extractor."""


@dataclass(frozen=True)
class ImageEvidence:
    """All that a metric for pictures may look at. Pictures are uint8 (N, H, W, C)."""

    kind: str
    """`image`."""
    seed: int
    """Everything random in a metric is drawn from this."""
    split: str
    """Where the held-out pictures come from: `test` or `valid`."""
    real: Pictures
    """The held-out pictures."""
    training: Pictures
    """All training pictures, mapped from disk."""
    samples: Pictures
    """Pictures the model made."""
    features: Mapping[str, FeatureSet]
    """By name of the extractor; the first one's scores have plain names."""
    sample_labels: NDArray[Any] | None = None
    """(samples,) the class each sample was asked for, -1 for none."""
    labels: NDArray[Any] | None = None
    """(training,) classes of the training pictures, -1 for none."""
    classes: tuple[str, ...] = ()
    """Names of the classes."""
    classify: Callable[[Pictures], NDArray[np.int64]] | None = None
    """Pictures to numbers of classes, where an extractor was trained to know them."""
    bits: None = None
    """A model of pictures gives no probabilities."""
    sizes: None = None

    @property
    def held_out(self) -> Pictures:
        return self.real

    def by_extractor(self, name: str) -> Iterator[tuple[str, str, FeatureSet]]:
        """For each extractor: the name of its score, its own name, its features."""
        for at, (extractor, features) in enumerate(self.features.items()):
            yield (f"{name}_{extractor}" if at else name), extractor, features

    def in_place(self, count: int) -> NDArray[np.int64]:
        """Rows of up to `count` training pictures, drawn evenly, to stand where the samples stood."""
        rng = np.random.default_rng([self.seed, len(self.training), count])
        return np.sort(rng.permutation(len(self.training))[:count])

    def judged_by(self, extractor: str) -> str:
        """For a score's note: the extractor, its digest, and what is to be known of it."""
        features = self.features[extractor]
        number = features.samples.shape[-1]
        digest = f", {features.digest[:15]}" if features.digest else ""
        note = f": {features.note}" if features.note else ""
        return f"by {number:,} features of the extractor `{extractor}`{digest}{note}"


def feature_sets(
    extractors: Iterable[Extractor], real: Pictures, training: Pictures, samples: Pictures
) -> dict[str, FeatureSet]:
    """The features of each extractor of all three sets."""
    return {
        extractor.name: FeatureSet(
            extractor.features(real),
            extractor.features(training),
            extractor.features(samples),
            extractor.digest,
            extractor.note,
        )
        for extractor in extractors
    }
