"""One stream's whole memory: what a session keeps of it, and whatever session of the same network goes on from.

V vocabulary, S numbers of a part of the network's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class StreamState:
    """The same size however much was read. Nothing that holds one ever changes its arrays."""

    parts: tuple[NDArray[np.float32], ...]
    """The network's own state, each (1, S): a cell's, a cell's, ..., then of n-grams and cache (models.rnn)."""
    logits: NDArray[np.float32]
    """(V,) of the token after the last one read."""
    read: int
    """Tokens read ever, prompts and made ones."""

    @property
    def nbytes(self) -> int:
        return self.logits.nbytes + sum(part.nbytes for part in self.parts)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """By name, as safetensors keeps them."""
        parts = {f"part.{number}": part for number, part in enumerate(self.parts)}
        return {**parts, "logits": self.logits, "read": np.array([self.read], np.int64)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> StreamState:
        """From what `to_arrays` gave.

        Raises:
            ValueError: they are not that.
        """
        names = [f"part.{number}" for number in range(len(arrays) - 2)]
        if set(arrays) != {*names, "logits", "read"}:
            raise ValueError(f"no state of a stream has these arrays: {', '.join(sorted(arrays)[:8])}")
        parts, logits, read = [arrays[name] for name in names], arrays["logits"], arrays["read"]
        if (
            any(part.ndim != 2 or len(part) != 1 or part.dtype != np.float32 for part in parts)
            or logits.ndim != 1
            or logits.dtype != np.float32
            or read.shape != (1,)
            or read.dtype != np.int64
            or read[0] < 0
        ):
            raise ValueError("the arrays of this state have other shapes or types than a stream's")
        return cls(tuple(parts), logits, int(read[0]))


def check_state(
    state: StreamState, sizes: Sequence[int], tokens: Sequence[tuple[int, int]], vocab_size: int
) -> None:
    """Whether a network can go on from this state.

    Args:
        state: as it came.
        sizes: S of each part of the network's state.
        tokens: (part, highest number) of the parts that hold tokens.
        vocab_size: V.

    Raises:
        ValueError: it is another network's, or its tokens are none of the vocabulary's.
    """
    if [part.shape for part in state.parts] != [(1, size) for size in sizes] or state.logits.shape != (
        vocab_size,
    ):
        raise ValueError("this state is not one of this network's")
    for number, highest in tokens:
        part = state.parts[number]
        if not ((part >= 0) & (part <= highest) & (part == np.floor(part))).all():
            raise ValueError(f"this state remembers tokens outside 0 to {vocab_size - 1}")
