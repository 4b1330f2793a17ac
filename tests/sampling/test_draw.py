"""The compiled draw against the plain one: for the same logits and the same noise, the same token."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.sampling.test_sample import OPTIONS, stream

from bowerbird.sampling.tokens import sample

pytest.importorskip("numba")

from bowerbird.sampling.draw import BANNED, END, USED, draw


def drawn(logits: Any, flags: Any, noise: float, **options: Any) -> int:
    size = len(flags)
    settings = [
        options.get("repetition_penalty", 1.0),
        options.get("temperature", 1.0),
        min(options.get("top_k", size), size),
        options.get("top_p", 2.0),
        options.get("min_p", 0.0),
    ]
    work = np.zeros(size, np.float32), np.zeros(size, np.int32)
    return int(draw(logits, size, flags, BANNED, np.array(settings), noise, *work))


@pytest.mark.parametrize("options", [*OPTIONS, {"temperature": 0.0}, {"top_p": 0.999}], ids=str)
@pytest.mark.parametrize(("size", "spread"), [(12, 2.0), (300, 2.0), (300, 0.1), (300, 8.0)])
def test_each_draw_gives_the_token_that_the_plain_sampler_gives(
    options: dict[str, Any], size: int, spread: float
) -> None:
    noise = np.random.default_rng(size)
    rows = 60
    logits = noise.normal(0, spread, (rows, size)).astype(np.float32)
    used, banned = noise.random((2, rows, size)) < 0.2
    flags = (USED * used + BANNED * banned + END * (noise.random(size) < 0.1)).astype(np.uint8)
    draws = noise.random(rows)
    allowed = torch.from_numpy(logits).masked_fill(torch.from_numpy(banned), -torch.inf)
    expected = sample(
        allowed, torch.from_numpy(used), [stream(number, **options) for number in draws.tolist()]
    )
    found = [drawn(logits[row], flags[row], float(draws[row]), **options) for row in range(rows)]
    assert found == expected.tolist()


@pytest.mark.parametrize("options", [{"top_k": 3}, {"top_p": 0.3}, {"top_k": 5, "top_p": 0.6}], ids=str)
def test_of_equally_likely_tokens_the_first_are_kept(options: dict[str, Any]) -> None:
    logits, flags = np.zeros(8, np.float32), np.zeros(8, np.uint8)
    found = {drawn(logits, flags, noise, **options) for noise in np.linspace(0, 0.999, 50)}
    assert found == {0, 1, 2}


@pytest.mark.parametrize("options", [{}, {"top_k": 4}, {"top_p": 0.99}, {"top_p": 1.0}], ids=str)
def test_a_token_of_no_likelihood_is_never_drawn(options: dict[str, Any]) -> None:
    logits = np.array([-np.inf, 0, -200, 0, -np.inf], np.float32)
    flags = np.zeros(5, np.uint8)
    assert {drawn(logits, flags, noise, **options) for noise in (0.0, 0.5, 1 - 2**-53)} == {1, 3}


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "options",
    [{}, {"top_k": 3}, {"top_p": 0.5, "min_p": 0.1, "repetition_penalty": 2.0}, {"temperature": 0.0}],
    ids=str,
)
def test_logits_that_are_no_numbers_give_some_token(broken: float, options: dict[str, Any]) -> None:
    logits = np.full(9, broken, np.float32)
    assert 0 <= drawn(logits, np.zeros(9, np.uint8), 0.7, **options) < 9
