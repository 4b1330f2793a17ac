"""Evidence: all that a metric may look at, gathered before any number is computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Evidence:
    """What a model did on held-out content and what it made by itself. For text, or melody:"""

    kind: str
    """The medium: `text` or `melody`."""
    seed: int
    """Everything random in a metric is drawn from this."""
    split: str
    """Where the held-out content comes from: `test` or `valid`."""
    bits: NDArray[Any]
    """(units,) bits the model spends on each held-out unit: a document, a block of a long one, or a tune."""
    sizes: NDArray[Any]
    """(units,) the same units in UTF-8 bytes, or in notes."""
    held_out: Sequence[str]
    """Held-out documents without markers, or tunes as text; of a large split, the part kept in memory."""
    samples: Sequence[str]
    """Texts the model generated, without markers; of melody, what should be tunes as text."""
    training: Callable[[], Iterator[str]]
    """The training text from its beginning, in pieces of at most 8 MiB; each call starts again.

    Every document begins after U+FDD0; a document may run on from one piece to the next.
    """
