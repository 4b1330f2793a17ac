"""Dropout leaves out the share it should, keeps the mean, and follows torch's seed."""

from __future__ import annotations

import pytest
import torch

from bowerbird.models.dropout import dropout


@pytest.mark.parametrize("rate", [0.001, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_the_share_left_out_is_the_rate_to_a_256th_and_the_mean_stays(rate: float) -> None:
    torch.manual_seed(4)
    found = dropout(torch.ones(1001, 333), rate, True)
    share = float((found == 0).float().mean())
    assert share == pytest.approx(rate, abs=1 / 256 + 0.002)
    assert float(found.mean()) == pytest.approx(1.0, abs=0.07)
    assert len(found.unique()) == 2


def test_each_number_is_drawn_by_itself() -> None:
    torch.manual_seed(4)
    kept = (dropout(torch.ones(200_000), 0.5, True) > 0).float() - 0.5
    for apart in (1, 2, 7, 8, 64):
        assert abs(float((kept[apart:] * kept[:-apart]).mean())) < 0.003


def test_it_follows_the_seed_and_is_off_outside_training() -> None:
    x = torch.randn(7, 5)
    torch.manual_seed(1)
    first = dropout(x, 0.4, True)
    torch.manual_seed(1)
    assert torch.equal(dropout(x, 0.4, True), first)
    assert not torch.equal(dropout(x, 0.4, True), first)
    assert dropout(x, 0.4, False) is x
    assert dropout(x, 0.0, True) is x


def test_gradients_pass_where_numbers_do() -> None:
    x = torch.ones(50, requires_grad=True)
    found = dropout(x, 0.5, True)
    found.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, found.detach())
