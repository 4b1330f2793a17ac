"""The compiled loops: the network's own logits, the plain path's tokens, and the same bits in any company."""

from __future__ import annotations

import sys
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch

from bowerbird.models.cache import CacheConfig
from bowerbird.models.ngrams import count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.session import Session, run_all
from bowerbird.sampling.sessions import open_session
from bowerbird.sampling.tokens import TokenRequest, TokenSession

pytest.importorskip("numba")

from bowerbird.sampling.fused_session import FusedSession

V = 61
SHAPES: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "two": {"layers": 2, "norm": "rms", "residual": True},
    "two-gru": {"cell": "gru", "layers": 2, "norm": "layer", "residual": True},
    "tied": {"tied": True, "norm": "layer"},
    "deep-tied": {"layers": 2, "tied": True, "norm": "rms", "embedding": 40, "width": 40},
    "counted": {"ngrams": 5},
    "cached": {"cell": "gru", "cache": CacheConfig(window=48, shortest=2)},
    "whole": {"ngrams": 5, "cache": CacheConfig(window=70, shortest=1), "norm": "rms", "layers": 2},
    "pieces": {"ngrams": 4, "cache": CacheConfig(window=64, shortest=1), "vocab_size": 2048},
    "no-dense": {"cell": "gru", "ngrams": 3, "vocab_size": 9000, "tied": True},
}


@cache
def network(shape: str) -> RNN:
    options = {"cell": "lstm", "width": 48, "embedding": 16, **SHAPES[shape]}
    size = options.pop("vocab_size", V)
    torch.manual_seed(13)
    built = RNN(RNNConfig(**options), size)
    for name, parameter in built.named_parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1 if "gate" in name or "by_" in name else 0.4)
    if built.ngrams is not None:
        built.ngrams.add(*count(gram_keys(text(size), built.ngrams.order, size)))
    return built.eval()


def text(size: int, length: int = 3000) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Words of few tokens, said again and again, in documents."""
    noise = np.random.default_rng(4)
    words = [noise.integers(1, size, noise.integers(1, 7)) for _ in range(30)]
    words.append(np.zeros(1, np.int64))
    return np.concatenate([words[at] for at in noise.integers(0, 31, length)])[:length]


def request(**options: Any) -> TokenRequest:
    told: dict[str, Any] = {"prompt": np.array([0, 5, 9]), "length": 40, "ends": frozenset({0}), "seed": 5}
    return TokenRequest(**{**told, **options})


FILTERS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.0},
    {"temperature": 0.7, "banned": frozenset({1, 2, 3})},
    {"top_k": 5},
    {"top_k": 1, "temperature": 3.0},
    {"top_p": 0.6, "temperature": 1.3},
    {"top_k": 20, "top_p": 0.8},
    {"min_p": 0.1},
    {"top_p": 0.9, "min_p": 0.05, "repetition_penalty": 1.4},
    {"repetition_penalty": 1.3, "temperature": 0.0},
]


def made(session: Session[TokenRequest], jobs: list[TokenRequest]) -> list[tuple[list[int], str]]:
    """(tokens, how it ended) of each request."""
    tokens: dict[int, list[int]] = {index: [] for index in range(len(jobs))}
    ends: dict[int, str] = {}
    for found in run_all(session, jobs):
        tokens[found.index] += found.chunk.content.tolist()
        if found.chunk.finished:
            ends[found.index] = found.chunk.finished
    return [(tokens[index], ends[index]) for index in tokens]


@pytest.mark.parametrize("shape", SHAPES)
def test_logits_are_the_networks_own(shape: str) -> None:
    model = network(shape)
    session = FusedSession(model, 1)
    session.admit(request(length=300, ends=frozenset(), temperature=0.7))
    scores = session._rows.scores
    state, read = model.start(1), 0
    sequence, said = [0, 5, 9], None
    while read < 200:
        sequence += session.step()[0].content.tolist()
        assert said in (None, sequence[-1])
        for token in sequence[read:]:
            with torch.no_grad():
                logits, state = model.step(torch.tensor([token]), state)
            read += 1
        found = torch.from_numpy(scores[0, : model.vocab_size])
        torch.testing.assert_close(found, logits[0], atol=1e-4, rtol=1e-4)
        # What is said is a text that says things again, so that tables and cache have something to find.
        said = int(text(model.vocab_size)[read])
        scores[0, : model.vocab_size] = -50.0
        scores[0, said] = 50.0
        session._rows.made[0] = 0


@pytest.mark.parametrize("options", FILTERS, ids=lambda options: "-".join(options) or "plain")
@pytest.mark.parametrize("shape", ["whole", "cached"])
def test_tokens_are_those_of_the_plain_path(shape: str, options: dict[str, Any]) -> None:
    jobs = [request(**{"length": 25, **options, "seed": seed}) for seed in range(4)]
    assert made(FusedSession(network(shape), 4), jobs) == made(TokenSession(network(shape)), jobs)


@pytest.mark.parametrize("rows", [1, 7, 19, 64, 130])
@pytest.mark.parametrize("shape", ["whole", "cached"])
def test_company_changes_no_bit(shape: str, rows: int) -> None:
    model = network(shape)

    def scores(before: int, after: int) -> tuple[list[int], Any]:
        session = FusedSession(model, before + 1 + after)
        for seed in range(before):
            session.admit(request(seed=seed, length=3 + seed % 40, prompt=np.arange(1 + seed % 5)))
        slot = session.admit(request(seed=77, length=100, ends=frozenset()))
        for seed in range(after):
            session.admit(request(seed=seed, length=3 + seed % 30, **FILTERS[seed % len(FILTERS)]))
        tokens: list[int] = []
        while chunks := session.step():
            tokens += [int(token) for chunk in chunks if chunk.slot == slot for token in chunk.content]
        return tokens, session._rows.scores[slot].copy()

    alone, bits = scores(0, 0)
    tokens, others = scores(rows // 2, rows - rows // 2)
    assert tokens == alone
    assert np.array_equal(bits, others)


def test_threads_change_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = [request(seed=seed) for seed in range(40)]
    one = made(FusedSession(network("whole"), 40), jobs)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert made(FusedSession(network("whole"), 40), jobs) == one


def test_the_first_token_comes_alone_and_no_request_gets_more_than_its_length() -> None:
    session = FusedSession(network("lstm"), 1)
    session.admit(request(length=40, ends=frozenset()))
    sizes = []
    while chunks := session.step():
        sizes.append(len(chunks[0].content))
    assert sizes == [1, 32, 7]


def test_an_answer_is_never_empty_and_ends_and_banned_tokens_are_not_given_out() -> None:
    ends, banned = frozenset(range(30)), frozenset(range(40, 61))
    jobs = [request(ends=ends, banned=banned, seed=seed, temperature=2.0, length=500) for seed in range(40)]
    for tokens, reason in made(FusedSession(network("lstm"), 16), jobs):
        assert reason == "stop"
        assert tokens
        assert not set(tokens) & (ends | banned)


def test_a_past_longer_than_two_windows_is_the_plain_paths() -> None:
    jobs = [request(length=230, ends=frozenset(), temperature=0.6)]
    assert made(FusedSession(network("cached"), 1), jobs) == made(TokenSession(network("cached")), jobs)


def test_a_released_slot_is_used_again_clean() -> None:
    session = FusedSession(network("whole"), 1)
    session.admit(request(seed=1, banned=frozenset(range(30)), ends=frozenset({40}), length=90))
    session.step()
    session.step()
    session.release(0)
    again = made(session, [request()])
    assert again == made(FusedSession(network("whole"), 1), [request()])


@pytest.mark.parametrize("field", ["prompt", "ends", "banned"])
@pytest.mark.parametrize("token", [-1, V, 1 << 40])
def test_tokens_outside_the_vocabulary_are_refused(field: str, token: int) -> None:
    named: Any = np.array([0, token]) if field == "prompt" else frozenset({token})
    session = FusedSession(network("lstm"), 1)
    with pytest.raises(ValueError, match="outside 0 to 60"):
        session.admit(request(**{field: named}))
    assert session.admit(request()) == 0


def test_without_numba_and_for_other_cells_the_plain_path_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_session(network("lstm"), 1), FusedSession)
    assert isinstance(open_session(RNN(RNNConfig(cell="mingru", width=8), V), 1), TokenSession)
    network.cache_clear()
    monkeypatch.delitem(sys.modules, "bowerbird.sampling.fused_session")
    monkeypatch.setitem(sys.modules, "bowerbird.sampling.kernels", None)
    assert isinstance(open_session(network("lstm"), 1), TokenSession)


def test_a_network_that_learns_on_is_laid_out_again_and_else_not() -> None:
    torch.manual_seed(5)
    model = RNN(RNNConfig(width=16, embedding=8, ngrams=3), V).eval()
    assert model.ngrams is not None
    jobs = [request(ends=frozenset())]
    before = FusedSession(model, 1)
    first = made(before, jobs)
    assert FusedSession(model, 1)._layout is before._layout
    with torch.no_grad():
        model.bias.add_(torch.linspace(-3, 3, V))
    second = made(FusedSession(model, 1), jobs)
    model.ngrams.add(*count(gram_keys(text(V), model.ngrams.order, V)))
    third = made(FusedSession(model, 1), jobs)
    assert third == made(TokenSession(model), jobs)
    assert first != second != third


@pytest.mark.parametrize(("width", "streams", "most"), [(48, 1, 32), (48, 500, 32), (2048, 64, 4)])
def test_a_large_network_makes_fewer_tokens_a_call(width: int, streams: int, most: int) -> None:
    pace = FusedSession(RNN(RNNConfig(width=width, embedding=8), V), 1)._pace
    assert 1 <= pace.to_make(streams) <= most
    assert pace.to_make(1) >= pace.to_make(streams) >= pace.to_make(streams, waiting=True) >= 1
    assert pace.to_read(1) >= pace.to_read(streams) >= 1
