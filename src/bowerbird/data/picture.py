"""Pictures: a file of any common kind decoded into one array of 8-bit colours, and brought to a square.

H height, W width, C channels: 1 (grey), 3 (red, green, blue) or 4 (and opacity). Pillow does the work.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import MissingExtra
from bowerbird.data.image_config import Fit, ImageConfig, rgb
from bowerbird.data.sources.source import Unusable

if TYPE_CHECKING:
    from PIL.Image import Image

Picture = NDArray[np.uint8]
"""(H, W, C)"""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_PIXELS = 64_000_000
LONGEST_SIDE = 16_384
SHORTEST_SIDE = 8
"""In pixels; a picture outside these is refused before it is decoded."""

BLANK = "blank: it is all one colour"
_REDUCING_GAP = 3.0
"""Shrinking averages whole pixels down to three times the size wanted before Lanczos does the rest."""

_ORIENTATION = 0x0112
_TURNS = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
"""From the EXIF tag to Pillow's `Transpose` that undoes it."""


def decode(stream: BinaryIO, config: ImageConfig, *, most: int | None = None) -> Picture:
    """The first frame of a picture file, upright, in 8-bit colours: (H, W, C).

    C is 4 where something in it is transparent and `config.alpha` keeps that, else 3. A picture whose
    shorter side is longer than `most` is shrunk to that.

    Raises:
        Unusable: with what is wrong: damaged, truncated, blank, too small, too large, no picture at all.
        MissingExtra: Pillow is not installed.
    """
    pillow = require_pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about oddities of files; what matters ends in the ledger
        try:
            with _opened(pillow, stream) as image:
                check_size(*image.size)
                if most is not None:
                    image.draft(None, (2 * most, 2 * most))  # a JPEG is decoded smaller, and so faster
                image.load()
                picture = _shrunk(_upright(image), most)
                pixels = np.asarray(_coloured(picture, config))
        except (Unusable, MemoryError):
            raise
        except Exception as error:
            # Decoders fail on damaged files in ways of their own.
            raise Unusable(_problem(error)) from None
    if is_blank(pixels):
        raise Unusable(BLANK)
    return pixels


def fitted(picture: Picture, size: int, fit: Fit, background: str) -> Picture:
    """A picture brought to (size, size, C); what is padded is `background`, or transparent where C is 4."""
    image_type = require_pillow()
    height, width = picture.shape[:2]
    if picture.shape[2] == 1:
        return fitted(picture.repeat(3, axis=2), size, fit, background)[..., :1]
    image = image_type.fromarray(picture)
    if fit == "pad":
        longest = max(height, width)
        inner = max(1, round(width * size / longest)), max(1, round(height * size / longest))
        sheet = image_type.new(image.mode, (size, size), (*rgb(background), 0)[: picture.shape[2]])
        sheet.paste(_resized(image, inner), ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return np.asarray(sheet)
    if fit == "crop":
        side = min(height, width)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    return np.asarray(_resized(image, (size, size)))


def on_background(pictures: Picture, background: str) -> Picture:
    """(..., 4) colours with their opacity as the (..., 3) colours they make on a background."""
    if pictures.shape[-1] == 3:
        return pictures
    opacity = pictures[..., 3:].astype(np.uint32)
    behind = np.array(rgb(background), np.uint32) * (255 - opacity)
    return ((pictures[..., :3] * opacity + behind + 127) // 255).astype(np.uint8)


def is_blank(picture: Picture) -> bool:
    return bool((picture == picture[0, 0]).all())


def check_size(width: int, height: int) -> None:
    """Raises:
    Unusable: a picture of so many pixels is too small, or too large to decode.
    """
    if min(width, height) < SHORTEST_SIDE:
        raise Unusable(f"too small: {width} x {height} pixels; a side has at least {SHORTEST_SIDE}")
    if width * height > MOST_PIXELS:
        raise Unusable(
            f"too large: {width} x {height} pixels are more than {MOST_PIXELS // 1_000_000} million"
        )
    if max(width, height) > LONGEST_SIDE:
        raise Unusable(f"too large: {width} x {height} pixels; a side has at most {LONGEST_SIDE}")


def require_pillow() -> Any:
    """`PIL.Image`, or the error that says what to install."""
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtra("reading pictures", "image") from None
    return Image


@contextmanager
def _opened(pillow: Any, stream: BinaryIO) -> Iterator[Any]:
    head = stream.read(16)
    stream.seek(0)
    if not head:
        raise Unusable("empty file")
    limit = pillow.MAX_IMAGE_PIXELS
    pillow.MAX_IMAGE_PIXELS = None  # Pillow's own refusal of large pictures does not tell their size
    try:
        image = pillow.open(stream, formats=FORMATS)
    except pillow.UnidentifiedImageError:
        raise Unusable(_not_a_picture(head)) from None
    finally:
        pillow.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _not_a_picture(head: bytes) -> str:
    is_video = head[4:8] == b"ftyp" or head[:4] == b"\x1a\x45\xdf\xa3" or head[8:12] == b"AVI "
    if is_video and head[8:12] in (b"avif", b"heic", b"heix", b"mif1"):
        return "a kind of picture that is not read (HEIC or AVIF): save it as PNG or JPEG"
    return "a video, for all its name" if is_video else "not a picture, or a damaged one"


def _problem(error: Exception) -> str:
    detail = " ".join(str(error).split())[:120] or type(error).__name__
    return f"truncated: {detail}" if "truncated" in detail.lower() else f"damaged: {detail}"


def _upright(image: Image) -> Image:
    try:
        turn = _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # damaged EXIF beside a good picture
        turn = None
    return image if turn is None else image.transpose(require_pillow().Transpose(turn))


def _shrunk(image: Image, most: int | None) -> Image:
    shorter = min(image.size)
    if most is None or shorter <= most:
        return image
    if _is_deep(image):
        image = _eight_bits(image)
    elif image.mode in ("1", "P", "PA") or "transparency" in image.info:  # what cannot be averaged
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    return _resized(image, (round(image.width * most / shorter), round(image.height * most / shorter)))


def _resized(image: Image, size: tuple[int, int]) -> Image:
    return image.resize(size, require_pillow().Resampling.LANCZOS, reducing_gap=_REDUCING_GAP)


def _coloured(image: Image, config: ImageConfig) -> Image:
    """As RGB, or as RGBA where opacity is kept and there is some."""
    if _is_deep(image):
        image = _eight_bits(image)
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    if config.alpha == "keep":
        return image
    pixels = on_background(np.asarray(image), config.background)
    made: Image = require_pillow().fromarray(pixels)
    return made


def _is_deep(image: Image) -> bool:
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _eight_bits(image: Image) -> Image:
    """Grey of 16 or 32 bits, or of real numbers from 0 to 1, in 8 bits."""
    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    largest = float(values.max())
    if image.mode.startswith("I;16"):
        top = 65535.0
    else:
        ranges = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        top = next((top for top in ranges if largest <= top), largest)
    grey = np.clip(values / top * 255, 0, 255).round().astype(np.uint8)
    made: Image = require_pillow().fromarray(grey)
    return made
