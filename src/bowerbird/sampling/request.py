"""What is asked of a session of tokens, and what a network cannot be asked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bowerbird.models.rnn import RNN
from bowerbird.sampling.logprobs import MOST_ALTERNATIVES
from bowerbird.sampling.session import Guide
from bowerbird.sampling.state import StreamState, check_state


@dataclass(frozen=True)
class TokenRequest:
    """What to sample. None switches a filter off; what changes the odds applies in the order written here."""

    prompt: NDArray[np.int64]
    """(tokens,), at least one; with a `start` it may be empty."""
    length: int
    """The most tokens to make; 0 makes none, and only reads."""
    ends: frozenset[int]
    """Tokens that end the request; they are not given out, nor read."""
    seed: int
    bias: Mapping[int, float] = field(default_factory=dict)
    """Added to the logits of these tokens."""
    frequency_penalty: float = 0.0
    """Taken from a token's logit for each time that it was made; the prompt does not count (as OpenAI has it)."""
    presence_penalty: float = 0.0
    """Taken from a token's logit once it was made."""
    banned: frozenset[int] = frozenset()
    """Tokens that are never made."""
    repetition_penalty: float = 1.0
    """Divides the odds of tokens already used, prompt included (Keskar et al. 2019, arXiv:1909.05858, 4.1).

    What was read before a `start` does not count.
    """
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_k: int | None = None
    top_p: float | None = None
    """Nucleus sampling (Holtzman et al. 2020, arXiv:1904.09751)."""
    min_p: float | None = None
    """Drops tokens less likely than this share of the likeliest (Nguyen et al. 2024, arXiv:2407.01082)."""
    guide: Guide | None = None
    """Allows tokens step by step, after its own prompt; then an end may come whenever the guide allows it."""
    logprobs: int | None = None
    """Tell each token's log-probability, and so many likeliest alternatives (0 to 20)."""
    prompt_logprobs: bool = False
    """Tell those of the prompt's tokens too, with as many alternatives as `logprobs` says."""
    start: StreamState | None = None
    """Go on from here; the prompt is read after it."""
    keep_state: bool = False
    """Tell the state at the end, the last token made read into it."""

    @property
    def alternatives(self) -> int:
        return self.logprobs or 0


def check_request(request: TokenRequest, network: RNN) -> None:
    """Whether a network can be asked this.

    Raises:
        ValueError: a token is not in the vocabulary, there is nothing to begin with, a number is none, or the
            state to begin with is another network's.
    """
    prompt, size = request.prompt, network.vocab_size
    named = [*request.ends, *request.banned, *request.bias]
    if len(prompt):
        named += [int(prompt.min()), int(prompt.max())]
    empty = not len(prompt) and request.start is None
    if empty or min(named, default=0) < 0 or max(named, default=0) >= size:
        raise ValueError(f"a request names tokens outside 0 to {size - 1}, or has no prompt")
    if not 0 <= request.alternatives <= MOST_ALTERNATIVES or request.length < 0:
        raise ValueError(f"a request has up to {MOST_ALTERNATIVES} alternatives, and no length below 0")
    numbers = (*request.bias.values(), request.frequency_penalty, request.presence_penalty)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("bias and penalties are finite numbers")
    if request.start is not None:
        _check_start(request.start, network)


def _check_start(start: StreamState, network: RNN) -> None:
    tokens, place = [], len(network.cells)
    if network.ngrams is not None:
        tokens.append((place, network.vocab_size - 1))
        place += 1
    if network.cache is not None:
        tokens.append((place, network.vocab_size))  # one more each, 0 where none was read
    check_state(start, [part.shape[1] for part in network.start(1)], tokens, network.vocab_size)
