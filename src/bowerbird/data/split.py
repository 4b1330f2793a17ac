"""Which documents are learnt from and which are held out: by whole documents, never by line of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bowerbird.base.config import Config

_NEARLY = 0.9
"""A split is filled to this share of what was asked before it is done."""


class SplitConfig(Config):
    """Shares of the text, in bytes, that are held out."""

    valid: float = Field(default=0.05, ge=0, lt=1)
    """Judged during training, to choose the best checkpoint."""
    test: float = Field(default=0.05, ge=0, lt=1)
    """Judged once, at the end."""

    @model_validator(mode="after")
    def _something_to_learn_from(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError("split.valid and split.test together leave nothing to learn from")
        return self


def split_documents(
    sizes: Sequence[int] | NDArray[np.int64], config: SplitConfig, seed: int
) -> dict[str, NDArray[np.int64]]:
    """Documents by split, from (documents,) sizes in bytes; those to learn from in shuffled order.

    A held-out split is filled with documents in shuffled order without going over its share. When its
    share is not 0 it has at least one document, the smallest left, if there are three or more; of two
    documents the smaller is held out, as valid unless that share is 0.
    """
    sizes = np.asarray(sizes, np.int64)
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    wanted = {"test": config.test, "valid": config.valid}
    if len(sizes) < 3 and config.valid:
        wanted["test"] = 0.0
    splits = {"train": shuffled, "valid": shuffled[:0], "test": shuffled[:0]}
    waiting = 1 + sum(share > 0 for share in wanted.values())  # splits that still need a document
    for split, share in wanted.items():
        if share:
            waiting -= 1
            chosen = _fill(sizes[splits["train"]], share * float(sizes.sum()), keep=waiting)
            splits[split] = splits["train"][chosen]
            splits["train"] = splits["train"][~chosen]
    return splits


def _fill(sizes: NDArray[np.int64], most: float, keep: int) -> NDArray[np.bool_]:
    """Which documents to take, from the first on, for at most `most` bytes; `keep` must be left over."""
    chosen = np.zeros(len(sizes), np.bool_)
    total = taken = 0
    if len(sizes) > keep + 1:
        for document, size in enumerate(sizes.tolist()):
            if total >= _NEARLY * most or taken >= len(sizes) - keep:
                break
            if total + size <= most:
                chosen[document] = True
                total += size
                taken += 1
    if not taken and len(sizes) > keep:
        chosen[np.argmin(sizes)] = True
    return chosen


def cut_points(characters: int, config: SplitConfig) -> dict[str, tuple[int, int]]:
    """Where one single document is cut: split -> (first character, character after the last), in this order."""
    # Rounded, as 1 - 0.05 - 0.05 is a hair under 0.9 and would lose a character of a round length.
    train = int(characters * round(1 - config.valid - config.test, 9))
    valid = max(train, int(characters * round(1 - config.test, 9)))
    if not train:  # a few characters: there is nothing to hold out
        train = valid = characters
    return {"train": (0, train), "valid": (train, valid), "test": (valid, characters)}


def at_seams(text: str, parts: dict[str, tuple[int, int]], seam: str) -> dict[str, tuple[int, int]]:
    """Parts whose borders stand before the nearest earlier `seam`, so that nothing is torn."""

    def moved(border: int) -> int:
        if not 0 < border < len(text):
            return border
        return max(text.rfind(seam, 0, border + len(seam)), 0)

    return {split: (moved(start), moved(stop)) for split, (start, stop) in parts.items()}
