"""What a codec is: exact passage between text and token numbers, and back piece by piece.

The first four tokens are the same in every codec: the markers of `data.markers`, in order.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from bowerbird.base.config import Config
from bowerbird.data.markers import MARKERS

Tokens = NDArray[np.int32]
Texts = Callable[[], Iterator[str]]
"""A text in pieces that can be read again from the start."""

DOCUMENT_TOKEN = 0
FIRST_PIECE = len(MARKERS)


class CodecConfig(Config):
    """How text becomes tokens."""

    name: Literal["auto", "characters", "bytes", "bpe", "words", "notes"] = "auto"
    """`characters`, `bytes`, `bpe` (byte-level pieces), `words`, or `notes` for melodies; `auto` takes
    pieces for much text in an alphabet, else characters."""
    vocab_size: int = Field(4096, ge=20, le=1 << 24)
    """The most tokens a learnt codec may have; characters rarely come near it."""
    min_count: int = Field(2, ge=1)
    """Symbols seen fewer times in training are spelt out in bytes, so unseen ones are no surprise."""
    pitches: Literal["relative", "absolute"] = "relative"
    """How `notes` counts pitches: from the tonic, so that all keys are learnt as one, or as MIDI's."""

    @model_validator(mode="after")
    def _room_for_bytes(self) -> Self:
        if self.name == "bpe" and self.vocab_size < FIRST_PIECE + 256:
            raise ValueError(f"bpe needs a vocab_size of {FIRST_PIECE + 256} or more: markers and 256 bytes")
        return self


class Codec(Protocol):
    """Learnt from training text only. `decode(encode(text)) == text` for every Unicode text; `notes` takes tunes,
    and `pixels` no text at all."""

    name: ClassVar[str]
    vocab_size: int
    byte_sizes: NDArray[np.float64]
    """(vocab_size,) UTF-8 bytes each token stands for; markers stand for none. Of `notes`: notes;
    of `pixels`: nothing."""
    unit: ClassVar[str]
    """What `byte_sizes` counts: `byte`, `note`, or `image`."""

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self: ...

    @classmethod
    def load(cls, description: Mapping[str, Any], files: Mapping[str, bytes]) -> Self: ...

    def encode(self, text: str) -> Tokens:
        """(tokens,) int32."""
        ...

    def decode(self, tokens: Iterable[int]) -> str: ...

    def decoder(self) -> Decoder: ...

    def unseen(self, text: str) -> set[str]:
        """The characters of `text` that have no token of their own."""
        ...

    def describe(self) -> dict[str, Any]:
        """JSON for `bundle.json` and `dataset.json`; with `files`, all that `load` needs."""
        ...

    def files(self) -> dict[str, bytes]: ...


class Decoder:
    """Decodes a stream of tokens; text comes out as soon as its last byte is in.

    `spelling` is the first of 16 tokens that spell bytes in two halves (high, low), or None.
    """

    def __init__(self, bytes_of: list[bytes], spelling: int | None = None):
        self._bytes_of = bytes_of
        self._spelling = spelling
        self._half: int | None = None
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")

    def push(self, token: int) -> str:
        if self._spelling is not None and self._spelling <= token < self._spelling + 16:
            half = token - self._spelling
            if self._half is None:
                self._half = half
                return ""
            byte = bytes([self._half * 16 + half])
            self._half = None
            return self._utf8.decode(byte)
        self._half = None
        return self._utf8.decode(self._bytes_of[token])

    def raw(self, token: int) -> bytes | int:
        """The bytes a token stands for by itself, or the half of a byte (0 to 15) that it spells."""
        if self._spelling is not None and self._spelling <= token < self._spelling + 16:
            return token - self._spelling
        return self._bytes_of[token]

    def flush(self) -> str:
        """What is left at the end: U+FFFD for bytes that never became a character."""
        self._half = None
        text = self._utf8.decode(b"", final=True)
        self._utf8.reset()
        return text
