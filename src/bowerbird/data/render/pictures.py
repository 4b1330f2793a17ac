"""Pictures as files: a PNG that says how it was made, a sheet of many, an animation.

H height, W width, C channels: 1 (grey), 3 (red, green, blue) or 4 (and opacity).
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

Pixels = NDArray[np.uint8]

PREFIX = "bowerbird:"
"""Begins the name of each text chunk that we write into a PNG."""
MOST_COLUMNS = 16
_GAP = 2
"""Pixels between the pictures of a sheet, and around them."""


def to_png(picture: Pixels, about: Mapping[str, str] | None = None) -> bytes:
    """(H, W, C) as a PNG; `about` becomes its text chunks, `seed` as `bowerbird:seed`."""
    told = PngImagePlugin.PngInfo()
    for name, value in (about or {}).items():
        told.add_text(f"{PREFIX}{name}", value)
    content = io.BytesIO()
    _image(picture).save(content, "PNG", pnginfo=told)
    return content.getvalue()


def grid(pictures: Sequence[Pixels] | Pixels, columns: int | None = None) -> Pixels:
    """Pictures of one shape side by side on one (H', W', C) sheet, rows filled from the left.

    Without `columns` the sheet is about square, at most `MOST_COLUMNS` wide. White lies between them,
    or nothing where they know opacity.
    """
    table = np.stack(list(pictures))
    count, height, width, channels = table.shape
    columns = columns or min(math.ceil(math.sqrt(count)), MOST_COLUMNS)
    rows = math.ceil(count / columns)
    size = (rows * (height + _GAP) + _GAP, columns * (width + _GAP) + _GAP, channels)
    sheet = np.full(size, 255, np.uint8)
    if channels == 4:
        sheet[..., 3] = 0
    for place, picture in enumerate(table):
        row, column = divmod(place, columns)
        top, left = _GAP + row * (height + _GAP), _GAP + column * (width + _GAP)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def enlarged(picture: Pixels, least: int) -> Pixels:
    """Each pixel as a square of whole pixels, until the shorter side has `least`, so that it can be seen."""
    times = max(1, math.ceil(least / min(picture.shape[:2])))
    return picture.repeat(times, axis=0).repeat(times, axis=1)


def animation(frames: Sequence[Pixels] | Pixels, seconds: float) -> bytes:
    """(F, H, W, C) frames, shown for `seconds` together and then again, as an animated WebP without loss."""
    first, *rest = [_image(frame) for frame in frames]
    each = max(1, round(seconds * 1000 / (1 + len(rest))))
    content = io.BytesIO()
    first.save(
        content,
        "WEBP",
        save_all=True,
        append_images=rest,
        duration=each,
        loop=0,
        lossless=True,
        method=2,
    )
    return content.getvalue()


def _image(picture: Pixels) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture[..., 0] if picture.shape[-1] == 1 else picture))
