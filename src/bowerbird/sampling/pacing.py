"""How much a call of the kernels does, so that it is worth its while and nobody waits long for the next."""

from __future__ import annotations

from bowerbird.sampling.layout import Layout

BLOCK = 64
"""Rows a kernel steps together: their states and products stay in the cache."""
MOST_QUANTUM = 32
_CALL_SECONDS = 0.01
"""About how long a call makes tokens, after which streams may come and go."""
_FEW, _FEW_SECONDS = 4, 0.06
"""Handing over costs as much as some tokens do: so many are made in a call that takes no longer than this."""
_WAITED_SECONDS = 0.0025
"""As long at most while somebody waits for a first token."""
_READ_SECONDS = 0.01
"""About how long a call reads prompts, beside what it makes."""
_SUMS_A_SECOND, _BYTES_A_SECOND = 4e10, 3e10
"""Weights multiplied and read by a middling processor, to guess how long a token takes."""


class Pace:
    """By the size of a network; `quantum` is the most tokens for one stream."""

    def __init__(self, layout: Layout, quantum: int):
        self._size, self._bytes = layout.weights.size, layout.weights.nbytes
        self._quantum = quantum

    def to_make(self, streams: int, *, waiting: bool = False) -> int:
        """Tokens for each of so many streams; `waiting`: for some of them it is the first."""
        seconds = self._seconds(streams)
        if waiting:
            return min(self._quantum, max(1, int(_WAITED_SECONDS / seconds)))
        few = min(_FEW, int(_FEW_SECONDS / seconds))
        return min(self._quantum, max(1, few, int(_CALL_SECONDS / seconds)))

    def to_read(self, streams: int) -> int:
        """Tokens of a prompt for each of so many streams."""
        return max(1, int(_READ_SECONDS / self._seconds(streams)))

    def _seconds(self, streams: int) -> float:
        """A guess at how long a token each takes."""
        blocks = -(-streams // BLOCK)
        return streams * self._size / _SUMS_A_SECOND + blocks * self._bytes / _BYTES_A_SECOND
