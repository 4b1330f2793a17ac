"""Pictures for a page: several on one sheet, and a sheet as a `data:` address that nothing is fetched for."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bowerbird.evaluation.extractors.extractor import on_white

_GAP = 2
_LEAST_SIDE = 64
"""A picture is enlarged, pixel by pixel, until it has this many."""


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """(H, W, 4): pictures of one size (h, w, C) in rows, gaps and empty places transparent."""
    opaque = [_rgba(picture) for picture in pictures]
    height, width = opaque[0].shape[:2]
    times = max(1, -(-_LEAST_SIDE // max(height, width)))
    height, width = height * times, width * times
    columns = min(columns, len(opaque))
    rows = -(-len(opaque) // columns)
    drawn = np.zeros((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 4), np.uint8)
    for at, picture in enumerate(opaque):
        top, left = at // columns * (height + _GAP), at % columns * (width + _GAP)
        larger = picture.repeat(times, axis=0).repeat(times, axis=1)
        drawn[top : top + height, left : left + width] = larger
    return drawn


def data_uri(picture: NDArray[np.uint8]) -> str:
    """An RGBA picture as a PNG in a `data:` address."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _rgba(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Opaque on white."""
    colours = np.rint(on_white(picture[None])[0] * 255).astype(np.uint8)
    return np.concatenate([colours, np.full((*colours.shape[:2], 1), 255, np.uint8)], axis=2)
