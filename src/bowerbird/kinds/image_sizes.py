"""What `--size` fills in for pictures: the rest of the settings, from how many there are, their size and the time.

Measured at 32 pixels on one core (docs/log.md): narrow networks and small batches, because the number of
steps decides. For other sizes it is a rule of thumb.
"""

from __future__ import annotations

from typing import Any

import torch

from bowerbird.base.device import Precision, bfloat16_on_cpu
from bowerbird.base.shelf import Shelf
from bowerbird.data.dataset import Dataset
from bowerbird.models.gan import GANConfig

MODELS = Shelf("model", gan="a generator and a critic that learn against each other")
SIZES = Shelf("size", small=(64, 16), medium=(128, 24), large=(256, 48))
"""Width of the generator at 4 x 4 pixels, and of the critic at the full size."""

BRIEF_MINUTES = 8.0
"""In less than this a processor learns little at more than `BRIEF_RESOLUTION` pixels."""
BRIEF_RESOLUTION = 32
FEW_PICTURES = 5_000
"""Fewer than these the critic would learn by heart, so what it sees is varied."""
BATCH = 32
_GAMMA = {16: 0.5, 32: 1.0, 64: 2.0, 128: 10.0, 256: 50.0}
"""Weight of the penalties: more for more pixels, whose gradients are larger."""
_LATENT = {16: 16, 32: 16}
"""Random numbers of a picture: with fewer the generator learns sooner what each does (docs/log.md, 2026-11-27)."""


def recommend(dataset: Dataset, model: str, size: str, minutes: float | None) -> dict[str, Any]:
    """Settings for a run of `minutes` (None: steps were given) of the network `model` over this dataset."""
    MODELS[model]  # a wrong name is an error before any work
    width, critic_width = SIZES[size]
    codec: Any = dataset.codec
    pictures = int(dataset.info["splits"]["train"]["documents"])
    side = resolution(int(codec.height), minutes)
    return {
        "batch_size": min(BATCH, max(2, pictures)),
        "precision": precision(),
        "model": {
            "resolution": side,
            "channels": codec.channels,
            "classes": len(codec.classes),
            "latent": _LATENT.get(side, GANConfig().latent),
            "width": width,
            "critic_width": critic_width,
        },
        "learner": {
            "gamma": _GAMMA.get(side, 1.0),
            "augment": "adaptive" if pictures < FEW_PICTURES else "none",
        },
    }


def resolution(side: int, minutes: float | None) -> int:
    """Of the pictures that are learnt: the dataset's, or half of it where there is little time for many pixels."""
    brief = minutes is not None and minutes < BRIEF_MINUTES and not torch.cuda.is_available()
    return side // 2 if brief and side > BRIEF_RESOLUTION else side


def precision() -> Precision:
    """The faster one on this machine."""
    return "bfloat16" if torch.cuda.is_available() or bfloat16_on_cpu() else "float32"
