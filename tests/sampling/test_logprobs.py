"""Log-probabilities: the network's own, for what was made and for the prompt, and asking for them changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

pytest.importorskip("numba")

from tests.sampling.streams import SESSIONS, Got, V, got, got_one, network, request, words

from bowerbird.sampling import prompts
from bowerbird.sampling.logprobs import TokenLogprobs, joined, token_logprobs


def own(sequence: NDArray[np.int64]) -> NDArray[np.float32]:
    """(T, V) of the token after each."""
    with torch.no_grad():
        logits, _ = network()(torch.from_numpy(sequence)[None], network().start(1))
    return logits[0].float().log_softmax(-1).numpy()


def assert_own(found: TokenLogprobs, tokens: NDArray[np.int64], logprobs_TV: NDArray[np.float32]) -> None:
    """Whether these rows say of each token, and of its likeliest rivals, what (T, V) says."""
    assert len(found) == len(tokens) == len(logprobs_TV)
    told = logprobs_TV[np.arange(len(tokens)), tokens]
    np.testing.assert_allclose(found.chosen, told, atol=2e-4, rtol=1e-4)
    count = found.top.shape[1]
    likeliest = np.sort(logprobs_TV, axis=1)[:, ::-1][:, :count]
    np.testing.assert_allclose(found.top, likeliest, atol=2e-4, rtol=1e-4)
    at_its_place = np.take_along_axis(logprobs_TV, found.top_tokens, 1)
    np.testing.assert_allclose(found.top, at_its_place, atol=2e-4, rtol=1e-4)


def test_they_are_the_logarithms_of_a_softmax() -> None:
    noise = np.random.default_rng(2)
    logits = noise.normal(0, 4, (50, V)).astype(np.float32)
    tokens = noise.integers(0, V, 50)
    whole = torch.from_numpy(logits).log_softmax(-1).numpy()
    for count in (0, 1, 5, V, V + 9):
        found = token_logprobs(logits, tokens, count)
        assert found.top.shape == found.top_tokens.shape == (50, min(count, V))
        assert_own(found, tokens, whole)


def test_of_equals_the_lower_token_comes_first_and_large_numbers_are_no_trouble() -> None:
    logits = np.array([[0, 9e4, 5, 9e4, 9e4, -9e4]], np.float32)
    found = token_logprobs(logits, np.array([4]), 4)
    assert found.top_tokens.tolist() == [[1, 3, 4, 2]]
    assert found.chosen == pytest.approx(-np.log(3))
    assert found.top[0, :3] == pytest.approx(-np.log(3))


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"temperature": 0.0},
        {"temperature": 2.0, "top_p": 0.9, "banned": frozenset({1, 2})},
        {"bias": {5: 4.0}, "frequency_penalty": 0.5, "repetition_penalty": 1.4, "top_k": 9},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", SESSIONS)
def test_what_is_told_of_each_token_is_the_network_s_own_whatever_it_was_drawn_by(
    kind: str, told: dict[str, Any]
) -> None:
    found = got_one(SESSIONS[kind](network(), 1), logprobs=5, length=30, **told)
    sequence = np.array([0, 5, 9, *found.tokens])
    assert_own(found.logprobs, sequence[3:], own(sequence)[2:-1])


@pytest.mark.parametrize("kind", SESSIONS)
def test_to_ask_for_them_changes_no_token(kind: str) -> None:
    jobs = [request(seed=seed, ends=frozenset({4, 8}), length=40, temperature=1.2) for seed in range(8)]
    asking = [
        request(seed=seed, ends=frozenset({4, 8}), length=40, temperature=1.2, **told)
        for seed, told in enumerate([{}, {"logprobs": 0}, {"logprobs": 3, "prompt_logprobs": True}, {}] * 2)
    ]
    plain, asked = (got(SESSIONS[kind](network(), 8), some) for some in (jobs, asking))
    assert [one.tokens for one in asked] == [one.tokens for one in plain]
    for one, job in zip(asked, asking, strict=True):
        assert sum(map(len, one.parts)) == (0 if job.logprobs is None else len(one.tokens))
        assert (one.prompt_logprobs is not None) == job.prompt_logprobs


@pytest.mark.parametrize("kind", SESSIONS)
@pytest.mark.parametrize("length", [0, 3])
def test_a_prompt_s_are_told_with_its_first_chunk_even_where_nothing_is_made(
    kind: str, length: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = words(50)
    whole = own(prompt)
    for piece in (2048, 16, 7, 1):
        monkeypatch.setattr(prompts, "PIECE", piece)
        found = got_one(
            SESSIONS[kind](network(), 1), prompt=prompt, length=length, logprobs=4, prompt_logprobs=True
        )
        assert len(found.tokens) == length
        told = found.prompt_logprobs
        assert told is not None
        assert len(told) == 50
        assert np.isnan(told.chosen[0])
        assert np.isnan(told.top[0]).all()
        assert told.top_tokens[0].tolist() == [-1] * 4
        rest = TokenLogprobs(told.chosen[1:], told.top_tokens[1:], told.top[1:])
        assert_own(rest, prompt[1:], whole[:-1])


@pytest.mark.parametrize("kind", SESSIONS)
def test_after_a_state_the_first_token_of_a_prompt_has_one_too(kind: str) -> None:
    text = words(40)
    state = got_one(SESSIONS[kind](network(), 1), prompt=text[:25], length=0, keep_state=True).state
    found: Got = got_one(
        SESSIONS[kind](network(), 1),
        prompt=text[25:],
        start=state,
        logprobs=2,
        prompt_logprobs=True,
        length=4,
    )
    assert found.prompt_logprobs is not None
    assert_own(found.prompt_logprobs, text[25:], own(text)[24:-1])
    sequence = np.array([*text, *found.tokens])
    assert_own(found.logprobs, sequence[40:], own(sequence)[39:-1])


def test_parts_are_joined_row_by_row() -> None:
    logits = np.random.default_rng(0).normal(0, 1, (6, V)).astype(np.float32)
    tokens = np.arange(6)
    parts = [token_logprobs(logits[at : at + 2], tokens[at : at + 2], 3) for at in (0, 2, 4)]
    whole = token_logprobs(logits, tokens, 3)
    assert np.array_equal(joined(parts).chosen, whole.chosen)
    assert np.array_equal(joined(parts).top_tokens, whole.top_tokens)
