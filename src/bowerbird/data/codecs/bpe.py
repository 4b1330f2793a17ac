"""Byte-level byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) by Hugging Face tokenizers.

Its own `tokenizer.json` is what is kept, so any tool of the field can read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Self

import numpy as np
from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from bowerbird.base.errors import CorruptFile
from bowerbird.data.codecs.codec import FIRST_PIECE, CodecConfig, Decoder, Texts, Tokens
from bowerbird.data.markers import MARKERS

_LEARN_CHARACTERS = 16_000_000
"""Text that merges are learnt from, spread over the whole; about nine seconds per ten million."""
_CHUNK = 1 << 18
"""Characters encoded at once, which bounds the library's memory."""
_PARTS = {
    "model": "BPE",
    "pre_tokenizer": "ByteLevel",
    "decoder": "ByteLevel",
    "normalizer": None,
    "post_processor": None,
    "truncation": None,
    "padding": None,
}


class BytePairs:
    """`vocab_size` tokens: markers, 256 bytes, then merges in the order they were learnt."""

    name: ClassVar[str] = "bpe"
    unit: ClassVar[str] = "byte"

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self.vocab_size = tokenizer.get_vocab_size()
        byte_of = _byte_alphabet()
        self._bytes_of = [marker.encode() for marker in MARKERS] + [
            bytes([byte_of[symbol] for symbol in tokenizer.id_to_token(token) or ""])
            for token in range(len(MARKERS), self.vocab_size)
        ]
        self.byte_sizes = np.array(
            [0.0] * FIRST_PIECE + [float(len(piece)) for piece in self._bytes_of[FIRST_PIECE:]]
        )

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self:
        tokenizer = Tokenizer(BPE())
        tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
        tokenizer.decoder = ByteLevelDecoder()
        trainer = BpeTrainer(
            vocab_size=config.vocab_size,
            min_frequency=max(config.min_count, 2),
            special_tokens=[AddedToken(marker, special=True, normalized=False) for marker in MARKERS],
            initial_alphabet=sorted(ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(_spread(texts), trainer)
        return cls(tokenizer)

    @classmethod
    def load(cls, description: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        """Raises:
        CorruptFile: it is no tokenizer, or more than one that was learnt here.
        """
        try:
            text = files["tokenizer.json"].decode("utf-8")
            _check_parts(json.loads(text))
            return cls(Tokenizer.from_str(text))
        except Exception as error:  # the library raises bare Exception for a bad file
            raise CorruptFile(f"tokenizer.json cannot be read: {error}") from error

    def encode(self, text: str) -> Tokens:
        text = text.encode("utf-8", "replace").decode()
        chunks = list(_chunks(text))
        encodings = self._tokenizer.encode_batch_fast(chunks, add_special_tokens=False)
        return np.concatenate(
            [np.array([], np.int32), *(np.array(found.ids, np.int32) for found in encodings)]
        )

    def decode(self, tokens: Iterable[int]) -> str:
        return b"".join([self._bytes_of[int(token)] for token in tokens]).decode("utf-8", "replace")

    def decoder(self) -> Decoder:
        return Decoder(self._bytes_of)

    def unseen(self, text: str) -> set[str]:
        return set()

    def describe(self) -> dict[str, Any]:
        return {"name": self.name}

    def files(self) -> dict[str, bytes]:
        return {"tokenizer.json": self._tokenizer.to_str(pretty=True).encode()}


def _check_parts(told: Any) -> None:
    """Refuse what `learn` does not make: other parts may hold patterns that take for ever on some texts.

    Raises:
        ValueError: there is such a part.
    """
    for name, kind in _PARTS.items():
        part = told[name]
        if (part and part["type"]) != kind:
            raise ValueError(f"its {name} is not {kind}")


def _chunks(text: str) -> Iterator[str]:
    """Chunks that end after a line end where one is near."""
    start = 0
    while start < len(text):
        stop = min(start + _CHUNK, len(text))
        line_end = text.rfind("\n", start, stop)
        if stop < len(text) and line_end > start + _CHUNK // 2:
            stop = line_end + 1
        yield text[start:stop]
        start = stop


def _spread(texts: Texts) -> Iterator[str]:
    """At most `_LEARN_CHARACTERS` of the text, in chunks taken evenly from the whole of it."""
    total = sum(len(text) for text in texts())
    share = min(1.0, _LEARN_CHARACTERS / max(total, 1))
    owed = 0.0
    for text in texts():
        for chunk in _chunks(text):
            owed += share
            if owed >= 1:
                owed -= 1
                yield chunk


def _byte_alphabet() -> dict[str, int]:
    """The byte that each symbol of the byte-level alphabet stands for (GPT-2's printable mapping)."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {
        chr(256 + index): byte for index, byte in enumerate(others)
    }
