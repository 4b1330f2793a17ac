"""How near pictures come to held-out ones, by every extractor there is: the same pictures and counts for everyone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.extractors import extractors_for
from bowerbird.evaluation.fidelity import frechet, kernel_distance, precision_recall
from image_bench.making import Pictures, sampled
from image_bench.networks import Generator

LOOKED_AT = 1000
"""Pictures of one look during training, as many as our own runs make."""
CHUNK = 500
BLOCKS, BLOCK = 50, 250
"""The most blocks, and pictures in one, that the interval of the kernel distance is had from; ten blocks if it can."""
Features = NDArray[np.float32]


def features(extractor: Any, pictures: Pictures) -> Features:
    parts = [extractor.features(np.array(pictures[at : at + CHUNK])) for at in range(0, len(pictures), CHUNK)]
    return np.concatenate(parts)


def held_out(dataset: Dataset, most: int) -> Pictures:
    """At most so many pictures of the test and valid splits, always the same, in no order."""
    pictures = np.concatenate([dataset.images(split) for split in ("test", "valid")])
    chosen = np.random.default_rng(0).permutation(len(pictures))[:most]
    return pictures[chosen]


def learnt_from(dataset: Dataset, most: int) -> Pictures:
    """At most so many pictures of the train split, always the same."""
    pictures = dataset.images("train")
    return pictures[np.sort(np.random.default_rng(0).permutation(len(pictures))[:most])]


def scores(judge: Dataset, real: Pictures, made: Pictures) -> dict[str, dict[str, float]]:
    """By extractor of a dataset: Frechet and kernel distance (with its interval), precision and recall."""
    return {
        extractor.name: compared(features(extractor, real), features(extractor, made))
        for extractor in extractors_for(judge)
    }


def compared(real: Features, made: Features) -> dict[str, float]:
    size = min(BLOCK, max(BLOCK // 5, min(len(real), len(made)) // 10))
    kid, low, high = kernel_distance(real, made, blocks=BLOCKS, size=size, rng=np.random.default_rng(0))
    precision, recall = precision_recall(real, made)
    found = {"fid": frechet(real, made), "kid": kid, "kid_low": low, "kid_high": high}
    return {name: float(value) for name, value in {**found, "precision": precision, "recall": recall}.items()}


def judge_of(dataset: Dataset) -> Callable[[Generator], float]:
    """A look during training: FID of 1,000 pictures against the valid split, by the first extractor.

    The pictures come from fixed noise, normalised by the statistics of their batch, as tutorials show theirs.
    """
    extractor = extractors_for(dataset)[0]
    real = features(extractor, dataset.images("valid"))

    def judge(generator: Generator) -> float:
        generator.train()
        return float(frechet(real, features(extractor, sampled(generator, LOOKED_AT, 0))))

    return judge


def share_in_class(predicted: NDArray[Any], asked: NDArray[np.int64]) -> float:
    """Of pictures, how many a classifier puts where they were asked for."""
    return float(np.mean(predicted == asked))
