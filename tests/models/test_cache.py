"""The cache of a stream's own past: written out by hand, and the same in steps, in parts and in company."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from bowerbird.models.cache import HEAVIEST, LONGEST, Cache, CacheConfig
from bowerbird.models.rnn import RNN, RNNConfig

V = 6


def cache(window: int = 30, shortest: int = 2) -> Cache:
    torch.manual_seed(2)
    made = Cache(CacheConfig(window=window, shortest=shortest), V, 4)
    torch.nn.init.normal_(made.gate)
    return made


def by_hand(made: Cache, logits: list[float], gate: float, stream: list[int]) -> list[float]:
    """Log-probabilities after the last token of a stream, from the definition."""
    top = math.log(sum(math.exp(value) for value in logits))
    weights = [math.exp(value - top) for value in logits]
    gained = [0.0] * len(weights)
    start = len(stream) - 1 - stream[::-1].index(0) if 0 in stream else 0
    newest = len(stream) - 1
    for place in range(max(start, newest - made.config.window), newest):
        length = 0
        while (
            length < LONGEST and place - length >= start and stream[place - length] == stream[newest - length]
        ):
            length += 1
        if length >= made.config.shortest:
            weight = float(made.by_length[length - made.config.shortest])
            gained[stream[place + 1]] += math.exp(weight + gate)
    weights = [weight + min(gain, HEAVIEST) for weight, gain in zip(weights, gained, strict=True)]
    return [math.log(weight / sum(weights)) for weight in weights]


def given(rows: int, times: int, documents: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(5)
    tokens = torch.randint(1, 4, (rows, times))
    if documents:
        tokens[:, 0] = 0
        tokens[:, times // 2] = 0
    return torch.randn(rows, times, V), torch.randn(rows, times, 4), tokens


@torch.no_grad()
@pytest.mark.parametrize(("window", "shortest"), [(30, 2), (7, 1), (30, 3), (100, LONGEST)])
@pytest.mark.parametrize("documents", [True, False], ids=["documents", "one-stream"])
def test_the_past_is_weighed_in_as_the_definition_says(window: int, shortest: int, documents: bool) -> None:
    made = cache(window, shortest)
    logits, x, tokens = given(2, 40, documents)
    found, _ = made(logits, x, tokens, made.start(2))
    for row in range(2):
        for time in range(40):
            gate = float((x[row, time] * made.gate).sum())
            stream = tokens[row, : time + 1].tolist()
            expected = by_hand(made, logits[row, time].tolist(), gate, stream)
            assert found[row, time].log_softmax(-1).tolist() == pytest.approx(expected, abs=1e-4)


@torch.no_grad()
def test_what_was_said_over_and_over_is_not_certain_to_come_again() -> None:
    made = cache(window=200)
    made.by_length.zero_()
    made.gate.zero_()
    tokens = torch.tensor([[0, *[1, 2, 3] * 40, 1, 2]])
    found, _ = made(torch.zeros(1, 123, V), torch.zeros(1, 123, 4), tokens, made.start(1))
    assert found[0, -1].softmax(-1)[3] == pytest.approx((1 / V + HEAVIEST) / (1 + HEAVIEST), abs=1e-4)


@torch.no_grad()
def test_reading_in_parts_is_reading_at_once() -> None:
    made = cache()
    logits, x, tokens = given(3, 40)
    whole, end = made(logits, x, tokens, made.start(3))
    past, parts = made.start(3), []
    for low, high in [(0, 1), (1, 2), (2, 25), (25, 40)]:
        part, past = made(logits[:, low:high], x[:, low:high], tokens[:, low:high], past)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts, 1), whole)
    assert torch.equal(past, end)


@torch.no_grad()
def test_a_row_does_not_see_another_nor_the_future() -> None:
    made = cache()
    logits, x, tokens = given(2, 30)
    before, _ = made(logits, x, tokens, made.start(2))
    changed = tokens.clone()
    changed[1] = 5
    changed[0, 20:] = 4
    after, _ = made(logits, x, changed, made.start(2))
    assert torch.equal(before[0, :20], after[0, :20])
    assert not torch.equal(before[1], after[1])


def test_gradients_agree_with_finite_differences() -> None:
    made = cache().double()
    logits, x, tokens = given(1, 14)

    def run(logits: Tensor, x: Tensor, by_length: Tensor, gate: Tensor) -> Tensor:
        leaves = {"by_length": by_length, "gate": gate}
        found: Tensor = torch.func.functional_call(made, leaves, (logits, x, tokens, made.start(1)))[0]
        return found.log_softmax(-1)

    leaves = [logits.double(), x.double(), made.by_length.detach(), made.gate.detach()]
    # gates are float32 inside, so differences are taken in wide steps
    assert torch.autograd.gradcheck(
        run, [leaf.clone().requires_grad_() for leaf in leaves], eps=1e-3, atol=1e-3
    )


@torch.no_grad()
def test_improbable_tokens_overflow_nothing() -> None:
    made = cache()
    logits, x, tokens = given(1, 30)
    found, _ = made(logits * 500, x, tokens, made.start(1))
    assert found.isfinite().all()
    assert found.log_softmax(-1).isfinite().any(-1).all()


@torch.no_grad()
def test_a_network_with_a_cache_steps_as_it_reads() -> None:
    torch.manual_seed(3)
    network = RNN(
        RNNConfig(width=8, embedding=4, cache=CacheConfig(window=20, shortest=2), ngrams=3), V
    ).eval()
    tokens = given(2, 30)[2]
    whole, end = network(tokens, network.start(2))
    state, steps = network.start(2), []
    for time in range(30):
        logits, state = network.step(tokens[:, time], state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    for mine, theirs in zip(state, end, strict=True):
        torch.testing.assert_close(mine, theirs)
