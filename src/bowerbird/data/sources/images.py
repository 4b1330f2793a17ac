"""Picture files (.png, .jpg, .webp, .gif, .bmp, .tiff), each a picture; of moving ones the first frame."""

from __future__ import annotations

from collections.abc import Iterator

from bowerbird.data.image_config import SIZES, ImageConfig
from bowerbird.data.item import Item
from bowerbird.data.sources.parts import seekable
from bowerbird.data.sources.source import GatherConfig, Opened, Source

MOST = SIZES[-1]
"""Pictures are shrunk to a shorter side of this many pixels as they are read."""

AS_IT_IS = ImageConfig(alpha="keep")
"""What is transparent stays so: preparing lays it on the background."""


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    from bowerbird.data.picture import decode

    with seekable(opened) as stream:
        picture = decode(stream, AS_IT_IS, most=MOST)
    yield Item(picture, opened.origin)


IMAGES = Source(
    "a picture", (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"), read, "image"
)
