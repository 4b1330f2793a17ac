"""Every cell on the shelf: stepping equals scanning, the future stays out of the past, gradients are right.

B rows, T time, I inputs, D width, S state numbers a row.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bowerbird.models.cells import CELLS

everyone = pytest.mark.parametrize("name", CELLS)
SHAPES = [(1, 1, 1, 1), (1, 7, 3, 5), (4, 12, 8, 8), (3, 33, 17, 6), (8, 5, 2, 32)]
"""B, T, I, D"""
REFERENCES: dict[str, type[nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}


@pytest.fixture(autouse=True)
def _same_numbers_each_time() -> None:
    torch.manual_seed(3)


def stepped(cell: Any, x_BTI: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
    """The slow, obvious version: one step after another."""
    outputs = []
    for time in range(x_BTI.shape[1]):
        out, state_BS = cell.step(x_BTI[:, time], state_BS)
        outputs.append(out)
    return torch.stack(outputs, 1), state_BS


def built(name: str, inputs: int, width: int, *, double: bool = True) -> Any:
    cell: Any = CELLS[name](inputs, width)
    for parameter in cell.parameters():  # biases begin at zero, where a mistake with them would not show
        nn.init.uniform_(parameter, -0.6, 0.6)
    return cell.double() if double else cell


@everyone
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("carried", [False, True], ids=["from-empty", "from-carried"])
def test_stepping_equals_scanning(name: str, shape: tuple[int, int, int, int], carried: bool) -> None:
    rows, times, inputs, width = shape
    cell = built(name, inputs, width)
    state = torch.randn(rows, cell.state_size).double() if carried else cell.start(rows).double()
    x = torch.randn(rows, times, inputs).double()
    out, after = cell.scan(x, state)
    slow_out, slow_after = stepped(cell, x, state)
    assert out.shape == (rows, times, width)
    assert after.shape == (rows, cell.state_size)
    torch.testing.assert_close(out, slow_out, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(after, slow_after, rtol=1e-12, atol=1e-12)


@everyone
def test_scanning_in_two_parts_equals_scanning_at_once(name: str) -> None:
    cell = built(name, 4, 6)
    x, state = torch.randn(3, 20, 4).double(), cell.start(3).double()
    whole, end = cell.scan(x, state)
    first, middle = cell.scan(x[:, :7], state)
    second, last = cell.scan(x[:, 7:], middle)
    torch.testing.assert_close(torch.cat([first, second], 1), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, end, rtol=1e-12, atol=1e-12)


@everyone
def test_the_future_does_not_leak_into_the_past(name: str) -> None:
    cell = built(name, 4, 6)
    x = torch.randn(2, 12, 4).double()
    changed = x.clone()
    changed[:, 8:] += 5
    before, _ = cell.scan(x, cell.start(2).double())
    after, _ = cell.scan(changed, cell.start(2).double())
    assert torch.equal(before[:, :8], after[:, :8])
    assert not torch.equal(before[:, 8], after[:, 8])


@everyone
def test_a_row_does_not_see_another(name: str) -> None:
    cell = built(name, 4, 6)
    x = torch.randn(3, 9, 4).double()
    changed = x.clone()
    changed[1] += 5
    before, _ = cell.scan(x, cell.start(3).double())
    after, _ = cell.scan(changed, cell.start(3).double())
    assert torch.equal(before[[0, 2]], after[[0, 2]])


@everyone
def test_the_past_is_remembered_through_the_state_alone(name: str) -> None:
    cell = built(name, 4, 6)
    x = torch.randn(2, 1, 4).double()
    empty, _ = cell.step(x[:, 0], cell.start(2).double())
    carried, _ = cell.step(x[:, 0], torch.randn(2, cell.state_size).double())
    again, _ = cell.step(x[:, 0], cell.start(2).double())
    assert torch.equal(empty, again)
    assert not torch.allclose(empty, carried)


@everyone
def test_gradients_of_scanning_equal_those_of_stepping(name: str) -> None:
    cell = built(name, 5, 7)
    values = torch.randn(3, 11, 5).double(), torch.randn(3, cell.state_size).double()
    towards = torch.randn(3, 11, 7).double()

    def gradients(run: Any) -> list[Tensor]:
        x, state = (value.clone().requires_grad_() for value in values)
        out, after = run(x, state)
        loss = (out * towards).sum() + (after**2).sum()
        return list(torch.autograd.grad(loss, [x, state, *cell.parameters()]))

    for fast, slow in zip(gradients(cell.scan), gradients(lambda *a: stepped(cell, *a)), strict=True):
        assert fast.isfinite().all()
        assert fast.abs().sum() > 0
        torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)


@everyone
@pytest.mark.parametrize("size", [1e3, -1e3, 1e6])
def test_outputs_and_gradients_are_finite_at_extremes(name: str, size: float) -> None:
    cell = built(name, 4, 8, double=False)
    x = (torch.randn(2, 30, 4) * size).requires_grad_()
    out, state = cell.scan(x, cell.start(2))
    (out.sum() + state.sum()).backward()
    assert out.isfinite().all()
    assert state.isfinite().all()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in cell.parameters())


@everyone
def test_the_empty_state_is_float32_zeros_with_a_row_a_stream(name: str) -> None:
    cell: Any = CELLS[name](3, 5)
    state = cell.start(4)
    assert state.shape == (4, cell.state_size)
    assert state.dtype == torch.float32
    assert not state.any()
    _, after = cell.scan(torch.randn(4, 6, 3), state)
    assert after.dtype == torch.float32


@everyone
def test_a_saved_copy_is_equal(name: str, tmp_path: Path) -> None:
    cell, other = built(name, 4, 6, double=False), CELLS[name](4, 6)
    assert isinstance(other, nn.Module)
    save_file(cell.state_dict(), tmp_path / "cell.safetensors")
    other.load_state_dict(load_file(tmp_path / "cell.safetensors"), strict=True)
    x = torch.randn(2, 9, 4)
    for mine, copied in zip(cell.scan(x, cell.start(2)), other.scan(x, other.start(2)), strict=True):
        assert torch.equal(mine, copied)


@everyone
def test_weight_drop_is_drawn_anew_each_scan_and_is_the_same_at_every_step(name: str) -> None:
    cell = built(name, 4, 16)
    if not hasattr(cell, "weights"):
        pytest.skip("no weight stands between one state and the next")
    x, state = torch.randn(2, 9, 4).double(), torch.randn(2, cell.state_size).double()
    whole, _ = cell.scan(x, state)
    first, _ = cell.scan(x, state, 0.5)
    second, _ = cell.scan(x, state, 0.5)
    assert torch.equal(cell.scan(x, state, 0.0)[0], whole)
    assert not torch.allclose(first, whole)
    assert not torch.allclose(first, second)
    # One mask for the whole scan: a scan with the same noise is the cell with those weights dropped.
    torch.manual_seed(11)
    dropped, _ = cell.scan(x, state, 0.5)
    torch.manual_seed(11)
    mask = nn.functional.dropout(torch.ones_like(cell.weights.recurrent), 0.5)
    with torch.no_grad():
        cell.weights.recurrent.mul_(mask)
    torch.testing.assert_close(dropped, stepped(cell, x, state)[0], rtol=1e-12, atol=1e-12)


@everyone
@pytest.mark.parametrize("shape", SHAPES)
def test_a_cell_computes_what_torch_s_own_layer_does(name: str, shape: tuple[int, int, int, int]) -> None:
    if name not in REFERENCES:
        pytest.skip("torch has no layer of this kind")
    rows, times, inputs, width = shape
    cell, layer = built(name, inputs, width), REFERENCES[name](inputs, width, batch_first=True).double()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(cell.weights.input)
        layer.weight_hh_l0.copy_(cell.weights.recurrent)
        layer.bias_ih_l0.copy_(cell.weights.input_bias)
        layer.bias_hh_l0.copy_(cell.weights.recurrent_bias)
    x, state = torch.randn(rows, times, inputs).double(), torch.randn(rows, cell.state_size).double()
    given = tuple(part.contiguous()[None] for part in state.split(width, dim=1))
    expected, last = layer(x, given if name == "lstm" else given[0])
    for run in (cell.scan, lambda *a: stepped(cell, *a)):
        out, after = run(x, state)
        torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
        ends = torch.cat([part[0] for part in last], 1) if name == "lstm" else last[0]
        torch.testing.assert_close(after, ends, rtol=1e-12, atol=1e-12)


@everyone
def test_a_new_cell_is_drawn_from_the_seed_and_small_enough_to_begin_with(name: str) -> None:
    def drawn(seed: int) -> list[Tensor]:
        torch.manual_seed(seed)
        return list(CELLS[name](16, 64).parameters())  # type: ignore[attr-defined]

    first, again, other = drawn(1), drawn(1), drawn(2)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(first, again, strict=True))
    assert not all(torch.equal(mine, theirs) for mine, theirs in zip(first, other, strict=True))
    for matrix in (value for value in first if value.ndim == 2):
        assert 0.01 < matrix.abs().mean() < 0.3


def test_a_new_elman_cell_neither_swells_nor_fades_what_it_carries() -> None:
    recurrent = CELLS["rnn"](4, 6).weights.recurrent  # type: ignore[attr-defined]
    torch.testing.assert_close(recurrent @ recurrent.T, torch.eye(6), rtol=0, atol=1e-5)
