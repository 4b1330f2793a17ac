"""What `--size` fills in for a text: the rest of the settings, from how much text there is and the time.

Measured in docs/log.md: width, batch and length at three minutes on about a megabyte, and that dropout costs
more than it gives in the first three passes over a text. How much to use after many passes is a rule of thumb.
"""

from __future__ import annotations

from typing import Any

from bowerbird.base.shelf import Shelf
from bowerbird.data.dataset import Dataset
from bowerbird.models.cells import CELLS

SIZES = Shelf("size", small=256, medium=384, large=768)
"""Width at each size."""

_TOKENS_A_SECOND = 15_000
"""Read in training by 384 units on two cores; other widths are taken to cost by their square."""
_LITTLE_TOKENS = 50_000


def recommend(dataset: Dataset, model: str, size: str, minutes: float | None) -> dict[str, Any]:
    """Settings for a run of `minutes` (None: steps were given) of the cell `model` over this dataset."""
    CELLS[model]  # a wrong name is an error before any work
    tokens = int(dataset.info["splits"]["train"]["tokens"])
    width = SIZES[size]
    return {
        "batch_size": 16 if tokens > _LITTLE_TOKENS else 8,
        "length": 64,
        "model": {
            "cell": model,
            "width": width,
            "embedding": min(width, 128),
            "dropout": _dropout(tokens, width, minutes),
        },
    }


def _dropout(tokens: int, width: int, minutes: float | None) -> float:
    """More for each time the text will be read over."""
    if minutes is None:
        return 0.1 if tokens > 8 * _LITTLE_TOKENS else 0.3
    passes = minutes * 60 * _TOKENS_A_SECOND * (384 / width) ** 2 / max(tokens, 1)
    if passes < 4:
        return 0.0
    return 0.1 if passes < 10 else 0.3
