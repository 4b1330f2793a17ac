"""Log-probabilities of tokens as they are told: in the shape of completions, or of chats.

They are the model's own, at temperature 1, before penalties, biases and filters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bowerbird.data.codecs import Codec
from bowerbird.data.markers import ROLES, plain
from bowerbird.kinds.kind import Reader
from bowerbird.kinds.reading import TextReader
from bowerbird.sampling.logprobs import TokenLogprobs
from bowerbird.sampling.session import FinishReason

LEAST = -9999.0
"""OpenAI's number for what is as good as impossible; JSON has no infinity."""
MARKER_NAMES = ("<|document|>", *(f"<|{role}|>" for role in ROLES))
"""How the first tokens of every codec are written."""


@dataclass(frozen=True, slots=True)
class Row:
    """One token of an answer, or of an echoed prompt."""

    token: int
    logprob: float
    top: list[tuple[int, float]]
    """The likeliest at this place, with their log-probabilities."""
    start: int
    """Where its text begins, in characters of the choice's text."""
    end: int


class TokenNames:
    """How single tokens are written: their text, or `bytes:\\xe2\\x82` where they are no whole characters."""

    def __init__(self, codec: Codec):
        self._decoder = codec.decoder()
        self._names: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        name = self._names.get(token)
        if name is None:
            name = self._names[token] = self._written(token)
        return name

    def raw(self, token: int) -> list[int] | None:
        """The bytes of a token; None for markers and for halves of a byte, which have none."""
        if token < len(MARKER_NAMES):
            return None
        raw = self._decoder.raw(token)
        return list(raw) if isinstance(raw, bytes) else None

    def _written(self, token: int) -> str:
        if token < len(MARKER_NAMES):
            return MARKER_NAMES[token]
        raw = self._decoder.raw(token)
        if isinstance(raw, int):
            return f"half:{raw:x}"
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


class Noting:
    """A reader that notes the tokens it reads."""

    def __init__(self, reader: Reader):
        self._reader = reader
        self.tokens: list[int] = []

    @property
    def unread(self) -> int:
        return self._reader.unread

    @property
    def content(self) -> Any:
        return self._reader.content

    def push(self, content: Any, finished: FinishReason | None) -> tuple[str, FinishReason | None]:
        self.tokens += content.tolist()
        return self._reader.push(content, finished)


class Rows:
    """The rows of one choice as they come, each told once all its text is given out.

    Args:
        codec: the model's.
        begin: the characters that stand before what is made: those of an echoed prompt.
    """

    def __init__(self, codec: Codec, begin: int = 0):
        self._reader = TextReader(codec.decoder())
        self._decoder = codec.decoder()
        self._made = begin
        self._prompt: list[Row] = []
        self._held: list[Row] = []
        self.total, self.count = 0.0, 0

    def read(self, tokens: Sequence[int], logprobs: TokenLogprobs) -> None:
        """Take the rows of a prompt that is echoed. A token that nothing stands before has none."""
        place = 0
        for token, logprob, top in _each(tokens, logprobs):
            if math.isnan(logprob):
                continue  # the marker that begins a document, which is ours
            size = len(plain(self._decoder.push(token)))
            self._prompt.append(Row(token, logprob, top, place, place + size))
            place += size

    def add(self, tokens: Sequence[int], logprobs: TokenLogprobs) -> None:
        """Take the rows of tokens that were made."""
        for token, logprob, top in _each(tokens, logprobs):
            text, _ = self._reader.push(np.array([token]), None)
            self._held.append(Row(token, logprob, top, self._made, self._made + len(text)))
            self._made += len(text)
            self.total += logprob
            self.count += 1

    @property
    def mean(self) -> float:
        """The mean log-probability of the tokens made; of none, less than any."""
        return self.total / self.count if self.count else -float("inf")

    def told(self, length: int, ended: bool) -> list[Row]:
        """Those whose text lies within the `length` characters given out, and were not told before.

        The last one may reach beyond them at the end, where a stop string begins within a token; those of
        the stop string itself are not told, nor those of bytes that begin a character before it is known
        whether it is given out.
        """
        inside = [row.end <= length or (ended and row.start < length) for row in self._held]
        count = inside.index(False) if False in inside else len(inside)
        if not ended or count < len(inside):
            while count and self._held[count - 1].start == self._held[count - 1].end:
                count -= 1
        found = self._prompt + self._held[:count]
        self._prompt, self._held = [], self._held[count:]
        return found


def in_completions(names: TokenNames, rows: Sequence[Row]) -> dict[str, Any]:
    """The shape of `/v1/completions`: the token that was made is among the likeliest, or beside them."""
    return {
        "tokens": [names[row.token] for row in rows],
        "token_logprobs": [_finite(row.logprob) for row in rows],
        "top_logprobs": [
            {names[token]: _finite(logprob) for token, logprob in [*row.top, (row.token, row.logprob)]}
            for row in rows
        ],
        "text_offset": [row.start for row in rows],
    }


def in_chats(names: TokenNames, rows: Sequence[Row]) -> dict[str, Any]:
    """The shape of `/v1/chat/completions`."""
    return {
        "content": [
            {
                **_told(names, row.token, row.logprob),
                "top_logprobs": [_told(names, token, logprob) for token, logprob in row.top],
            }
            for row in rows
        ],
        "refusal": None,
    }


def _told(names: TokenNames, token: int, logprob: float) -> dict[str, Any]:
    return {"token": names[token], "logprob": _finite(logprob), "bytes": names.raw(token)}


def _finite(logprob: float) -> float:
    return max(LEAST, logprob)  # in this order, what is no number is the least too


def _each(
    tokens: Sequence[int], logprobs: TokenLogprobs
) -> Iterator[tuple[int, float, list[tuple[int, float]]]]:
    rows = zip(
        tokens, logprobs.chosen.tolist(), logprobs.top_tokens.tolist(), logprobs.top.tolist(), strict=True
    )
    for token, chosen, others, values in rows:
        yield token, chosen, list(zip(others, values, strict=True))
