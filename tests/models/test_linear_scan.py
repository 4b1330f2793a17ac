"""The fast scan is the slow one, in value and gradient; a foreign kernel is used only if it agrees."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from bowerbird.models.linear_scan import agrees, cuda_scan, linear_scan, naive_scan

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 5), (2, 65, 9)])
def test_the_fast_scan_is_the_slow_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(2)
    rows, _, width = shape
    given = [torch.rand(shape).double(), torch.randn(shape).double(), torch.randn(rows, width).double()]
    towards = torch.randn(shape).double()

    def results(scan: Any) -> list[Tensor]:
        leaves = [value.clone().requires_grad_() for value in given]
        found = scan(*leaves)
        return [found, *torch.autograd.grad((found * towards).sum() + (found[:, -1] ** 2).sum(), leaves)]

    for mine, theirs in zip(results(linear_scan), results(naive_scan), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    torch.manual_seed(3)
    a, b, h = (torch.rand(shape).double().requires_grad_() for shape in ((2, 5, 3), (2, 5, 3), (2, 3)))
    assert torch.autograd.gradcheck(linear_scan, (a, b, h))


def test_agreement_means_values_and_gradients() -> None:
    assert agrees(linear_scan, CPU)
    assert not agrees(lambda a, b, h: naive_scan(a, b, h) * 1.01, CPU)
    assert not agrees(lambda a, b, h: naive_scan(a.detach(), b, h) + 0 * a, CPU)

    def broken(a: Tensor, b: Tensor, h: Tensor) -> Tensor:
        raise RuntimeError("no kernel image")

    assert not agrees(broken, CPU)


@pytest.mark.parametrize("right", [True, False], ids=["agrees", "disagrees"])
def test_a_foreign_kernel_is_used_only_if_it_agrees(right: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library needs a GPU; what stands in for it here has its signature and its definition."""

    def fused_recurrent_hgrn(
        x: Tensor, g: Tensor, initial_state: Tensor, output_final_state: bool
    ) -> tuple[Tensor, Tensor]:
        found = naive_scan(g.exp(), x, initial_state)
        return (found if right else found.flip(1)), found[:, -1]

    for name in ("fla", "fla.ops", "fla.ops.hgrn"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(
        sys.modules["fla.ops.hgrn"], "fused_recurrent_hgrn", fused_recurrent_hgrn, raising=False
    )
    monkeypatch.setattr("bowerbird.models.linear_scan.torch.device", lambda _: CPU)
    cuda_scan.cache_clear()
    try:
        assert (cuda_scan() is not None) == right
    finally:
        cuda_scan.cache_clear()


def test_without_the_library_there_is_no_foreign_kernel() -> None:
    cuda_scan.cache_clear()
    assert cuda_scan() is None
