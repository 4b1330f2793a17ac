"""Codecs over a learnt list of pieces: single characters, or words. What is not on the list is spelt.

A word not on the list is spelt in characters, a character not on it in UTF-8 bytes, each byte as two
of sixteen half-byte tokens. So any text round-trips exactly while the output layer stays small.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import CorruptFile
from bowerbird.data.codecs.codec import FIRST_PIECE, CodecConfig, Decoder, Texts, Tokens
from bowerbird.data.markers import MARKERS

SPELLING = FIRST_PIECE
FIRST_LEARNT = SPELLING + 16
_CODE_POINTS = 0x110000
_TABLE_LIMIT = 2_000_000
"""Words counted at once; beyond it the rarest are forgotten (lossy counting, Manku & Motwani 2002)."""


class Characters:
    """One token a character. `pieces` are the characters that have one, in the order of their tokens."""

    name: ClassVar[str] = "characters"
    unit: ClassVar[str] = "byte"

    def __init__(self, pieces: list[str]):
        self.pieces = pieces
        self.vocab_size = FIRST_LEARNT + len(pieces)
        self._token_of = np.full(_CODE_POINTS, -1, np.int32)
        for token, marker in enumerate(MARKERS):
            self._token_of[ord(marker)] = token
        for index, piece in enumerate(pieces):
            if len(piece) == 1:
                self._token_of[ord(piece)] = FIRST_LEARNT + index
        spelt = [b""] * 16
        self._bytes_of = (
            [marker.encode() for marker in MARKERS] + spelt + [piece.encode() for piece in pieces]
        )
        self.byte_sizes = np.array(
            [0.0] * FIRST_PIECE + [0.5] * 16 + [float(len(piece.encode())) for piece in pieces]
        )

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self:
        counts = count_characters(texts)
        return cls(_common_characters(counts, config, config.vocab_size - FIRST_LEARNT))

    @classmethod
    def load(cls, description: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        pieces = description.get("pieces")
        if not isinstance(pieces, list) or not all(isinstance(piece, str) and piece for piece in pieces):
            raise CorruptFile(f"the codec `{cls.name}` has no list of pieces")
        if any("\ud800" <= character <= "\udfff" for piece in pieces for character in piece):
            raise CorruptFile(f"a piece of the codec `{cls.name}` holds half of a surrogate pair")
        return cls(pieces)

    def encode(self, text: str) -> Tokens:
        tokens = self._token_of[_code_points(text)]
        unseen = np.flatnonzero(tokens < 0)
        if not len(unseen):
            return tokens
        parts: list[NDArray[np.int32]] = []
        for start, stop in pairwise([-1, *unseen.tolist()]):
            parts += [tokens[start + 1 : stop], _spell(text[stop])]
        parts.append(tokens[unseen[-1] + 1 :])
        return np.concatenate(parts)

    def decode(self, tokens: Iterable[int]) -> str:
        decoder = self.decoder()
        return "".join([decoder.push(int(token)) for token in tokens]) + decoder.flush()

    def decoder(self) -> Decoder:
        return Decoder(self._bytes_of, spelling=SPELLING)

    def unseen(self, text: str) -> set[str]:
        return {character for character in set(text) if self._token_of[ord(character)] < 0}

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "pieces": self.pieces}

    def files(self) -> dict[str, bytes]:
        return {}


class Words(Characters):
    """One token a frequent word (with the space before it), else its characters."""

    name: ClassVar[str] = "words"
    unit: ClassVar[str] = "byte"
    _PIECE = re.compile(r" ?\w+(?:['\u2019]\w+)*|\W")

    def __init__(self, pieces: list[str]):
        super().__init__(pieces)
        self._word_token = {piece: [FIRST_LEARNT + index] for index, piece in enumerate(pieces)}
        self._spelt: dict[str, list[int]] = {}

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self:
        room = config.vocab_size - FIRST_LEARNT
        characters = _common_characters(count_characters(texts), config, room // 2)
        words: Counter[str] = Counter()
        floor = 0
        for text in texts():
            words.update(piece for piece in cls._PIECE.findall(text) if len(piece) > 1)
            if len(words) > _TABLE_LIMIT:
                floor += 1
                words = Counter({word: count for word, count in words.items() if count > floor})
        least = max(config.min_count, 2)
        ranked = sorted(
            (word for word in words if words[word] >= least), key=lambda word: (-words[word], word)
        )
        return cls(characters + ranked[: room - len(characters)])

    def encode(self, text: str) -> Tokens:
        known, spelt = self._word_token, self._spelt
        if len(spelt) > _TABLE_LIMIT:
            spelt.clear()
        tokens: list[int] = []
        for piece in self._PIECE.findall(text):
            found = known.get(piece) or spelt.get(piece)
            if found is None:
                found = spelt[piece] = super().encode(piece).tolist()
            tokens += found
        return np.array(tokens, np.int32)


def count_characters(texts: Texts) -> NDArray[np.int64]:
    """(code points,) how often each occurs."""
    counts = np.zeros(_CODE_POINTS, np.int64)
    for text in texts():
        found = np.bincount(_code_points(text))
        counts[: len(found)] += found
    return counts


def _common_characters(counts: NDArray[np.int64], config: CodecConfig, room: int) -> list[str]:
    counts = counts.copy()
    counts[[ord(marker) for marker in MARKERS]] = 0
    counts[0xD800:0xE000] = 0
    kept = np.flatnonzero(counts >= max(config.min_count, 1))
    kept = kept[np.argsort(-counts[kept], kind="stable")][: max(room, 0)]
    return [chr(point) for point in sorted(kept.tolist())]


def _code_points(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.uint32, copy=False)


def _spell(character: str) -> NDArray[np.int32]:
    halves = [half for byte in character.encode("utf-8", "replace") for half in divmod(byte, 16)]
    return np.array(halves, np.int32) + SPELLING
