"""Counted n-grams: tables agree with counting by hand, add up, and leave out what they are told to."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from bowerbird.models.ngrams import (
    NGrams,
    Tables,
    count,
    gram_keys,
    highest_order,
    recent_tokens,
    together,
    without,
)
from bowerbird.models.rnn import RNN, RNNConfig

V = 7


def text(seed: int = 1, size: int = 600) -> NDArray[np.int64]:
    """Documents that repeat themselves, each begun by token 0."""
    noise = np.random.default_rng(seed)
    phrase = noise.integers(1, V, 40)
    tokens = np.where(noise.random(size) < 0.8, np.resize(phrase, size), noise.integers(1, V, size))
    tokens[:: size // 4] = 0
    return np.asarray(tokens, np.int64)


def contexts(tokens: list[int], order: int) -> list[tuple[int, ...]]:
    """For each place the tokens before it, oldest first; a document's begin is repeated to the left."""
    found = []
    for place in range(len(tokens)):
        before = tokens[max(0, place - order + 1) : place]
        if 0 in before:
            before = before[len(before) - 1 - before[::-1].index(0) :]
        found.append((0,) * (order - 1 - len(before)) + tuple(before))
    return found


def by_hand(
    tokens: list[int], order: int, context: tuple[int, ...], d: dict[int, list[float]]
) -> list[float]:
    """Interpolated modified Kneser-Ney written as the paper's equations, with dictionaries."""
    top = Counter((*c, token) for c, token in zip(contexts(tokens, order), tokens, strict=True))
    counts = {order: top}
    for size in range(order - 1, 0, -1):
        counts[size] = Counter(gram[1:] for gram in counts[size + 1])
    found = [1 / V] * V
    for size in range(1, order + 1):
        before = context[len(context) - size + 1 :] if size > 1 else ()
        after = {gram[-1]: n for gram, n in counts[size].items() if gram[:-1] == before}
        total = sum(after.values())
        if not total:
            continue
        left = sum(d[size][min(n, 3)] for n in after.values()) / total
        found = [
            (after.get(token, 0) - (d[size][min(after[token], 3)] if token in after else 0)) / total
            + left * found[token]
            for token in range(V)
        ]
    return found


def discounts(tokens: list[int], order: int) -> dict[int, list[float]]:
    grams: Counter[tuple[int, ...]] = Counter(
        (*c, token) for c, token in zip(contexts(tokens, order), tokens, strict=True)
    )
    found = {}
    for size in range(order, 0, -1):
        n = [sum(times == wanted for times in grams.values()) for wanted in (1, 2, 3, 4)]
        if all(n):
            rate = n[0] / (n[0] + 2 * n[1])
            raw = [1 - 2 * rate * n[1] / n[0], 2 - 3 * rate * n[2] / n[1], 3 - 4 * rate * n[3] / n[2]]
            found[size] = [0.0, *(min(max(value, 0.1), k - 0.1) for k, value in enumerate(raw, 1))]
        else:
            found[size] = [0.0, 0.5, 0.75, 1.0]
        grams = Counter(gram[1:] for gram in grams)
    return found


def counted(tokens: NDArray[np.int64], order: int) -> NGrams:
    made = NGrams(order, V, 5)
    made.add(*count(gram_keys(tokens, order, V)))
    return made


@pytest.mark.parametrize("dense", [True, False], ids=["dense-bigrams", "sparse-bigrams"])
def test_tables_agree_with_kneser_ney_by_hand(dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not dense:
        monkeypatch.setattr("bowerbird.models.ngrams._MOST_DENSE", 0)
    order, tokens = 4, text()
    tables = counted(tokens, order).tables()
    assert tables.dense == (2 if dense else 1)
    rates = discounts(tokens.tolist(), order)
    seen = contexts(tokens.tolist(), order)[5:30]
    strange = [(6, 6, 6), (0, 0, 0), (0, 0, 6), (1, 0, 2), (1, 2, 0)]
    recent = torch.tensor([context[::-1] for context in [*seen, *strange]], dtype=torch.float32)
    *_, (last, _) = tables.log_probabilities(recent)
    for row, context in zip(last.exp().tolist(), [*seen, *strange], strict=True):
        start = max((at for at, token in enumerate(context) if token == 0), default=0)
        context = (0,) * start + context[start:]  # noqa: PLW2901
        assert row == pytest.approx(by_hand(tokens.tolist(), order, context, rates), rel=1e-4, abs=1e-6)


def test_every_order_is_a_distribution_and_says_whether_it_knows_the_context() -> None:
    tables = counted(text(), 5).tables()
    recent = torch.tensor([[3.0, 2, 1, 4], [0, 0, 0, 0], [6, 6, 6, 6]])
    known = []
    for log, found in tables.log_probabilities(recent):
        torch.testing.assert_close(log.exp().sum(1), torch.ones(3))
        known.append(found)
    matches = torch.stack(known).long()
    assert (matches[1:] <= matches[:-1]).all(), "who knows a context knows its end"


def test_tables_side_by_side_are_those_alone() -> None:
    whole = counted(text(), 4)
    parts = [count(gram_keys(text(), 4, V)[low : low + 150]) for low in range(0, 600, 150)]
    beside = whole.tables(parts)
    recent = torch.from_numpy(np.random.default_rng(2).integers(0, V, (40, 3)))
    for number, part in enumerate(parts):
        alone = whole.tables([part])
        asked = torch.full((40,), number)
        for (mine, _), (theirs, _) in zip(
            beside.log_probabilities(recent, asked), alone.log_probabilities(recent), strict=True
        ):
            assert torch.equal(mine, theirs)


def test_what_is_left_out_is_as_if_it_had_never_been_counted() -> None:
    keys = gram_keys(text(), 4, V)
    part, rest = count(keys[200:350]), count(np.concatenate([keys[:200], keys[350:]]))
    left = without(*count(keys), part)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(left, rest, strict=True))
    both = together(part, rest)
    assert all(np.array_equal(mine, theirs) for mine, theirs in zip(both, count(keys), strict=True))


def test_nothing_counted_is_uniform() -> None:
    for log, _ in NGrams(3, V, 5).tables().log_probabilities(torch.zeros(2, 2)):
        torch.testing.assert_close(log.exp(), torch.full((2, V), 1 / V))


def test_recent_tokens_are_the_newest_first_and_go_on_from_the_state() -> None:
    windows, last = recent_tokens(torch.tensor([[5, 6]]), torch.tensor([[3.0, 2.0, 1.0]]))
    assert windows.tolist() == [[[5, 3, 2], [6, 5, 3]]]
    assert last.tolist() == [[6, 5, 3]]


@pytest.mark.parametrize("vocab_size", [2, 65, 256, 2048, 50_000])
def test_the_longest_keys_fit_into_64_bits(vocab_size: int) -> None:
    order = highest_order(vocab_size)
    assert (order + 1) * vocab_size**order < 2**63
    assert order >= 2


@pytest.fixture
def network() -> RNN:
    torch.manual_seed(3)
    made = RNN(RNNConfig(width=12, embedding=6, ngrams=4), V)
    assert made.ngrams is not None
    made.ngrams.add(*count(gram_keys(text(), 4, V)))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made.eval()


@torch.no_grad()
def test_stepping_a_network_with_ngrams_equals_reading_at_once(network: RNN) -> None:
    tokens = torch.from_numpy(text(4, 48).reshape(2, 24))
    whole, end = network(tokens, network.start(2))
    state, steps = network.start(2), []
    for place in range(24):
        logits, state = network.step(tokens[:, place], state)
        steps.append(logits)
    torch.testing.assert_close(torch.stack(steps, 1), whole)
    for mine, theirs in zip(state, end, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_an_untrained_network_says_what_its_table_says() -> None:
    made = RNN(RNNConfig(width=12, embedding=6, ngrams=4), V).eval()
    assert made.ngrams is not None
    made.ngrams.add(*count(gram_keys(text(), 4, V)))
    tokens = torch.from_numpy(text()[None, :50])
    logits, _ = made(tokens, made.start(1))
    recent, _ = recent_tokens(tokens, made.ngrams.start(1))
    *_, (expected, _) = made.ngrams.tables().log_probabilities(recent[0])
    torch.testing.assert_close(logits[0].log_softmax(-1), expected, rtol=1e-4, atol=1e-5)


def test_a_saved_copy_is_equal_whatever_the_size_of_its_table(network: RNN, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other = RNN(network.config, V).eval()
    other.load_state_dict(load_file(tmp_path / "network.safetensors"), strict=True)
    tokens = torch.from_numpy(text(5)[None, :40])
    assert torch.equal(other(tokens, other.start(1))[0], network(tokens, network.start(1))[0])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state["ngrams.grams"].mul_(-1),
        lambda state: state["ngrams.grams"].fill_(3),
        lambda state: state["ngrams.grams"][-1:].fill_(V**4),
        lambda state: state["ngrams.counts"].zero_(),
        lambda state: state.update({"ngrams.counts": state["ngrams.counts"][:-1]}),
        lambda state: state.update({"ngrams.grams": state["ngrams.grams"].float()}),
    ],
    ids=["negative", "repeated", "too-high", "no-counts", "unlike-lengths", "not-whole-numbers"],
)
def test_a_table_that_is_none_is_refused(network: RNN, spoil: object) -> None:
    state = {name: value.clone() for name, value in network.state_dict().items()}
    spoil(state)  # type: ignore[operator]
    with pytest.raises(RuntimeError, match="no table of 4-grams"):
        RNN(network.config, V).load_state_dict(state)


def test_gradients_reach_the_gates_and_the_network_but_not_the_counts(network: RNN) -> None:
    network.train()
    tokens = torch.from_numpy(text()[None, :30])
    logits, _ = network(tokens, network.start(1))
    torch.nn.functional.cross_entropy(logits[0, :-1], tokens[0, 1:]).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all()
    assert network.ngrams is not None
    assert network.ngrams.gates.weight.grad is not None
    assert network.ngrams.gates.weight.grad.abs().sum() > 0


def test_tables_hold_what_they_were_made_from(network: RNN) -> None:
    assert network.ngrams is not None
    made = network.ngrams.tables()
    assert isinstance(made, Tables)
    assert network.ngrams.tables() is made, "built once"
    network.ngrams.add(*count(gram_keys(text(9), 4, V)))
    assert network.ngrams.tables() is not made, "and again when more was counted"
