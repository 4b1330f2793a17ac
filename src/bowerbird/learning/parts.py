"""Cross-fitting: a text in parts, so that each is learnt from with n-gram tables counted on the others."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.models.kneser_ney import Counts, Grams
from bowerbird.models.ngrams import NGrams, count, gram_keys

FEW, MANY = 4, 8
"""Parts of a text. More are nearer to the table that ships, and cost memory and time before the first step."""
MUCH = 2_000_000
"""Tokens from which a text is cut into few."""


@dataclass(frozen=True)
class Parts:
    """What was counted on each part of the text, and which part each target of a step lies in."""

    counted: Sequence[tuple[Grams, Counts]]
    numbers: Callable[[int], NDArray[np.int64]]
    """step -> (rows, length)."""


def count_parts(ngrams: NGrams, tokens: NDArray[Any]) -> list[tuple[Grams, Counts]]:
    """The grams that end in each part of a text."""
    keys = gram_keys(tokens, ngrams.order, ngrams.vocab_size)
    parts = number_of_parts(len(tokens))
    bounds = [-(-part * len(tokens) // parts) for part in range(parts + 1)]
    return [count(keys[low:high]) for low, high in itertools.pairwise(bounds)]


def number_of_parts(tokens: int) -> int:
    return max(1, min(FEW if tokens > MUCH else MANY, tokens))


def part_numbers(starts: NDArray[np.int64], length: int, tokens: int) -> NDArray[np.int64]:
    """The part that each target of windows lies in: (rows, length)."""
    places = (starts[:, None] + np.arange(1, length + 1)) % tokens
    return places * number_of_parts(tokens) // tokens
