"""`demo:icons`: the icons of Material Design Icons, which a font carries, drawn in black on white."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources.demo import place
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

SIDE = 64
"""Pixels of each picture; an icon is drawn for a square, which this one is."""

LICENCE = "Apache-2.0"
_PRIVATE = 0xE000
"""Characters before this are letters and spaces, not icons."""


def read(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    """About 7,300 icons of one style by the Pictogrammers."""
    import numpy as np

    from bowerbird.data.picture import is_blank, require_pillow

    pillow = require_pillow()
    from PIL import ImageDraw, ImageFont

    path = next(iter(sorted(place("demo:icons").glob("*.ttf"))), None)
    if path is None:
        raise Unusable("the font is not in its package")
    font = ImageFont.truetype(str(path), SIDE)
    for code in characters(path.read_bytes()):
        if code < _PRIVATE:
            continue
        image = pillow.new("RGB", (SIDE, SIDE), "white")
        ImageDraw.Draw(image).text((SIDE / 2, SIDE / 2), chr(code), fill="black", font=font, anchor="mm")
        picture = np.asarray(image)
        origin = f"{opened.origin}#{code:X}"
        if is_blank(picture):
            yield Rejected(origin, "nothing is drawn for this character")
        else:
            yield Item(picture, origin, licence=LICENCE)


def characters(font: bytes) -> list[int]:
    """The Unicode characters that a TrueType font can draw, from the table `cmap` of it, format 12.

    Raises:
        Unusable: the font has no such table.
    """
    try:
        start = _table(font, b"cmap")
        (tables,) = struct.unpack_from(">H", font, start + 2)
        for number in range(tables):
            (offset,) = struct.unpack_from(">I", font, start + 4 + 8 * number + 4)
            at = start + offset
            if struct.unpack_from(">H", font, at) == (12,):
                (groups,) = struct.unpack_from(">I", font, at + 12)
                spans = (struct.unpack_from(">2I", font, at + 16 + 12 * group) for group in range(groups))
                return [code for first, last in spans for code in range(first, min(last, 0x10FFFF) + 1)]
    except struct.error:
        raise Unusable("a damaged font") from None
    raise Unusable("this font does not say which characters it has")


def _table(font: bytes, name: bytes) -> int:
    """Where a table of a TrueType font begins."""
    (count,) = struct.unpack_from(">H", font, 4)
    for number in range(count):
        tag, _, offset, _ = struct.unpack_from(">4s3I", font, 12 + 16 * number)
        if tag == name:
            return int(offset)
    raise Unusable(f"a font without the table `{name.decode()}`")


ICONS = Source("the demo icons", (), read, "image")
