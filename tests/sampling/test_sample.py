"""One token from logits: what each filter keeps is what a slow reference keeps, and how often each comes."""

from __future__ import annotations

import math
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bowerbird.sampling.tokens import TokenRequest, _Stream, sample

V = 12
OPTIONS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3},
    {"temperature": 2.5},
    {"top_k": 1},
    {"top_k": 4},
    {"top_k": V},
    {"top_k": 10_000},
    {"top_p": 0.05},
    {"top_p": 0.6},
    {"top_p": 0.95},
    {"min_p": 0.2},
    {"min_p": 1.0},
    {"min_p": 0.0},
    {"repetition_penalty": 1.8},
    {"repetition_penalty": 0.5},
    {"top_k": 5, "top_p": 0.7},
    {"top_k": 6, "min_p": 0.3, "temperature": 1.5},
    {"repetition_penalty": 2.0, "temperature": 0.7, "top_k": 8, "top_p": 0.9, "min_p": 0.05},
]


def request(**options: Any) -> TokenRequest:
    return TokenRequest(prompt=np.array([0]), length=1, ends=frozenset(), seed=0, **options)


def stream(draw: float, **options: Any) -> _Stream:
    """A stream whose noise is this number."""
    return _Stream(request(**options), SimpleNamespace(random=lambda: draw))  # type: ignore[arg-type]


def reference(logits: list[float], used: list[bool], wanted: TokenRequest) -> list[float]:
    """The distribution, one rule after another in the order the request lists them; not normalised."""
    values = list(logits)
    for token, seen in enumerate(used):
        if seen:
            penalty = wanted.repetition_penalty
            values[token] = values[token] / penalty if values[token] > 0 else values[token] * penalty
    values = [value / wanted.temperature for value in values]
    top = max(values)
    weights = [math.exp(value - top) for value in values]
    shares = [weight / sum(weights) for weight in weights]
    ranked = sorted(range(len(shares)), key=lambda token: -shares[token])
    if wanted.top_k is not None:
        ranked = ranked[: wanted.top_k]
    if wanted.top_p is not None:
        whole = sum(shares[token] for token in ranked)
        kept, reached = [], 0.0
        for token in ranked:
            if reached < wanted.top_p:
                kept.append(token)
            reached += shares[token] / whole
        ranked = kept
    if wanted.min_p is not None:
        ranked = [token for token in ranked if shares[token] >= wanted.min_p * shares[ranked[0]]]
    return [share if token in ranked else 0.0 for token, share in enumerate(shares)]


def case(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    noise = np.random.default_rng(seed)
    logits = torch.from_numpy(noise.normal(0, 2.0, V)).float()
    return logits, torch.from_numpy(noise.random(V) < 0.4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_each_draw_gives_the_token_that_the_reference_gives(options: dict[str, Any], seed: int) -> None:
    logits, used = case(seed)
    expected = np.array(reference(logits.tolist(), used.tolist(), request(**options)))
    edges = np.concatenate([[0.0], expected.cumsum() / expected.sum()])
    inside = [
        (token, low + share * (high - low))
        for token, (low, high) in enumerate(pairwise(edges))
        if high - low > 1e-4  # narrower than that, float32 may round across an edge
        for share in (0.01, 0.5, 0.99)
    ]
    streams: list[_Stream | None] = [stream(draw, **options) for _, draw in inside]
    found = sample(logits.expand(len(inside), V), used.expand(len(inside), V), streams)
    assert found.tolist() == [token for token, _ in inside]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_no_draw_gives_a_token_that_the_reference_leaves_out(options: dict[str, Any]) -> None:
    logits, used = case(4)
    shares = np.array(reference(logits.tolist(), used.tolist(), request(**options)))
    shares /= shares.sum()
    draws = [0.0, *np.linspace(0, 1, 500, endpoint=False).tolist(), 1 - 2**-53]
    found = sample(logits.expand(502, V), used.expand(502, V), [stream(draw, **options) for draw in draws])
    drawn = set(found.tolist())
    assert drawn <= set(np.flatnonzero(shares).tolist())
    assert drawn >= set(np.flatnonzero(shares > 0.01).tolist())


@pytest.mark.parametrize("options", [{}, {"temperature": 0.5}, {"temperature": 1.7, "top_k": 6}], ids=str)
def test_tokens_come_as_often_as_softmax_says(options: dict[str, Any]) -> None:
    logits, used = case(5)
    shares = np.array(reference(logits.tolist(), used.tolist(), request(**options)))
    shares /= shares.sum()
    times, rows = 400, 25
    streams: list[_Stream | None] = [
        _Stream(request(**options), np.random.default_rng(seed)) for seed in range(rows)
    ]
    counts = np.zeros(V)
    for _ in range(times):
        np.add.at(counts, sample(logits.expand(rows, V), used.expand(rows, V), streams).numpy(), 1)
    total = times * rows
    deviation = np.sqrt(total * shares * (1 - shares))
    assert (np.abs(counts - total * shares) <= 4.5 * deviation).all()


def test_temperature_nought_takes_the_likeliest_whatever_the_noise() -> None:
    logits = torch.stack([case(seed)[0] for seed in range(20)])
    streams: list[_Stream | None] = [stream(draw, temperature=0.0) for draw in np.linspace(0, 0.999, 20)]
    found = sample(logits, torch.zeros(20, V, dtype=torch.bool), streams)
    assert found.tolist() == logits.numpy().argmax(1).tolist()


def test_temperature_nought_heeds_the_repetition_penalty() -> None:
    logits = torch.tensor([[3.0, 2.0, 1.0]])
    used = torch.tensor([[True, False, False]])
    assert sample(logits, used, [stream(0.5, temperature=0.0, repetition_penalty=2.0)]).tolist() == [1]
    assert sample(logits, used, [stream(0.5, temperature=0.0, repetition_penalty=1.2)]).tolist() == [0]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_row_s_token_does_not_depend_on_the_settings_of_other_rows(options: dict[str, Any]) -> None:
    logits, used = case(6)
    draws = np.linspace(0.001, 0.999, 40)
    alone = [sample(logits[None], used[None], [stream(draw, **options)]).item() for draw in draws]
    others = [stream(0.4, **other) for other in (*OPTIONS, {"temperature": 0.0})]
    rows = 1 + len(others)
    beside = [
        sample(logits.expand(rows, V), used.expand(rows, V), [stream(draw, **options), *others])[0].item()
        for draw in draws
    ]
    assert beside == alone


def test_a_token_of_no_likelihood_is_never_drawn() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]]).expand(3, 5)
    streams: list[_Stream | None] = [stream(draw) for draw in (0.0, 0.5, 1 - 2**-53)]
    assert set(sample(logits, torch.zeros(3, 5, dtype=torch.bool), streams).tolist()) == {1, 3}


def test_extreme_logits_and_temperatures_are_sampled_without_trouble() -> None:
    logits = torch.tensor([[1e4, -1e4, 9999.0, 0.0]]).expand(3, 4)
    streams: list[_Stream | None] = [stream(0.5, temperature=heat) for heat in (1e-9, 0.01, 10.0)]
    assert sample(logits, torch.zeros(3, 4, dtype=torch.bool), streams).tolist() == [0, 0, 0]
