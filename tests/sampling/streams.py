"""What tests of sessions of tokens share: networks, requests, and what came of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

from bowerbird.models.cache import CacheConfig
from bowerbird.models.ngrams import count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.fused_session import FusedSession
from bowerbird.sampling.logprobs import TokenLogprobs, joined
from bowerbird.sampling.request import TokenRequest
from bowerbird.sampling.session import Session, run_all
from bowerbird.sampling.state import StreamState
from bowerbird.sampling.tokens import TokenSession

Sessions = Callable[[RNN, int], Session[TokenRequest]]
SESSIONS: dict[str, Sessions] = {"torch": TokenSession, "fused": FusedSession}
V = 61
SHAPES: dict[str, dict[str, Any]] = {
    "gru": {"cell": "gru"},
    "whole": {"layers": 2, "norm": "rms", "ngrams": 5, "cache": CacheConfig(window=40, shortest=2)},
}


@cache
def network(shape: str = "whole") -> RNN:
    torch.manual_seed(21)
    built = RNN(RNNConfig(**{"cell": "lstm", "width": 48, "embedding": 16, **SHAPES[shape]}), V)
    for parameter in built.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    if built.ngrams is not None:
        built.ngrams.add(*count(gram_keys(words(3000), built.ngrams.order, V)))
    return built.eval()


def words(length: int, seed: int = 4) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Words of few tokens, said again and again, in documents."""
    noise = np.random.default_rng(seed)
    known = [noise.integers(1, V, noise.integers(1, 7)) for _ in range(30)] + [np.zeros(1, np.int64)]
    return np.concatenate([known[at] for at in noise.integers(0, 31, length)])[:length]


def request(**options: Any) -> TokenRequest:
    told: dict[str, Any] = {"prompt": np.array([0, 5, 9]), "length": 20, "ends": frozenset(), "seed": 5}
    return TokenRequest(**{**told, **options})


@dataclass
class Got:
    """All that came of one request."""

    tokens: list[int] = field(default_factory=list)
    finished: str | None = None
    parts: list[TokenLogprobs] = field(default_factory=list)
    prompt_logprobs: TokenLogprobs | None = None
    state: StreamState | None = None

    @property
    def logprobs(self) -> TokenLogprobs:
        return joined(self.parts)


def got(session: Session[TokenRequest], jobs: list[TokenRequest]) -> list[Got]:
    """What came of each request."""
    found = [Got() for _ in jobs]
    for progress in run_all(session, jobs):
        one, chunk = found[progress.index], progress.chunk
        assert one.finished is None
        assert chunk.prompt_logprobs is None or not one.tokens
        one.tokens += chunk.content.tolist()
        one.finished = chunk.finished
        one.parts += [chunk.logprobs] if chunk.logprobs is not None else []
        one.prompt_logprobs = one.prompt_logprobs or chunk.prompt_logprobs
        one.state = chunk.state
    return found


def got_one(session: Session[TokenRequest], **options: Any) -> Got:
    return got(session, [request(**options)])[0]


def same(one: StreamState | None, other: StreamState | None) -> bool:
    """Whether two states are equal to the bit."""
    assert one is not None
    assert other is not None
    mine, theirs = one.to_arrays(), other.to_arrays()
    return mine.keys() == theirs.keys() and all(np.array_equal(mine[name], theirs[name]) for name in mine)
