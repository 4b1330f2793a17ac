"""Portable networks: the same numbers as ours over hundreds of steps, whatever the cell and its options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.untrained_bundles import counted, filled

from bowerbird.models.cells import CELLS
from bowerbird.models.gan import GANConfig, Generator
from bowerbird.models.ngrams import NGrams
from bowerbird.models.portable import PortableGenerator, PortableRNN, Trie
from bowerbird.models.rnn import RNN, RNNConfig

V = 11
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tied": {"tied": True, "embedding": 6},
    "layer": {"norm": "layer", "layers": 2},
    "rms": {"norm": "rms"},
    "residual": {"residual": True, "embedding": 6, "layers": 2},
    "ngrams": {"ngrams": 4},
    "bigrams": {"ngrams": 2, "embedding": 6},
    "cache": {"cache": {"window": 30, "shortest": 2}},
    "all": {"ngrams": 5, "cache": {"window": 50, "shortest": 3}, "norm": "layer", "residual": True},
}


def stream(seed: int, size: int) -> NDArray[np.int64]:
    """Documents that repeat themselves, each begun by token 0."""
    noise = np.random.default_rng(seed)
    phrase = noise.integers(1, V, 23)
    tokens = np.where(noise.random(size) < 0.8, np.resize(phrase, size), noise.integers(1, V, size))
    tokens[:: size // 4] = 0
    return np.asarray(tokens, np.int64)


def built(**options: Any) -> RNN:
    torch.manual_seed(3)
    network = RNN(RNNConfig.model_validate({"width": 10, **options}), V)
    counted(network.ngrams, stream(1, 400))
    filled(network)
    return network


@torch.no_grad()
def agree(network: RNN, tokens_BT: NDArray[np.int64]) -> None:
    """Both step through the same tokens, each with its own states."""
    portable = PortableRNN(network)
    tokens = torch.from_numpy(tokens_BT)
    ours = theirs = network.start(len(tokens))
    for time in range(tokens.shape[1]):
        expected, ours = network.step(tokens[:, time], ours)
        found, *after = portable(tokens[:, time], *theirs)
        theirs = tuple(after)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert len(ours) == len(theirs)
        for mine, other in zip(theirs, ours, strict=True):
            assert mine.dtype == torch.float32
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_a_portable_network_steps_as_ours_does(cell: str, options: dict[str, Any]) -> None:
    agree(built(cell=cell, **options), np.stack([stream(1, 200), stream(5, 200)]))


@pytest.mark.parametrize(("window", "shortest"), [(1, 1), (7, 1), (30, 3), (100, 16)])
def test_the_past_is_weighed_in_whatever_the_window(window: int, shortest: int) -> None:
    network = built(cache={"window": window, "shortest": shortest})
    assert network.cache is not None
    torch.nn.init.ones_(network.cache.by_length)  # so that matches show
    long = np.resize(stream(2, 48), 150)
    without_documents = np.where(long == 0, 4, long)
    agree(network, np.stack([long, without_documents, np.full(150, 3)]))


@pytest.mark.parametrize("dense", [True, False], ids=["dense-bigrams", "sparse-bigrams"])
@pytest.mark.parametrize("order", [2, 3, 6])
def test_the_tree_says_what_the_tables_say(order: int, dense: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not dense:
        monkeypatch.setattr("bowerbird.models.ngrams._MOST_DENSE", 0)
    ngrams = NGrams(order, V, 5)
    counted(ngrams, stream(1, 300) % (V - 1))  # one token was never seen
    noise = np.random.default_rng(4)
    tokens = stream(1, 300) % (V - 1)
    seen = np.stack([tokens[at : at + order - 1][::-1] for at in range(0, 250, 5)])
    recent = torch.from_numpy(np.concatenate([seen, noise.integers(0, V, (50, order - 1))]))
    logs, matched = Trie(ngrams)(recent.to(torch.int32))
    expected = list(ngrams.tables().log_probabilities(recent))
    assert len(logs) == len(expected) == order - 1
    for mine, (theirs, _) in zip(logs, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)
    known = torch.stack([found for _, found in expected]).sum(0)
    assert matched.tolist() == known.tolist()
    assert (known.min(), known.max()) == (1, order - 1), "contexts known and not"


def test_a_tree_of_nothing_is_uniform() -> None:
    logs, matched = Trie(NGrams(3, V, 5))(torch.tensor([[1, 2], [0, 0]], dtype=torch.int32))
    for log in logs:
        torch.testing.assert_close(log.exp(), torch.full((2, V), 1 / V))
    assert matched.tolist() == [1, 1]


def test_the_buffers_of_a_tree_are_as_they_are_described() -> None:
    network = built(ngrams=4)
    tree = PortableRNN(network).tables
    assert tree is not None
    told = {name.removeprefix("tables."): value for name, value in PortableRNN(network).state_dict().items()}
    nodes, children, entries = (len(told[name]) for name in ("left", "child_token", "entry_token"))
    assert (len(told["child_first"]), len(told["entry_first"])) == (nodes + 1, nodes + 1)
    assert (len(told["entry_share"]), children) == (entries, nodes - 1)
    firsts, tokens = told["child_first"].tolist(), told["child_token"].tolist()
    for node in range(nodes):
        here = tokens[firsts[node] : firsts[node + 1]]
        assert here == sorted(set(here))
    assert tokens[-1] == told["entry_token"][-1] == V
    whole = [value for value in told.values() if value.dtype == torch.int32]
    assert len(whole) == 4
    assert all(int(value.min()) >= 0 and int(value.max()) < 1 << 24 for value in whole)
    sizes = told["entry_first"].diff().long()
    shares = torch.zeros(nodes).index_add(0, torch.repeat_interleave(sizes), told["entry_share"][:-1])
    torch.testing.assert_close(shares + told["left"], torch.ones(nodes))
    torch.testing.assert_close(told["lowest"].sum(), torch.tensor(1.0))


def test_a_portable_network_is_a_copy_that_does_not_learn() -> None:
    network = built(ngrams=3, cache={"window": 9})
    portable = PortableRNN(network)
    assert not any(parameter.requires_grad for parameter in portable.parameters())
    before = {name: value.clone() for name, value in portable.state_dict().items()}
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1)
    after = portable.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert PortableRNN(built()).tables is None


@torch.no_grad()
@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("shape", ["conv", "residual"])
def test_a_portable_generator_makes_the_same_pictures(shape: str, classes: int) -> None:
    torch.manual_seed(2)
    config = {"resolution": 16, "width": 16, "latent": 8, "classes": classes, "shape": shape}
    generator = Generator(GANConfig.model_validate(config))
    filled(generator)
    portable = PortableGenerator(generator)
    for batch in (1, 5):
        latent = torch.randn(batch, 8)
        inputs = (latent, torch.arange(batch) % 4 - 1) if classes else (latent,)
        (found,) = portable(*inputs)
        assert found.shape == (batch, 3, 16, 16)
        torch.testing.assert_close(found, generator(*inputs), rtol=1e-5, atol=1e-5)
        assert found.std() > 0.01
