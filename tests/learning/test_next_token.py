"""The learner of recurrent networks: it learns, refuses what is not finite, and is restored to the bit."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bowerbird.base.device import bfloat16_on_cpu
from bowerbird.base.errors import UsageError
from bowerbird.data.dataset import batch
from bowerbird.kinds.text import build_learner
from bowerbird.kinds.text_settings import TextRun
from bowerbird.learning.loop import NotFinite
from bowerbird.learning.next_token import NextToken, token_nats, window_loss
from bowerbird.models.cells import CELLS
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.store.bundle import read_tensors, write_tensors

V = 11
RATE = 3e-3
TEXT = np.tile(np.array([0, 3, 5, 3, 7, 9, 10, 2]), 40)
NOISY = {"dropout": 0.2, "embedding_dropout": 0.1, "weight_drop": 0.2, "layers": 2}


def learner(
    seed: int = 1, freeze: tuple[str, ...] = (), precision: str = "float32", **model: Any
) -> NextToken:
    torch.manual_seed(5)
    shape = RNNConfig.model_validate({"width": 16, "embedding": 8, **model})
    wanted = {
        "batch_size": 4,
        "length": 12,
        "seed": seed,
        "freeze": freeze,
        "precision": precision,
        "model": shape,
        "optimizer": {"learning_rate": RATE, "clip": 1.0},
    }
    return build_learner(RNN(shape, V), TextRun.model_validate(wanted))


def needs(precision: str) -> None:
    if precision == "bfloat16" and not bfloat16_on_cpu():
        pytest.skip("this processor has no bfloat16")


def data(step: int) -> NDArray[np.int64]:
    return batch(TEXT, 1, step, 4, 12)


def everything(one: NextToken) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in {**one.shipped(), **one.resume_state()}.items()}


def same_bits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[name].dtype == theirs[name].dtype
        and torch.equal(ours[name].reshape(-1).view(torch.uint8), theirs[name].reshape(-1).view(torch.uint8))
        for name in ours
    )


@pytest.mark.parametrize("cell", CELLS)
def test_steps_lower_the_loss_on_a_text_that_repeats(cell: str) -> None:
    one = learner(cell=cell)
    losses = [one.step(data(step), step, 0.02)["loss"] for step in range(150)]
    assert losses[0] == pytest.approx(math.log(V), abs=0.4), "a new network is nearly undecided"
    assert losses[-1] < 0.55 * losses[0]


def test_a_step_tells_its_loss_rate_norm_and_tokens() -> None:
    told = learner().step(data(0), 0, 0.02)
    assert told["rate"] == pytest.approx(RATE)
    assert told["tokens"] == 4 * 12
    assert told["gradient_norm"] > 0
    assert all(isinstance(value, float | int) for value in told.values())


def test_a_step_is_that_of_an_optimiser_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """AdamW, algorithm 2 of arXiv:1711.05101: moments, their correction, decay of matrices only."""
    monkeypatch.setattr("bowerbird.learning.next_token.FORGET", 0.0)
    one = learner()
    before = {name: value.clone() for name, value in one.shipped().items()}
    tokens = torch.from_numpy(data(0))
    logits, _ = one.network(tokens[:, :-1], one.network.start(4))
    loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    names, parameters = zip(*one.network.named_parameters(), strict=True)
    gradients = dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
    told = one.step(data(0), 0, 0.02)
    assert told["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert told["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    after = one.shipped()
    for name, raw in gradients.items():
        gradient = raw * min(1.0, 1.0 / norm)
        decay = 0.01 if gradient.ndim >= 2 and not name.startswith("embedding") else 0.0
        first, second = 0.1 * gradient / (1 - 0.9), 0.02 * gradient**2 / (1 - 0.98)
        expected = before[name] * (1 - RATE * decay) - RATE * first / (second.sqrt() + 1e-8)
        torch.testing.assert_close(after[name], expected, rtol=1e-3, atol=1e-5)


def test_the_state_goes_on_from_window_to_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bowerbird.learning.next_token.FORGET", 0.0)
    one = learner()
    one.calm(0.0)  # so that the weights stay as they are
    for step in range(3):
        one.step(data(step), step, 0.5)
    whole = torch.from_numpy(np.concatenate([data(0), data(1)[:, 1:], data(2)[:, 1:]], axis=1))
    with torch.no_grad():
        _, expected = one.network.eval()(whole[:, :-1], one.network.start(4))
    for mine, theirs in zip(one.state, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-6)


def test_rows_forget_now_and_then_and_only_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    one = learner()
    one.state = tuple(torch.ones_like(part) for part in one.state)
    monkeypatch.setattr("bowerbird.learning.next_token.FORGET", 0.5)
    rows = torch.cat([one._forgetful(4)[0] for _ in range(100)])
    assert set(rows.mean(1).tolist()) == {0.0, 1.0}
    assert 140 < rows.mean(1).sum() < 260


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_nothing_moves_when_the_update_would_not_be_finite(poison: str) -> None:
    one, other = learner(**NOISY), learner(**NOISY)
    for step in range(3):
        one.step(data(step), step, 0.1)
        other.step(data(step), step, 0.1)
    before = everything(one)
    if poison == "loss":
        kept = one.network.bias.data.clone()
        one.network.bias.data[2] = math.inf
        before = everything(one)
    else:
        hook = one.network.output.register_hook(lambda gradient: gradient * math.inf)
    with pytest.raises(NotFinite, match="step 3"):
        one.step(data(3), 3, 0.1)
    assert same_bits(everything(one), before)
    if poison == "loss":
        one.network.bias.data.copy_(kept)
    else:
        hook.remove()
    one.step(data(3), 3, 0.1)
    other.step(data(3), 3, 0.1)
    assert same_bits(everything(one), everything(other)), "the failed step left no gradient behind"


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_learner_is_restored_to_the_bit(cell: str, precision: str, tmp_path: Path) -> None:
    needs(precision)
    one = learner(cell=cell, precision=precision, **NOISY)
    for step in range(4):
        one.step(data(step), step, 0.1)
    one.calm(0.5)
    write_tensors(tmp_path / "weights.safetensors", one.shipped())
    write_tensors(tmp_path / "resume.safetensors", one.resume_state())
    other = learner(cell=cell, precision=precision, **NOISY)
    weights, resume = (read_tensors(tmp_path / f"{name}.safetensors") for name in ("weights", "resume"))
    other.restore(weights, {}, resume)
    assert same_bits(everything(one), everything(other))
    told = [each.step(data(4), 4, 0.1) for each in (one, other)]
    assert told[0] == told[1]
    assert same_bits(everything(one), everything(other))


def test_a_state_carried_in_less_precision_is_kept_in_float32() -> None:
    needs("bfloat16")
    one = learner(precision="bfloat16")
    one.step(data(0), 0, 0.1)
    assert all(part.dtype == torch.float32 for part in one.state)
    assert all(value.dtype == torch.float32 for value in one.shipped().values())


def test_each_part_of_the_resume_state_is_needed() -> None:
    one = learner(**NOISY)
    for step in range(3):
        one.step(data(step), step, 0.1)
    weights, resume = dict(one.shipped()), dict(one.resume_state())
    end = learner(**NOISY)
    end.restore(weights, {}, resume)
    end.step(data(3), 3, 0.1)
    expected = everything(end)
    for part in ("state/", "optimizer/", "scale"):
        wrong = {
            name: torch.zeros_like(value) if name.startswith(part) else value
            for name, value in resume.items()
        }
        other = learner(**NOISY)
        other.restore(weights, {}, wrong)
        other.step(data(3), 3, 0.1)
        assert not same_bits(everything(other), expected), part


def test_weights_that_do_not_fit_are_not_restored_in_part() -> None:
    one = learner()
    short = {name: value for name, value in one.shipped().items() if name != "bias"}
    with pytest.raises(RuntimeError, match="bias"):
        one.restore(short, {})


def test_noise_depends_on_seed_and_step_alone() -> None:
    a, b, c = learner(1, **NOISY), learner(1, **NOISY), learner(2, **NOISY)
    torch.manual_seed(12345)
    first = a.step(data(7), 7, 0.1)["loss"]
    torch.rand(100)
    assert b.step(data(7), 7, 0.1)["loss"] == first
    c.step(data(7), 7, 0.1)
    assert not same_bits(everything(a), everything(c))


def test_what_is_frozen_keeps_every_bit_and_the_rest_learns() -> None:
    one = learner(freeze=("embedding", "cells.0"), layers=2)
    before = everything(one)
    for step in range(5):
        one.step(data(step), step, 0.1)
    after = one.shipped()
    moved = {name for name in after if not torch.equal(after[name], before[name])}
    assert moved == {name for name in after if not name.startswith(("embedding", "cells.0"))}
    assert not any(
        name.startswith(("optimizer/embedding", "optimizer/cells.0")) for name in one.resume_state()
    )


def test_freezing_a_part_that_is_not_there_or_everything_is_refused() -> None:
    with pytest.raises(UsageError, match="no part `embeding`") as found:
        learner(freeze=("embeding",))
    assert "embedding" in str(found.value.hint)
    with pytest.raises(UsageError, match="nothing left to learn"):
        learner(freeze=("embedding", "cells", "bias", "output"))


def test_calming_lowers_the_rate_from_now_on() -> None:
    one = learner()
    before = one.step(data(0), 0, 0.3)["rate"]
    one.calm(0.5)
    one.calm(0.5)
    assert one.step(data(1), 1, 0.3)["rate"] == pytest.approx(before / 4)


def nats(network: RNN, tokens: NDArray[np.int64]) -> list[float]:
    """The slow, obvious version: one token, one softmax, one logarithm after another."""
    state, found = network.start(1), []
    with torch.no_grad():
        for now, after in zip(tokens[:-1].tolist(), tokens[1:].tolist(), strict=True):
            logits, state = network.step(torch.tensor([now]), state)
            values = logits[0].double().tolist()
            found.append(math.log(sum(math.exp(value) for value in values)) - values[after])
    return found


@pytest.mark.parametrize("chunk", [3, 512])
def test_each_token_is_charged_what_stepping_through_its_sequence_charges(chunk: int) -> None:
    one = learner(**NOISY)
    for step in range(20):
        one.step(data(step), step, 0.1)
    sequences = [TEXT[:9], TEXT[3:5], TEXT[5:30], TEXT[:1]]
    found = token_nats(one.network, sequences, chunk)
    assert [len(row) for row in found] == [8, 1, 24, 0]
    for row, sequence in zip(found, sequences, strict=True):
        np.testing.assert_allclose(row, nats(one.network.eval(), sequence), rtol=1e-4, atol=1e-5)


def test_the_loss_over_rows_is_the_mean_of_their_tokens() -> None:
    one = learner()
    for step in range(20):
        one.step(data(step), step, 0.1)
    rows = np.stack([TEXT[:300], TEXT[5:305]])
    expected = np.mean([nats(one.network.eval(), row) for row in rows])
    assert window_loss(one.network, rows) == pytest.approx(float(expected), rel=1e-4)
