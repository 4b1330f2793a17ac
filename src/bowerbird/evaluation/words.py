"""Words for counting: what stands between spaces, and single characters where a script writes no spaces."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

_UNSPACED = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\u1780-\u17ff"  # Myanmar, Khmer
    "\u2e80-\u303f\u3040-\u30ff\u3100-\u312f\u31a0-\u31ff"  # radicals, kana, bopomofo
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # ideographs
)
_WORD = re.compile(f"[{_UNSPACED}]|[^\\s{_UNSPACED}]+")


def words(text: str) -> list[str]:
    """Words with the punctuation that touches them, as `str.split` gives; `你好` is two words."""
    return _WORD.findall(text)


def ngrams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    """Every run of `n` neighbouring words."""
    return zip(*(tokens[offset:] for offset in range(n)), strict=False)


def cut_alike(held_out: Sequence[Sequence[str]], lengths: Sequence[int]) -> list[Sequence[str]] | None:
    """Stretches of held-out documents, each as long as one sample; None where there is not enough.

    A stretch never crosses from one document into the next. The longest are cut first, each from the
    first document with room left, so a measure that depends on length sees the same lengths.
    """
    cut: list[Sequence[str]] = []
    room = [(document, 0) for document in held_out]
    first = 0
    for length in sorted(lengths, reverse=True):
        for index in range(first, len(room)):
            document, used = room[index]
            if len(document) - used >= length:
                cut.append(document[used : used + length])
                room[index] = (document, used + length)
                break
        else:
            return None
        while first < len(room) and room[first][1] >= len(room[first][0]):
            first += 1
    return cut
