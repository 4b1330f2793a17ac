"""What a text is like, in a few numbers that live traffic is compared by; each at the length that the text has.

`alphabet`    bits per character by how often the training text has each character: unusual letters cost more
`unseen`      share of characters that the training text does not have
`repetition`  share of runs of 8 characters that stood earlier in the same text
`language`    what `languages.language` tells
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping

from bowerbird.data.markers import plain
from bowerbird.evaluation.languages import language

RUN = 8
MOST_CHARACTERS = 1_000
"""Different ones that are kept of an alphabet; the rarest go, and count as unseen."""
_READ = 8_000_000
"""Characters of the training text that are counted."""

Traits = Mapping[str, float | str]


class Alphabet:
    """How often the training text has each character.

    Args:
        counts: by character.
    """

    def __init__(self, counts: Mapping[str, int]):
        self.counts = dict(counts)
        total = sum(self.counts.values()) + (len(self.counts) + 1) / 2
        self._bits = {
            character: -math.log2((count + 0.5) / total) for character, count in self.counts.items()
        }
        self._unseen_bits = -math.log2(0.5 / total)

    @classmethod
    def of(cls, pieces: Iterable[str]) -> Alphabet:
        """That of a marked text, from its beginning."""
        counts: Counter[str] = Counter()
        left = _READ
        for piece in pieces:
            counts.update(plain(piece[:left]))
            left -= len(piece)
            if left <= 0:
                break
        return cls(dict(counts.most_common(MOST_CHARACTERS)))

    def bits(self, text: str) -> float:
        """Bits per character; 0 for an empty text."""
        return sum(self._bits.get(character, self._unseen_bits) for character in text) / max(len(text), 1)

    def unseen(self, text: str) -> float:
        """Share of the characters; 0 for an empty text."""
        return sum(character not in self.counts for character in text) / max(len(text), 1)


def traits(text: str, alphabet: Alphabet) -> Traits:
    """All of them, of one text."""
    return {
        "alphabet": alphabet.bits(text),
        "unseen": alphabet.unseen(text),
        "repetition": repetition(text),
        "language": language(text),
    }


def repetition(text: str) -> float:
    """Share of the runs of `RUN` characters that stood earlier in the text; 0 where there are fewer than two."""
    runs = len(text) - RUN + 1
    if runs < 2:
        return 0.0
    return 1.0 - len({text[at : at + RUN] for at in range(runs)}) / runs


def cut(text: str, size: int) -> str:
    """The beginning of a text, of at most so many UTF-8 bytes."""
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")


def size(text: str) -> int:
    """UTF-8 bytes."""
    return len(text.encode("utf-8", "replace"))
