"""What a request adds to a network's logits before any filter: bias, and penalties for tokens it has made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bowerbird.sampling.request import TokenRequest


class Adjustments:
    """Of one request, brought up to date token by token."""

    def __init__(self, request: TokenRequest, vocab_size: int):
        self._request = request
        self._made: dict[int, int] = {}
        self._added = np.zeros(vocab_size, np.float32)
        for token, value in request.bias.items():
            self._added[token] = value

    def applied(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(V,) new logits."""
        return logits + self._added

    def note(self, token: int) -> None:
        """Told of each token that was made."""
        request = self._request
        times = self._made[token] = self._made.get(token, 0) + 1
        penalty = request.frequency_penalty * times + request.presence_penalty
        self._added[token] = request.bias.get(token, 0.0) - penalty


def adjustments(request: TokenRequest, vocab_size: int) -> Adjustments | None:
    """None where the request leaves the logits as they are."""
    if not (any(request.bias.values()) or request.frequency_penalty or request.presence_penalty):
        return None
    return Adjustments(request, vocab_size)
