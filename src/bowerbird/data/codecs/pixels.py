"""The codec of pictures: a token is one colour of one pixel, as it is; it also knows their size and classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NoReturn, Self

import numpy as np

from bowerbird.base.errors import CorruptFile, UsageError
from bowerbird.data.codecs.codec import CodecConfig, Decoder, Texts, Tokens

MOST_CLASSES = 1 << 16
_NO_TEXT = "pictures are no text: `pixels` neither reads nor writes any"


class Pixels:
    """(N, height, width, channels) uint8, row by row; classes are numbered in the order of `classes`.

    There are no markers: every picture has as many tokens as the next.
    """

    name: ClassVar[str] = "pixels"
    unit: ClassVar[str] = "image"
    vocab_size = 256
    byte_sizes = np.zeros(256)

    def __init__(self, height: int, width: int, channels: int, classes: Iterable[str] = ()):
        self.height = height
        self.width = width
        self.channels = channels
        self.classes: tuple[str, ...] = tuple(classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one picture: height, width, channels."""
        return self.height, self.width, self.channels

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self:
        raise UsageError(_NO_TEXT, hint="bowerbird prepare FOLDER --kind image --out DATASET")

    @classmethod
    def load(cls, description: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        """Raises:
        CorruptFile: this describes no pictures.
        """
        sides = [description.get(name) for name in ("height", "width")]
        channels, classes = description.get("channels"), description.get("classes")
        if (
            not all(type(side) is int and 1 <= side <= 1 << 14 for side in sides)
            or channels not in (1, 3, 4)
            or not isinstance(classes, list)
            or len(classes) > MOST_CLASSES
            or not all(isinstance(name, str) for name in classes)
        ):
            raise CorruptFile("the codec cannot be read: it does not say what pictures these are")
        return cls(description["height"], description["width"], int(channels), classes)

    def encode(self, text: str) -> Tokens:
        self._refuse()

    def decode(self, tokens: Iterable[int]) -> str:
        self._refuse()

    def decoder(self) -> Decoder:
        self._refuse()

    def unseen(self, text: str) -> set[str]:
        return set()

    def describe(self) -> dict[str, Any]:
        height, width, channels = self.shape
        return {
            "name": self.name,
            "height": height,
            "width": width,
            "channels": channels,
            "classes": list(self.classes),
        }

    def files(self) -> dict[str, bytes]:
        return {}

    def _refuse(self) -> NoReturn:
        raise UsageError(_NO_TEXT)
