"""What a text run reads at each step, and which n-gram tables it may ask about it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.dataset import Dataset, batch, window_starts
from bowerbird.kinds.text_settings import TextRun
from bowerbird.learning.parts import Parts, count_parts, number_of_parts, part_numbers
from bowerbird.models.ngrams import together
from bowerbird.models.rnn import RNN


def count_in_parts(network: RNN, config: TextRun, dataset: Dataset) -> Parts | None:
    """Count the training text into the network, and say which of its parts a step reads."""
    if network.ngrams is None:
        return None
    tokens = dataset.tokens("train")
    counted = count_parts(network.ngrams, tokens)
    network.ngrams.add(*functools.reduce(together, counted))
    new_rows, old = _rows(config)
    if old is not None:
        counted += count_parts(network.ngrams, old)

    def numbers(step: int) -> NDArray[np.int64]:
        starts = window_starts(len(tokens), config.seed, step, new_rows, config.length)
        new = part_numbers(starts, config.length, len(tokens))
        if old is None:
            return new
        starts = window_starts(len(old), config.seed, step, config.batch_size - new_rows, config.length)
        return np.concatenate(
            [new, part_numbers(starts, config.length, len(old)) + number_of_parts(len(tokens))]
        )

    return Parts(counted, numbers)


def _rows(config: TextRun) -> tuple[int, NDArray[Any] | None]:
    """How many rows of a batch read the dataset itself, and the old text that the others read."""
    if config.mix.dataset is None:
        return config.batch_size, None
    old_rows = min(max(1, round(config.batch_size * config.mix.share)), config.batch_size - 1)
    return config.batch_size - old_rows, Dataset.open(config.mix.dataset).tokens("train")


def batches(dataset: Dataset, config: TextRun) -> Callable[[int], NDArray[np.int64]]:
    """The batch of a step; the last rows read the old data where some is mixed in."""
    tokens = dataset.tokens("train")
    new_rows, old = _rows(config)

    def mixed(step: int) -> NDArray[np.int64]:
        new = batch(tokens, config.seed, step, new_rows, config.length)
        if old is None:
            return new
        return np.concatenate(
            [new, batch(old, config.seed, step, config.batch_size - new_rows, config.length)]
        )

    return mixed
