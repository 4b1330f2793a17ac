"""Reads the tokens of a text request as they come: decodes, shows speakers, and stops at stop strings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.codecs import Decoder
from bowerbird.data.markers import shown
from bowerbird.sampling.session import FinishReason


class TextReader:
    """Holds back an ending that may yet become a stop string, so that none is ever given out.

    Where a stop string is found, the tokens are read one by one: the text ends at the same one however many
    come at once.
    """

    unread = 0
    """Tokens of the last push that came after the end."""
    content = ""

    def __init__(self, decoder: Decoder, stop: Sequence[str] = ()):
        self._decoder = decoder
        self._stop = [text for text in stop if text]
        self._held = ""
        self._begun = False

    def push(
        self, content: NDArray[np.int64], finished: FinishReason | None
    ) -> tuple[str, FinishReason | None]:
        parts = [self._decoder.push(token) for token in content.tolist()]
        new = "".join(parts)
        if self._first_stop(self._held + shown(new, begun=self._begun)) is None:
            return self._read(new, finished)
        given = ""
        for place, part in enumerate(parts, 1):
            text, reason = self._read(part, None)
            given += text
            if reason:
                self.unread = len(parts) - place
                return given, reason
        text, reason = self._read("", finished)
        return given + text, reason

    def _read(self, new: str, finished: FinishReason | None) -> tuple[str, FinishReason | None]:
        """What can be given out once this is decoded too."""
        if finished:
            new += self._decoder.flush()
        visible = shown(new, begun=self._begun)
        self._begun = self._begun or bool(visible)
        text = self._held + visible
        cut = self._first_stop(text)
        if cut is not None:
            self._held = ""
            return text[:cut], "stop"
        keep = 0 if finished else self._possible_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep], finished

    def _first_stop(self, text: str) -> int | None:
        """Where the first stop string in a text begins."""
        return min([place for place in map(text.find, self._stop) if place >= 0], default=None)

    def _possible_stop(self, text: str) -> int:
        """How many characters at the end of `text` may be the beginning of a stop string."""
        longest = 0
        for stop in self._stop:
            for length in range(min(len(stop) - 1, len(text)), longest, -1):
                if text.endswith(stop[:length]):
                    longest = length
                    break
        return longest
