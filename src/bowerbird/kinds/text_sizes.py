"""What `--size` fills in for a text: the rest of the settings, from how much text there is and the time."""

from __future__ import annotations

from typing import Any

from bowerbird.base.shelf import Shelf
from bowerbird.data.dataset import Dataset
from bowerbird.models.cells import CELLS

SIZES = Shelf("size", small=256, medium=384, large=768)
"""Width at each size; see docs/log.md for what was measured."""


def recommend(dataset: Dataset, model: str, size: str, minutes: float | None) -> dict[str, Any]:
    """Settings for a run of `minutes` (None: steps were given) of the cell `model` over this dataset."""
    CELLS[model]  # a wrong name is an error before any work
    tokens = int(dataset.info["splits"]["train"]["tokens"])
    width = SIZES[size]
    little = tokens < 400_000
    return {
        "batch_size": 16 if tokens > 50_000 else 8,
        "length": 64,
        "model": {
            "cell": model,
            "width": width,
            "embedding": min(width, 128),
            "dropout": 0.3 if little else 0.1,
        },
    }
