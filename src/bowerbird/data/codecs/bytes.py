"""The byte codec: one token a UTF-8 byte. Nothing is learnt and nothing is unseen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np

from bowerbird.data.codecs.codec import FIRST_PIECE, CodecConfig, Decoder, Texts, Tokens
from bowerbird.data.markers import MARKERS


class Bytes:
    """Markers keep their own tokens; every other character is its bytes."""

    name: ClassVar[str] = "bytes"
    unit: ClassVar[str] = "byte"
    vocab_size = FIRST_PIECE + 256
    byte_sizes = np.array([0.0] * FIRST_PIECE + [1.0] * 256)

    def __init__(self) -> None:
        self._bytes_of = [marker.encode() for marker in MARKERS] + [bytes([byte]) for byte in range(256)]

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self:
        return cls()

    @classmethod
    def load(cls, description: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        return cls()

    def encode(self, text: str) -> Tokens:
        content = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int32)
        if text.isascii():
            return content + FIRST_PIECE
        # A marker is three bytes, EF B7 90 to 93; each such triple becomes its one token.
        starts = np.flatnonzero(
            (content[:-2] == 0xEF) & (content[1:-1] == 0xB7) & (content[2:] >= 0x90) & (content[2:] < 0x94)
        )
        tokens = content + FIRST_PIECE
        tokens[starts] = content[starts + 2] - 0x90
        return np.delete(tokens, np.concatenate([starts + 1, starts + 2]))

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join([self._bytes_of[int(token)] for token in tokens]).decode("utf-8", "replace")

    def decoder(self) -> Decoder:
        return Decoder(self._bytes_of)

    def unseen(self, text: str) -> set[str]:
        return set()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def files(self) -> dict[str, bytes]:
        return {}
