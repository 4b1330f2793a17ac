"""Log-probabilities of tokens, as the network itself gives them: temperature 1, before bias, penalties and filters.

T tokens, V vocabulary, K likeliest alternatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_ALTERNATIVES = 20


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """One row a token; natural logarithms.

    A token that nothing was read before has no probability: its row is NaN, its alternatives are -1.
    """

    chosen: NDArray[np.float32]
    """(T,) of the tokens themselves."""
    top_tokens: NDArray[np.int64]
    """(T, K) the likeliest first, of equals the lower token."""
    top: NDArray[np.float32]
    """(T, K) theirs."""

    def __len__(self) -> int:
        return len(self.chosen)


def token_logprobs(
    logits_TV: NDArray[np.float32], tokens_T: NDArray[np.int64], alternatives: int
) -> TokenLogprobs:
    """Of each token by the logits it was, or could have been, drawn from. K is V where that is less."""
    shifted_TV = logits_TV - logits_TV.max(1, keepdims=True)
    whole_T1 = np.log(np.exp(shifted_TV).sum(1, keepdims=True, dtype=np.float64))
    chosen = np.take_along_axis(shifted_TV, tokens_T[:, None], 1) - whole_T1
    top_tokens = _likeliest(shifted_TV, min(alternatives, logits_TV.shape[1]))
    top = np.take_along_axis(shifted_TV, top_tokens, 1) - whole_T1
    return TokenLogprobs(chosen[:, 0].astype(np.float32), top_tokens, top.astype(np.float32))


def unknown(alternatives: int) -> TokenLogprobs:
    """The row of a token that nothing was read before."""
    nothing = np.full((1, alternatives), np.nan, np.float32)
    return TokenLogprobs(np.full(1, np.nan, np.float32), np.full((1, alternatives), -1, np.int64), nothing)


def joined(parts: Sequence[TokenLogprobs]) -> TokenLogprobs:
    """One after the other; at least one."""
    return TokenLogprobs(
        np.concatenate([part.chosen for part in parts]),
        np.concatenate([part.top_tokens for part in parts]),
        np.concatenate([part.top for part in parts]),
    )


def _likeliest(values_TV: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """(T, count) places of the highest values, the highest first."""
    if not count:
        return np.zeros((len(values_TV), 0), np.int64)
    last_T1 = np.partition(values_TV, -count, axis=1)[:, -count:][:, :1]
    found = np.empty((len(values_TV), count), np.int64)
    for row, (values, last) in enumerate(zip(values_TV, last_T1, strict=True)):
        places = np.flatnonzero(~(values < last))  # with its equals, and whatever is no number
        found[row] = places[np.argsort(-values[places], kind="stable")][:count]
    return found
