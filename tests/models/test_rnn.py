"""The recurrent network: every option does something, and a step is a window of one."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from bowerbird.base.errors import UnknownName
from bowerbird.models.cells import CELLS
from bowerbird.models.rnn import RNN, RNNConfig

V = 13
TOKENS = torch.tensor([[1, 5, 2, 12, 0, 7, 7, 3], [4, 4, 9, 1, 11, 6, 2, 0]])
_EVERY = list(
    itertools.product(
        CELLS, [1, 3], [None, 6], [False, True], [False, True], ["none", "layer", "rms"], [0.0, 0.4]
    )
)
SAMPLED = random.Random(5).sample(_EVERY, 48)


def built(**options: Any) -> RNN:
    """A small network whose output layer does not begin at zero, so that all of it shows."""
    torch.manual_seed(7)
    network = RNN(RNNConfig.model_validate({"width": 10, "layers": 2, **options}), V)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.3)
    return network


def logits(network: RNN, seed: int = 1) -> Tensor:
    torch.manual_seed(seed)
    with torch.no_grad():
        return network(TOKENS, network.start(2))[0]


@pytest.mark.parametrize(("cell", "layers", "embedding", "tied", "residual", "norm", "drop"), SAMPLED)
def test_a_step_is_a_window_of_one_whatever_the_options(
    cell: str, layers: int, embedding: int | None, tied: bool, residual: bool, norm: str, drop: float
) -> None:
    network = built(
        cell=cell,
        layers=layers,
        embedding=embedding,
        tied=tied,
        residual=residual,
        norm=norm,
        dropout=drop,
        embedding_dropout=drop,
        weight_drop=drop,
    ).eval()
    with torch.no_grad():
        windows, end = network(TOKENS, network.start(2))
        state, steps = network.start(2), []
        for time in range(TOKENS.shape[1]):
            out, state = network.step(TOKENS[:, time], state)
            steps.append(out)
    assert windows.shape == (2, TOKENS.shape[1], V)
    torch.testing.assert_close(torch.stack(steps, 1), windows, rtol=1e-4, atol=1e-5)
    for mine, theirs in zip(state, end, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "option",
    [
        {"cell": "gru"},
        {"width": 12},
        {"layers": 3},
        {"embedding": 6},
        {"tied": True},
        {"residual": True},
        {"norm": "layer"},
        {"norm": "rms"},
    ],
    ids=str,
)
def test_an_option_of_shape_changes_what_the_network_says(option: dict[str, Any]) -> None:
    assert not torch.allclose(logits(built().eval()), logits(built(**option).eval()), atol=1e-4)


@pytest.mark.parametrize("option", ["dropout", "output_dropout", "embedding_dropout", "weight_drop"])
def test_a_dropout_changes_training_and_leaves_use_alone(option: str) -> None:
    with_it, without = built(**{option: 0.5}), built()
    assert torch.equal(logits(with_it.eval()), logits(without.eval()))
    assert not torch.allclose(logits(with_it.train()), logits(without.train()))
    assert not torch.allclose(logits(with_it, 1), logits(with_it, 2))
    assert torch.equal(logits(without.train(), 1), logits(without, 2))


def test_output_dropout_is_as_dropout_unless_told() -> None:
    single = built(layers=1, dropout=0.5)
    assert not torch.equal(logits(single.train(), 1), logits(single, 2)), "one layer has only the output"
    off = built(layers=1, dropout=0.5, output_dropout=0.0)
    assert torch.equal(logits(off.train(), 1), logits(off, 2))


@pytest.mark.parametrize("embedding", [None, 6])
def test_a_tied_network_has_one_table_of_tokens(embedding: int | None) -> None:
    tied, free = built(tied=True, embedding=embedding), built(embedding=embedding)
    tables = [name for name, value in tied.named_parameters() if V in value.shape and value.ndim == 2]
    assert tables == ["embedding.weight"]
    assert "output" in dict(free.named_parameters())


@pytest.mark.parametrize("tied", [False, True])
def test_a_new_network_is_nearly_undecided(tied: bool) -> None:
    torch.manual_seed(7)
    network = RNN(RNNConfig(width=64, layers=2, tied=tied), V)
    likeliest = logits(network.eval()).softmax(-1).max()
    assert likeliest < 0.5, "so that training does not begin by unlearning"


@pytest.mark.parametrize(
    "option", [{}, {"tied": True, "embedding": 6}, {"residual": True, "norm": "rms"}], ids=str
)
def test_every_weight_learns(option: dict[str, Any]) -> None:
    network = built(**option)
    out, _ = network(TOKENS, network.start(2))
    (out * torch.randn_like(out)).sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_state_has_a_float32_row_a_stream_and_layer() -> None:
    for cell in CELLS:
        state = built(cell=cell, layers=3).start(5)
        assert len(state) == 3
        assert all(part.shape[0] == 5 and part.dtype == torch.float32 for part in state)


def test_a_wrong_cell_is_named_with_the_right_one() -> None:
    with pytest.raises(UnknownName, match="lstm"):
        RNN(RNNConfig(cell="lstn"), V)


@pytest.mark.parametrize(
    "wrong",
    [{"width": 0}, {"layers": 0}, {"embedding": 0}, {"dropout": 1.0}, {"dropout": -0.1}, {"norm": "batch"},
     {"weight_drop": float("nan")}, {"embedding_dropout": float("inf")}, {"widht": 3}],
    ids=str,
)  # fmt: skip
def test_a_shape_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RNNConfig.model_validate(wrong)
