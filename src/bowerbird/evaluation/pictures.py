"""Pictures for a page: several on one sheet, and a sheet as a `data:` address that nothing is fetched for."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.render.pictures import enlarged, grid, to_png
from bowerbird.evaluation.extractors.extractor import on_white

_LEAST_SIDE = 64
"""Pixels."""


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """(H, W, 4): pictures of one size (h, w, C), large enough to be seen; gaps and empty places transparent."""
    seen = [enlarged(_rgba(picture), _LEAST_SIDE) for picture in pictures]
    return grid(seen, min(columns, len(seen)))


def data_uri(picture: NDArray[np.uint8]) -> str:
    """A picture as a PNG in a `data:` address."""
    return f"data:image/png;base64,{base64.b64encode(to_png(picture)).decode()}"


def _rgba(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Opaque on white."""
    colours = np.rint(on_white(picture[None])[0] * 255).astype(np.uint8)
    return np.concatenate([colours, np.full((*colours.shape[:2], 1), 255, np.uint8)], axis=2)
