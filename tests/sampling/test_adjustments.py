"""Bias, and penalties by what was made: what OpenAI's formula says, step by step, and the same on both paths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("numba")

from tests.sampling.streams import SESSIONS, V, got, got_one, network, request

OPTIONS: list[dict[str, Any]] = [
    {"frequency_penalty": 0.7},
    {"presence_penalty": 1.5},
    {"frequency_penalty": -0.4, "presence_penalty": 2.0},
    {"bias": {4: 3.0, 9: -100.0, 30: 1.5}},
    {"bias": {4: 3.0}, "frequency_penalty": 1.0, "presence_penalty": 0.25},
]


def reference(told: dict[str, Any], length: int) -> list[int]:
    """The likeliest token each time, from the network's own logits less what is taken from them."""
    model, sequence, made = network(), [0, 5, 9], list[int]()
    counts = np.zeros(V)
    for _ in range(length):
        with torch.no_grad():
            logits = model(torch.tensor([sequence]), model.start(1))[0][0, -1].double().numpy()
        for token, value in told.get("bias", {}).items():
            logits[token] += value
        logits -= told.get("frequency_penalty", 0) * counts + told.get("presence_penalty", 0) * (counts > 0)
        made.append(int(logits.argmax()))
        sequence.append(made[-1])
        counts[made[-1]] += 1
    return made


@pytest.mark.parametrize("told", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", SESSIONS)
def test_the_likeliest_tokens_are_those_of_the_formula(kind: str, told: dict[str, Any]) -> None:
    found = got_one(SESSIONS[kind](network(), 1), temperature=0.0, length=25, **told)
    assert found.tokens == reference(told, 25)


@pytest.mark.parametrize("kind", SESSIONS)
def test_a_bias_can_force_a_token_or_forbid_it(kind: str) -> None:
    session = SESSIONS[kind](network(), 1)
    assert got_one(session, bias={17: 100.0}, length=9).tokens == [17] * 9
    forbidden = dict.fromkeys(range(50), -100.0)
    found = got_one(session, bias=forbidden, length=60, temperature=1.5)
    assert min(found.tokens) >= 50


@pytest.mark.parametrize("kind", SESSIONS)
def test_what_a_penalty_counts_is_what_this_request_made(kind: str) -> None:
    session = SESSIONS[kind](network(), 1)
    prompt = np.array([0] + [11] * 20)
    heavy = {"prompt": prompt, "frequency_penalty": 2.0, "bias": {11: 5.0}, "temperature": 0.0, "length": 1}
    light = {"prompt": prompt, "bias": {11: 5.0}, "temperature": 0.0, "length": 1}
    assert got_one(session, **heavy).tokens == got_one(session, **light).tokens


@pytest.mark.parametrize("kind", SESSIONS)
def test_requests_with_and_without_leave_each_other_alone(kind: str) -> None:
    jobs = [
        request(seed=seed, length=10 + seed, ends=frozenset({3}), **(OPTIONS[seed % 5] if seed % 2 else {}))
        for seed in range(10)
    ]
    alone = [got(SESSIONS[kind](network(), 1), [job])[0] for job in jobs]
    together = got(SESSIONS[kind](network(), 10), jobs)
    assert [(one.tokens, one.finished) for one in together] == [(one.tokens, one.finished) for one in alone]


@pytest.mark.parametrize("told", OPTIONS, ids=str)
def test_both_paths_draw_the_same(told: dict[str, Any]) -> None:
    more = {"temperature": 0.8, "top_p": 0.9, "repetition_penalty": 1.2, "banned": frozenset({1, 2})}
    jobs = [request(seed=seed, **more, **told) for seed in range(6)]
    one, other = ([found.tokens for found in got(open_(network(), 6), jobs)] for open_ in SESSIONS.values())
    assert one == other


@pytest.mark.parametrize("kind", SESSIONS)
def test_penalties_of_nothing_change_nothing(kind: str) -> None:
    session = SESSIONS[kind](network(), 1)
    nothing = {"bias": {3: 0.0}, "frequency_penalty": 0.0, "presence_penalty": 0.0}
    assert got_one(session, **nothing).tokens == got_one(session).tokens
