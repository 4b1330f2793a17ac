"""Exact search for stretches of some texts that stand word for word in a far larger text, streamed once.

Which characters stand in a stretch of at least some length, and the longest stretch of all, in memory that
depends on the texts and not on the stream. The longest is found in the same pass: each block of the stream
is asked only whether it holds anything longer than the longest so far; where it does, doubling and bisection
find how long.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bowerbird.data.markers import DOCUMENT, ROLES
from bowerbird.evaluation.rolling import Codes, Flags, Hashes, Places, Powers, Windows, as_text, code_points

BLOCK = 1 << 16
"""New characters of the stream looked at together: few enough for the caches of one core."""
CONTEXT = 120
"""Characters shown around a copy."""
KEPT_COPIES = 5
_BETWEEN = 0x110001
"""Stands between texts: no code point, so nothing that crosses two texts is ever found."""


@dataclass(frozen=True)
class Copy:
    """`length` characters at `start` of text number `text` stand in the stream, between `before` and `after`."""

    text: int
    start: int
    length: int
    before: str
    after: str


class Search:
    """What of `texts` stands in the stream, as far as it has been read.

    Args:
        texts: some tens of thousands of characters together.
        shortest: stretches of this many characters or more count as copied.
    """

    def __init__(self, texts: Sequence[str], shortest: int):
        self.shortest = shortest
        parts = [np.append(code_points(text), np.uint32(_BETWEEN)) for text in texts]
        self.codes: Codes = np.concatenate([np.zeros(0, np.uint32), *parts])
        self.begins = np.cumsum([0] + [len(part) for part in parts])
        self.longest_text = max((len(part) - 1 for part in parts), default=0)
        self.longest: Copy | None = None
        self.copies: list[Copy] = []
        """Some of the longest stretches, none overlapping another in its text, longest first."""
        self._powers = Powers(len(self.codes))
        self._prefix = self._powers.prefix(self.codes)
        own = self._hashes(shortest)
        self._own = own
        self._open = np.ones(len(own), np.bool_)
        self._wanted = Windows(own)
        self._longer = Windows(self._hashes(1))

    def _hashes(self, length: int) -> Hashes:
        return self._powers.hashes(self._prefix, length)

    def covered(self) -> list[Flags]:
        """For each text, (characters,) whether the character stands in a copied stretch."""
        steps = np.zeros(len(self.codes) + 1, np.int64)
        found = np.flatnonzero(~self._open)
        steps[found] += 1
        steps[found + self.shortest] -= 1
        inside = np.cumsum(steps) > 0
        return [inside[begin : end - 1] for begin, end in zip(self.begins, self.begins[1:], strict=False)]

    def look(self, block: Codes, prefix: Hashes, powers: Powers) -> None:
        """Search the part of a block that `prefix` covers; the rest of it is only shown as context."""
        self._lengthen(block, prefix, powers)
        if self.longest and self.longest.length >= self.shortest:
            self._cover(block, powers.hashes(prefix, self.shortest))

    def _cover(self, block: Codes, stream: Hashes) -> None:
        positions, index = self._wanted.candidates(stream)
        found = []
        for at in np.unique(index):
            group = self._wanted.group(at)
            for position in positions[index == at]:
                same = self._equal(block, position, group, self.shortest)
                if len(same):
                    self._open[same] = False
                    found.append((int(position), int(same[0])))
                    # Nearly always all of them; different windows of one hash wait for their own position.
                    group = group[self._open[group]]
                    if not len(group):
                        break
        if found:
            self._wanted = Windows(self._own, self._open)
            self._keep(block, found)

    def _equal(self, block: Codes, position: int, places: Places, length: int) -> Places:
        """Those of `places` whose window really equals the one at `position` of the block."""
        target = block[position : position + length]
        return places[[np.array_equal(self.codes[place : place + length], target) for place in places]]

    def _lengthen(self, block: Codes, prefix: Hashes, powers: Powers) -> None:
        possible = self.longest.length if self.longest else 0
        impossible, step = self.longest_text + 1, 1
        windows: Windows | None = self._longer
        best: tuple[int, int, int] | None = None
        while impossible - possible > 1:
            length = possible + step if step else (possible + impossible) // 2
            length = min(length, impossible - 1)
            match = self._match(block, powers.hashes(prefix, length), windows, length)
            windows = None
            if match:
                best = self._extended(block, *match)
                possible, step = best[2], step * 2
            else:
                impossible, step = length, 0
        if best:
            self.longest = self._copy(block, *best)
            self._longer = Windows(self._hashes(possible + 1))

    def _match(
        self, block: Codes, stream: Hashes, windows: Windows | None, length: int
    ) -> tuple[int, int] | None:
        """(position in the block, place in the texts) of one common window of `length`, if there is any."""
        windows = windows or Windows(self._hashes(length))
        for position, index in zip(*windows.candidates(stream), strict=True):
            same = self._equal(block, position, windows.group(index), length)
            if len(same):
                return int(position), int(same[0])
        return None

    def _extended(self, block: Codes, position: int, place: int) -> tuple[int, int, int]:
        """(position, place, length) of the whole common stretch that a common window is part of."""
        back = _common(block[:position][::-1], self.codes[:place][::-1])
        ahead = _common(block[position:], self.codes[place:])
        return position - back, place - back, back + ahead

    def _keep(self, block: Codes, found: list[tuple[int, int]]) -> None:
        """Add to `copies` the longest runs among windows found at (position, place)."""
        table = np.array(sorted(found, key=lambda pair: (pair[1] - pair[0], pair[1])))
        breaks = np.flatnonzero((np.diff(table, axis=0) != 1).any(axis=1)) + 1
        firsts, lasts = np.append(0, breaks), np.append(breaks, len(table))
        for run in np.argsort(firsts - lasts, kind="stable")[:KEPT_COPIES]:
            position, place = (int(value) for value in table[firsts[run]])
            self.copies.append(self._copy(block, *self._extended(block, position, place)))
        self.copies = without_overlap(self.copies)[:KEPT_COPIES]

    def _copy(self, block: Codes, position: int, place: int, length: int) -> Copy:
        text = int(np.searchsorted(self.begins, place, side="right")) - 1
        before = as_text(block[max(0, position - CONTEXT) : position]).rpartition(DOCUMENT)[2]
        after = as_text(block[position + length : position + length + CONTEXT]).partition(DOCUMENT)[0]
        return Copy(text, place - int(self.begins[text]), length, before, after)


def without_overlap(copies: Iterable[Copy]) -> list[Copy]:
    """The copies, longest first, leaving out any that shares characters of its text with a longer one."""
    kept: list[Copy] = []
    for copy in sorted(copies, key=lambda copy: (-copy.length, copy.text, copy.start)):
        end = copy.start + copy.length
        if all(o.text != copy.text or end <= o.start or o.start + o.length <= copy.start for o in kept):
            kept.append(copy)
    return kept


def search(searches: Sequence[Search], pieces: Iterable[str]) -> None:
    """Read the stream once for all searches; nothing is read when there is nothing to look for.

    Args:
        searches: filled in place.
        pieces: the stream, cut anywhere, with U+FDD0 between documents. Marks of speaker turns are left out,
            as they are in the texts.
    """
    searches = [one for one in searches if one.longest_text]
    if not searches:
        return
    overlap = max(one.longest_text for one in searches) + CONTEXT
    size = max(BLOCK, 4 * overlap)
    powers = Powers(overlap + size + CONTEXT)
    carried = np.zeros(0, np.uint32)
    for new, final in _blocks(pieces, size):
        block = np.concatenate([carried, new])
        # What follows the last characters is not known yet; they are looked at again with the next block.
        end = len(block) if final else max(0, len(block) - CONTEXT)
        prefix = powers.prefix(block[:end])
        for one in searches:
            one.look(block, prefix, powers)
        carried = block[max(0, end - overlap) :]


def _blocks(pieces: Iterable[str], size: int) -> Iterator[tuple[Codes, bool]]:
    """The stream in blocks of `size` characters, the last of them shorter, and whether each is the last."""
    waiting: list[Codes] = []
    count = 0
    for piece in pieces:
        codes = code_points(_unmarked(piece))
        waiting.append(codes)
        count += len(codes)
        if count > size:
            joined = np.concatenate(waiting)
            cut = (count - 1) // size * size
            for first in range(0, cut, size):
                yield joined[first : first + size], False
            waiting, count = [joined[cut:]], count - cut
    yield np.concatenate([np.zeros(0, np.uint32), *waiting]), True


def _common(first: Codes, second: Codes) -> int:
    """How many characters two arrays have in common from their beginnings."""
    count = min(len(first), len(second))
    different = np.flatnonzero(first[:count] != second[:count])
    return int(different[0]) if len(different) else count


def _unmarked(piece: str) -> str:
    for marker in ROLES.values():
        piece = piece.replace(marker, "")
    return piece
