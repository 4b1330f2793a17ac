"""The compiled loop against the plain network and the plain sampler: the same logits, the same choices."""

from __future__ import annotations

import builtins
import subprocess
import sys
from functools import cache, partial
from typing import Any

import numpy as np
import pytest
import torch
from tests.sampling.test_sample import OPTIONS, stream

from bowerbird.models.ngrams import count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.fused.choice import BANNED, END, OFF, USED, choose
from bowerbird.sampling.fused.session import GROUP, FusedSession
from bowerbird.sampling.fused.weights import fits, lay_out
from bowerbird.sampling.opening import open_token_session
from bowerbird.sampling.session import run_all
from bowerbird.sampling.tokens import TokenRequest, TokenSession, sample

V = 61
NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {},
    "gru": {"cell": "gru"},
    "elman": {"cell": "rnn"},
    "widths that fill no panel": {"width": 37, "embedding": 19, "layers": 2},
    "rms, residual": {"layers": 2, "norm": "rms", "residual": True},
    "layer norm, residual, gru": {"cell": "gru", "layers": 2, "norm": "layer", "residual": True},
    "layer norm": {"layers": 2, "norm": "layer"},
    "tied": {"tied": True, "embedding": None},
    "tied, narrowed": {"tied": True, "layers": 2},
    "many tokens": {"vocab_size": 3000},
    "n-grams": {"ngrams": 5},
    "n-grams of pairs": {"ngrams": 2, "cell": "gru"},
    "n-grams, tied, rms": {"ngrams": 4, "tied": True, "norm": "rms", "vocab_size": 600},
    "n-grams of many tokens": {"ngrams": 3, "vocab_size": 9000, "embedding": 8, "width": 16},
}


@cache
def network(name: str = "lstm") -> RNN:
    settings = {"cell": "lstm", "width": 48, "embedding": 24, **NETWORKS[name]}
    vocab_size = settings.pop("vocab_size", V)
    torch.manual_seed(1)
    made = RNN(RNNConfig.model_validate(settings), vocab_size)
    for parameter in made.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    if made.ngrams is not None:
        noise = np.random.default_rng(2)
        text = np.minimum(noise.geometric(0.2, 8000), vocab_size - 1)
        for place in range(5, len(text)):  # some of it is said again
            if noise.random() < 0.6:
                text[place] = text[place - 4]
        text[::300] = 0
        made.ngrams.add(*count(gram_keys(text, made.ngrams.order, vocab_size)))
    return made.eval()


def request(**options: Any) -> TokenRequest:
    told: dict[str, Any] = {"prompt": np.array([0, 5, 9]), "length": 40, "ends": frozenset(), "seed": 3}
    return TokenRequest(**{**told, **options})


def tokens_of(session: Any, jobs: list[TokenRequest]) -> list[tuple[list[int], str | None]]:
    made: list[tuple[list[int], str | None]] = [([], None)] * len(jobs)
    for found in run_all(session, jobs):
        before, _ = made[found.index]
        made[found.index] = ([*before, *found.chunk.content.tolist()], found.chunk.finished)
    return made


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_those_of_the_plain_network(name: str) -> None:
    model = network(name)
    prompts = [np.array([0]), np.array([0, 5, 9, 3, 3, 0, 7])]
    session = FusedSession(model, 2, quantum=17)
    sequences = [prompt.tolist() for prompt in prompts]
    for seed, prompt in enumerate(prompts):
        session.admit(request(prompt=prompt, seed=seed, length=1000))
    for _ in range(13):
        for chunk in session.step():
            sequences[chunk.slot] += chunk.content.tolist()
        for slot, sequence in enumerate(sequences):
            with torch.no_grad():
                logits = model(torch.tensor([sequence]), model.start(1))[0][0, -1]
            found = session._logits[slot, : model.vocab_size]
            np.testing.assert_allclose(found, logits.numpy(), atol=1e-4)
    assert len(sequences[0]) > 200


@pytest.mark.parametrize("name", ["lstm", "gru", "n-grams", "rms, residual"])
def test_tokens_are_those_of_the_plain_path(name: str) -> None:
    jobs = [request(seed=seed, prompt=np.array([0, seed + 1]), ends=frozenset({0, 4})) for seed in range(6)]
    assert tokens_of(FusedSession(network(name), 4), jobs) == tokens_of(TokenSession(network(name)), jobs)


@pytest.mark.parametrize("name", ["lstm", "gru", "n-grams, tied, rms", "tied, narrowed"])
def test_company_and_the_tokens_a_step_change_no_token(name: str) -> None:
    jobs = [
        request(seed=seed, length=5 + seed % 23, ends=frozenset({0}), top_p=(None, 0.9)[seed % 2])
        for seed in range(GROUP + 9)
    ]
    alone = [tokens_of(FusedSession(network(name), 1), [job])[0] for job in jobs[:12]]
    for slots, quantum in ((1, 1), (3, 64), (7, 5), (GROUP + 9, 4)):
        found = tokens_of(FusedSession(network(name), slots, quantum=quantum), jobs)
        assert found[:12] == alone


def chosen(logits: np.ndarray, marks: np.ndarray, settings: tuple[float, ...], draw: float) -> int:
    size = len(marks)
    work = np.empty(size, np.float32), np.empty(size, np.float32), np.empty(size, np.int64)
    return int(choose(logits, marks, np.array(settings), draw, *work))


@pytest.mark.parametrize("options", [*OPTIONS, {"temperature": 0.0}], ids=str)
@pytest.mark.parametrize("size", [12, 300])
def test_each_draw_gives_the_token_that_the_plain_sampler_gives(options: dict[str, Any], size: int) -> None:
    noise = np.random.default_rng(size)
    names = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
    settings = tuple(options.get(name, off) for name, off in zip(names, OFF, strict=True))
    rows = 60
    logits = noise.normal(0, 2, (rows, size)).astype(np.float32)
    used, banned = noise.random((2, rows, size)) < 0.2
    marks = (USED * used + BANNED * banned + END * (noise.random(size) < 0.1)).astype(np.uint8)
    draws = noise.random(rows)
    allowed = torch.from_numpy(logits).masked_fill(torch.from_numpy(banned), -torch.inf)
    expected = sample(allowed, torch.from_numpy(used), [stream(draw, **options) for draw in draws.tolist()])
    found = [chosen(logits[row], marks[row], settings, float(draws[row])) for row in range(rows)]
    assert found == expected.tolist()


def test_of_equally_likely_tokens_the_first_are_kept() -> None:
    logits, marks = np.zeros(8, np.float32), np.zeros(8, np.uint8)
    found = {chosen(logits, marks, (1, 3, 2, 0, 1), draw) for draw in np.linspace(0, 0.999, 50)}
    assert found == {0, 1, 2}


def test_a_token_of_no_likelihood_is_never_drawn() -> None:
    logits = np.array([-np.inf, 0, -200, 0, -np.inf], np.float32)
    for options in ((1, 0, 2, 0, 1), (1, 4, 1.0, 0, 1), (1, 0, 1.0, 0, 1)):
        draws = (0.0, 0.5, 1 - 2**-53)
        assert {chosen(logits, np.zeros(5, np.uint8), options, draw) for draw in draws} == {1, 3}


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_logits_that_are_no_numbers_give_some_token(broken: float) -> None:
    logits = np.full(9, broken, np.float32)
    for options in (OFF, (1, 3, 2, 0, 1), (1, 0, 0.5, 0.1, 2), (0, 0, 2, 0, 1)):
        assert 0 <= chosen(logits, np.zeros(9, np.uint8), options, 0.7) < 9


def test_the_first_token_comes_alone_and_then_many() -> None:
    session = FusedSession(network(), 2)
    session.admit(request(length=100))
    assert [len(chunk.content) for chunk in session.step()] == [1]
    assert len(session.step()[0].content) > 8
    session.admit(request(length=100))
    assert [len(chunk.content) for chunk in session.step()] == [1, 1]


def test_a_network_that_learns_on_is_laid_out_again() -> None:
    torch.manual_seed(5)
    model = RNN(RNNConfig(width=16, embedding=8), V).eval()
    before = tokens_of(FusedSession(model, 1), [request()])
    with torch.no_grad():
        model.output.mul_(5)
    after = tokens_of(FusedSession(model, 1), [request()])
    assert after == tokens_of(TokenSession(model), [request()])
    assert after != before


@pytest.mark.parametrize("prompt", [[0, V], [0, -1], [0, 1 << 40], []])
@pytest.mark.parametrize("sessions", [TokenSession, FusedSession])
def test_a_prompt_of_tokens_the_network_does_not_have_is_refused(sessions: Any, prompt: list[int]) -> None:
    session = sessions(network(), 8)
    with pytest.raises(ValueError, match="a prompt is one or more tokens of 0 to 60"):
        session.admit(request(prompt=np.array(prompt, np.int64)))
    assert session.admit(request()) == 0


def test_tables_that_would_be_read_outside_are_refused() -> None:
    model = network("n-grams")
    assert model.ngrams is not None
    tables = model.ngrams.tables()
    for name, value in (("symbols", V), ("first", -5), ("contexts", 7)):
        whole = getattr(tables, name)
        broken = whole.clone()
        broken[len(broken) // 2] = value
        setattr(tables, name, broken)
        with pytest.raises(ValueError, match="no tables of n-grams"):
            lay_out(model, "float32")
        setattr(tables, name, whole)


def test_without_numba_plain_torch_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    with_numba = open_token_session(network(), 4)
    assert isinstance(with_numba, FusedSession)
    expected = tokens_of(with_numba, [request()])
    real = builtins.__import__

    def missing(name: str, *arguments: Any) -> Any:
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ImportError(name)
        return real(name, *arguments)

    for name in [name for name in sys.modules if name.startswith("bowerbird.sampling.fused.")]:
        if not name.endswith("weights"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(builtins, "__import__", missing)
    without = open_token_session(network(), 4)
    assert isinstance(without, TokenSession)
    assert tokens_of(without, [request()]) == expected


def test_a_cell_that_the_loop_does_not_know_is_left_to_torch() -> None:
    model = RNN(RNNConfig(width=16), V)
    assert fits(model)
    cell = type("Other", (type(model.cells[0]),), {})(16, 16)
    model.cells[0] = cell
    assert not fits(model)
    assert isinstance(open_token_session(model.eval(), 1), TokenSession)
    assert not fits(RNN(RNNConfig(width=16), V).double())


def test_importing_the_package_imports_no_numba() -> None:
    program = (
        "import sys, bowerbird.kinds.text; sys.exit('numba' in sys.modules or 'llvmlite' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(("precision", "bound"), [("bfloat16", 0.02), ("int8", 0.02)])
@pytest.mark.parametrize("name", ["lstm", "n-grams, tied, rms"])
def test_fewer_bits_a_weight_come_near(name: str, precision: Any, bound: float) -> None:
    model = network(name)
    session = FusedSession(model, 1, precision, quantum=20)
    session.admit(request(length=60))
    sequence = [0, 5, 9, *session.step()[0].content.tolist(), *session.step()[0].content.tolist()]
    with torch.no_grad():
        logits = model(torch.tensor([sequence]), model.start(1))[0][0, -1].numpy()
    difference = np.abs(session._logits[0, : model.vocab_size] - logits).max()
    assert 0 < difference < bound * max(1, np.abs(logits).max())


def test_slots_in_any_order_and_partly_filled_are_stepped() -> None:
    opened = partial(FusedSession, quantum=2)
    session = opened(network(), 5)
    for seed in range(5):
        session.admit(request(seed=seed))
    session.step()
    for slot in (0, 2, 3):
        session.release(slot)
    kept: dict[int, list[int]] = {1: [], 4: []}
    while chunks := session.step():
        for chunk in chunks:
            kept[chunk.slot] += chunk.content.tolist()
    for slot, tokens in kept.items():
        assert tokens == tokens_of(opened(network(), 1), [request(seed=slot)])[0][0][1:]
