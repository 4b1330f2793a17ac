"""Near duplicates: documents of which most short passages are the same, found with MinHash.

A document is the set of its passages: the 24 bytes, about five words, from the start of each word on
(in scripts without spaces, from each character on), case, punctuation and line ends left out. Of their
64-bit hashes the 256 smallest are kept (a bottom-k sketch: Cohen & Kaplan, 2007), whatever its length;
datasketch's MinHash (Broder, 1997) turns those into 128 numbers, of which one byte each is stored
(b-bit minwise hashing: Li & Koenig, arXiv:0910.3349). Documents that agree in one band of these bytes
are compared. All in all 160 bytes a document.
"""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import MissingExtra

PASSAGE_BYTES = 24
SKETCH_HASHES = 256
PERMUTATIONS = 128
BAND_ROWS = 5
"""25 bands of 5: sketches alike to 0.67, as the least alike pair of similarity 0.8 can be (one document
inside the other), meet with probability 0.97; alike to 0.8, always."""

SHORTEST_CHARACTERS = 200
"""Shorter documents have too few passages to judge by, and are only ever exact copies."""

_BLOCK_BYTES = 1 << 17
_COMPARED_AT_ONCE = 1 << 14
_SPACE = 32
_NO_SPACES = 0xE0
"""First bytes from here on begin the characters of three and four bytes: scripts without spaces are there."""

Hashes = NDArray[np.uint64]


def _mixed(values: Hashes) -> Hashes:
    """The finaliser of splitmix64: a fixed bijection that spreads every bit."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


# Odd, so that multiplying loses no bit.
_SPREAD, _FIRST, _SECOND = (
    np.uint64(factor) for factor in (0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93, 0xA0761D6478BD642F)
)


def _folding() -> NDArray[np.uint8]:
    """Letters to lower case, digits and all beyond ASCII as they are, anything else to a space."""
    table = np.full(256, _SPACE, np.uint8)
    for code in range(256):
        if code >= 128 or chr(code).isalnum():
            table[code] = ord(chr(code).lower()) if code < 128 else code
    return table


_FOLDED = _folding()


def passage_hashes(folded: NDArray[np.uint8]) -> Hashes:
    """(passages,) hashes of the passages that begin after the first of n >= 25 folded bytes."""
    begins = (folded[:-PASSAGE_BYTES] == _SPACE) & (folded[1 : 1 - PASSAGE_BYTES] != _SPACE)
    if int(folded.max()) >= _NO_SPACES:
        begins |= folded[1 : 1 - PASSAGE_BYTES] >= _NO_SPACES
    at = np.flatnonzero(begins) + 1
    everywhere = np.ndarray((len(folded) - PASSAGE_BYTES + 1,), "V24", folded, strides=(1,))
    words = everywhere[at].view("<u8").reshape(-1, 3).astype(np.uint64, copy=False)
    # Each word is spread before they are added, or a change of its last byte would move few bits.
    words = words * _SPREAD
    words ^= words >> np.uint64(32)
    return _mixed(words[:, 0] * _FIRST + words[:, 1] * _SECOND + words[:, 2])


def _distinct(hashes: Hashes) -> Hashes:
    """Sorted, each once; many times faster here than `np.unique`, which goes by a hash table."""
    hashes = np.sort(hashes)
    keep = np.ones(len(hashes), np.bool_)
    keep[1:] = hashes[1:] != hashes[:-1]
    return hashes[keep]


class Sketch:
    """The smallest passage hashes of one document, which may be added piece by piece."""

    def __init__(self) -> None:
        self.characters = 0
        self.hashes: Hashes = np.zeros(0, np.uint64)
        self._rest: NDArray[np.uint8] = np.full(1, _SPACE, np.uint8)

    def add(self, text: str) -> None:
        self.characters += len(text)
        content = np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8)
        for start in range(0, len(content), _BLOCK_BYTES):
            self._add(_FOLDED[content[start : start + _BLOCK_BYTES]])

    def _add(self, folded: NDArray[np.uint8]) -> None:
        folded = np.concatenate([self._rest, folded])
        keep = np.ones(len(folded), np.bool_)
        keep[1:] = (folded[1:] != _SPACE) | (folded[:-1] != _SPACE)
        folded = folded[keep]
        self._rest = folded[-PASSAGE_BYTES:]
        if len(folded) > PASSAGE_BYTES:
            fresh = passage_hashes(folded)
            if self.is_full:
                fresh = fresh[fresh < self.hashes[-1]]
            if len(fresh):
                self.hashes = _distinct(np.concatenate([self.hashes, fresh]))[:SKETCH_HASHES]

    @property
    def is_full(self) -> bool:
        return len(self.hashes) == SKETCH_HASHES

    @property
    def reach(self) -> float:
        """The share of all hash values, from 0 up, of which the sketch holds what the document has."""
        return float(self.hashes[-1]) / 2.0**64 if self.is_full else 1.0


class NearDuplicates:
    """Sketches of many documents; says which resemble an earlier one."""

    def __init__(self, similarity: float):
        self.similarity = similarity
        self._minhash: Any = None
        self._first: tuple[int, Sketch] | None = None
        self._documents = array("q")
        self._sizes = array("d")
        self._reaches = array("d")
        self._signatures = bytearray()

    def add(self, document: int, sketch: Sketch) -> None:
        """Remember a document by its number; numbers must grow.

        Raises:
            MissingExtra: datasketch is not installed; only from the second long document on.
        """
        if sketch.characters < SHORTEST_CHARACTERS or not len(sketch.hashes):
            return
        if self._first is None:
            self._first = (document, sketch)
            return
        if self._minhash is None:
            self._minhash = _empty_minhash()
            self._remember(*self._first)
        self._remember(document, sketch)

    def _remember(self, document: int, sketch: Sketch) -> None:
        self._minhash.clear()
        self._minhash.update_batch((sketch.hashes & np.uint64(0xFFFFFFFF)).tolist())
        self._documents.append(document)
        self._sizes.append(len(sketch.hashes))
        self._reaches.append(sketch.reach)
        self._signatures += (self._minhash.hashvalues & 0xFF).astype(np.uint8).tobytes()

    def resembling(self, left_out: NDArray[np.bool_]) -> dict[int, tuple[int, float]]:
        """Document -> (the kept document before it that it resembles, their similarity).

        `left_out` is (documents,), true for those dropped already, which count for nothing here.
        """
        documents = np.array(self._documents, np.int64)
        if len(documents) < 2:
            return {}
        rows = np.flatnonzero(~left_out[documents])
        compare = self.comparison()
        pairs = [np.zeros((0, 2), np.int64)]
        for start in range(0, PERMUTATIONS - BAND_ROWS + 1, BAND_ROWS):
            pairs += [
                pair[compare(pair) >= self.similarity] for pair in _meetings(compare.signatures, rows, start)
            ]
        alike = np.unique(np.concatenate(pairs), axis=0)
        # In the order of the later document, so that what it is compared with is decided already.
        alike = alike[np.lexsort((alike[:, 0], alike[:, 1]))]
        found: dict[int, tuple[int, float]] = {}
        for earlier, later in alike.tolist():
            kept = found[earlier][0] if earlier in found else earlier
            if later in found and found[later][0] == kept:
                continue
            similarity = float(compare(np.array([[kept, later]]))[0])
            if similarity >= self.similarity and similarity > found.get(later, (0, 0.0))[1]:
                found[later] = (kept, similarity)
        return {
            int(documents[later]): (int(documents[kept]), similarity)
            for later, (kept, similarity) in found.items()
        }

    def comparison(self) -> Comparison:
        """The estimate of similarity, by rows: the long documents in the order they were added."""
        signatures = np.frombuffer(bytes(self._signatures), np.uint8).reshape(-1, PERMUTATIONS)
        return Comparison(signatures, np.array(self._sizes), np.array(self._reaches))


class Comparison:
    """Estimates how alike documents are from their rows of signatures, sizes and reaches."""

    def __init__(
        self, signatures: NDArray[np.uint8], sizes: NDArray[np.float64], reaches: NDArray[np.float64]
    ):
        self.signatures = signatures
        self.sizes = sizes
        self.reaches = reaches

    def __call__(self, pairs: NDArray[np.int64]) -> NDArray[np.float64]:
        """(pairs,) Jaccard similarities of the documents from (pairs, 2) rows.

        The sketches' own similarity s says how many hashes they share: s / (1 + s) of both sizes. The
        longer document's sketch reaches less far; beyond its reach the other's hashes cannot be shared,
        so only those within both reaches are counted.
        """
        a, b = pairs[:, 0], pairs[:, 1]
        equal = (self.signatures[a] == self.signatures[b]).mean(axis=1)
        s = np.clip((equal - 1 / 256) / (1 - 1 / 256), 0.0, 1.0)  # one byte agrees by chance in 256
        shared = s / (1 + s) * (self.sizes[a] + self.sizes[b])
        reach = np.minimum(self.reaches[a], self.reaches[b])
        size_a = self.sizes[a] * (reach / self.reaches[a])
        size_b = self.sizes[b] * (reach / self.reaches[b])
        total = np.maximum(size_a + size_b - shared, np.maximum(size_a, size_b))
        similarities: NDArray[np.float64] = np.minimum(shared / total, 1.0)
        return similarities


def _meetings(signatures: NDArray[np.uint8], rows: NDArray[np.int64], start: int) -> list[NDArray[np.int64]]:
    """Blocks of (pairs, 2) rows that agree in the band from `start`: each with the group's first and the last."""
    key = np.zeros(len(rows), np.uint64)
    for column in range(start, start + BAND_ROWS):
        key = key << np.uint64(8) | signatures[rows, column].astype(np.uint64)
    order = np.argsort(key, kind="stable")
    members, key = rows[order], key[order]
    same = np.flatnonzero(key[1:] == key[:-1]) + 1
    begins = np.ones(len(key), np.bool_)
    begins[same] = False
    firsts = members[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    pairs = np.concatenate(
        [
            np.stack([firsts[same], members[same]], axis=1),
            np.stack([members[same - 1], members[same]], axis=1),
        ]
    )
    return [pairs[at : at + _COMPARED_AT_ONCE] for at in range(0, len(pairs), _COMPARED_AT_ONCE)]


def _empty_minhash() -> Any:
    try:
        from datasketch import MinHash
    except ImportError:
        raise MissingExtra(
            "finding near duplicates", "gather", instead="--set clean.near_duplicates=false"
        ) from None
    return MinHash(num_perm=PERMUTATIONS, seed=1, hashfunc=int)
