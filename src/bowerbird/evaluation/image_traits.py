"""What a picture is like, in a few numbers from 0 to 1: how bright, how colourful, how much its edges stand out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bowerbird.evaluation.extractors.extractor import Pictures, on_white
from bowerbird.evaluation.traits import Traits


def image_traits(pictures: Pictures) -> list[Traits]:
    """Of each of (N, H, W, C) pictures: `brightness`, `colour` (mean spread of the channels), `edges` (mean step
    between neighbouring pixels)."""
    if not len(pictures):
        return []
    seen: NDArray[np.float64] = np.asarray(on_white(pictures), np.float64)
    grey = seen.mean(3)
    steps = np.abs(np.diff(grey, axis=1)).mean((1, 2)) + np.abs(np.diff(grey, axis=2)).mean((1, 2))
    spread = seen.max(3) - seen.min(3)
    return [
        {"brightness": float(bright), "colour": float(colour), "edges": float(edges)}
        for bright, colour, edges in zip(grey.mean((1, 2)), spread.mean((1, 2)), steps / 2, strict=True)
    ]
