"""What `--size` fills in for a text: the rest of the settings, from how much text there is and the time.

Measured in docs/log.md: what pays at three minutes on 0.2 to 12 megabytes, and how much dropout at how many
passes over a text. Between the measured points it is a rule of thumb.
"""

from __future__ import annotations

from typing import Any

import torch

from bowerbird.base.device import Precision, bfloat16_on_cpu
from bowerbird.base.shelf import Shelf
from bowerbird.data.dataset import Dataset
from bowerbird.models.cells import CELLS

SIZES = Shelf("size", small=(128, 192), medium=(192, 384), large=(768, 768))
"""Width at each size, in up to `_BRIEF_MINUTES` and in more: a narrow network reads more text in a short time."""
_BRIEF_MINUTES = 5.0

_SECONDS_A_TOKEN, _SECONDS_A_WEIGHT = 2.29e-5, 7.1e-11
"""Of training on two cores: whatever the width, and for each of its square. Fitted to 192, 256 and 384."""
_WITHOUT_BFLOAT16 = 0.55
"""Share of that on a processor without bfloat16."""
_LITTLE_TOKENS = 50_000
_HALF_PRECISION = ("lstm", "gru")
"""Cells whose kernels gain by bfloat16 on a processor; with the others it was slower."""
_PIECES = 1000
"""Tokens in a vocabulary from which they are pieces or words rather than characters."""
_DROPOUT = ((1.0, 0.0), (2.5, 0.1), (12.0, 0.3), (40.0, 0.4))
"""Passes over the text up to which so much is dropped; half after more."""


def recommend(dataset: Dataset, model: str, size: str, minutes: float | None) -> dict[str, Any]:
    """Settings for a run of `minutes` (None: steps were given) of the cell `model` over this dataset."""
    CELLS[model]  # a wrong name is an error before any work
    tokens = int(dataset.info["splits"]["train"]["tokens"])
    width = SIZES[size][0 if minutes is not None and minutes <= _BRIEF_MINUTES else 1]
    pieces = dataset.codec.vocab_size >= _PIECES
    dropout = _dropout(tokens, width, minutes)
    return {
        "batch_size": 16 if tokens > _LITTLE_TOKENS else 8,
        "length": max(1, min(64, tokens // 2)),
        "precision": precision(model),
        "model": {
            "cell": model,
            "width": width,
            "embedding": min(width, 128),
            "dropout": dropout,
            "embedding_dropout": 0.1 if dropout >= 0.3 else 0.0,
            "ngrams": 4 if pieces else 7,
            "cache": {"window": 1024, "shortest": 1 if pieces else 3},
        },
        "optimizer": {"weight_decay": 0.1},
    }


def precision(model: str) -> Precision:
    """The faster one for this cell on this machine."""
    able = torch.cuda.is_available() or (model in _HALF_PRECISION and bfloat16_on_cpu())
    return "bfloat16" if able else "float32"


def _dropout(tokens: int, width: int, minutes: float | None) -> float:
    """More for each time the text will be read over."""
    if minutes is None:
        return 0.1 if tokens > 8 * _LITTLE_TOKENS else 0.3
    speed = 1 / (_SECONDS_A_TOKEN + _SECONDS_A_WEIGHT * width**2)
    passes = minutes * 60 * speed * (1.0 if bfloat16_on_cpu() else _WITHOUT_BFLOAT16) / max(tokens, 1)
    return next((rate for most, rate in _DROPOUT if passes < most), 0.5)
