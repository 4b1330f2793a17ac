"""The recurrence h_t = a_t * h_(t-1) + b_t over a whole sequence, gradients included.

B rows, T time, D width. Three ways to the same numbers: `naive_scan` is the definition; `linear_scan` runs
the loop once forward and once backward with no graph in between (8 times faster at T 256, docs/log.md); on
CUDA a kernel of flash-linear-attention takes its place where that library is installed and agrees.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Scan = Callable[[Tensor, Tensor, Tensor], Tensor]


def naive_scan(a_BTD: Tensor, b_BTD: Tensor, h_BD: Tensor) -> Tensor:
    """The definition: all h, (B, T, D)."""
    found = []
    for a, b in zip(a_BTD.unbind(1), b_BTD.unbind(1), strict=True):
        h_BD = a * h_BD + b
        found.append(h_BD)
    return torch.stack(found, 1)


def linear_scan(a_BTD: Tensor, b_BTD: Tensor, h_BD: Tensor) -> Tensor:
    """All h, (B, T, D), as `naive_scan` gives them."""
    if a_BTD.device.type == "cuda" and (kernel := cuda_scan()) is not None:
        return kernel(a_BTD, b_BTD, h_BD)
    found: Tensor = _Loop.apply(a_BTD, b_BTD, h_BD)  # type: ignore[no-untyped-call]
    return found


class _Loop(torch.autograd.Function):
    """With g_t the gradient of the loss by h_t directly, q_t = g_t + a_(t+1) * q_(t+1) is the whole of it."""

    @staticmethod
    def forward(context: Any, a_BTD: Tensor, b_BTD: Tensor, h_BD: Tensor) -> Tensor:
        found_TBD = b_BTD.transpose(0, 1).clone(memory_format=torch.contiguous_format)
        last = h_BD
        for a, h in zip(a_BTD.unbind(1), found_TBD.unbind(0), strict=True):
            h.addcmul_(a, last)
            last = h
        found_BTD = found_TBD.transpose(0, 1)
        context.save_for_backward(a_BTD, found_BTD, h_BD)
        return found_BTD

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a_BTD, found_BTD, h_BD = context.saved_tensors
        whole_TBD = gradients[0].transpose(0, 1).clone(memory_format=torch.contiguous_format)
        factors, wholes = a_BTD.unbind(1), whole_TBD.unbind(0)
        for time in range(len(wholes) - 2, -1, -1):
            wholes[time].addcmul_(factors[time + 1], wholes[time + 1])
        whole_BTD = whole_TBD.transpose(0, 1)
        before_BTD = torch.cat([h_BD[:, None], found_BTD[:, :-1]], 1)
        return whole_BTD * before_BTD, whole_BTD, factors[0] * wholes[0]


@functools.cache
def cuda_scan() -> Scan | None:
    """The Triton scan of flash-linear-attention, where it is installed and gives what ours gives, or None.

    Its HGRN kernel computes h_t = exp(g_t) * h_(t-1) + x_t.
    """
    try:
        from fla.ops.hgrn import fused_recurrent_hgrn
    except ImportError:
        return None

    def scan(a_BTD: Tensor, b_BTD: Tensor, h_BD: Tensor) -> Tensor:
        logarithms = a_BTD.clamp_min(torch.finfo(torch.float32).tiny).log()
        found, _ = fused_recurrent_hgrn(b_BTD, logarithms, initial_state=h_BD, output_final_state=True)
        return found.to(b_BTD.dtype)  # type: ignore[no-any-return]

    return scan if agrees(scan, torch.device("cuda")) else None


def agrees(scan: Scan, device: torch.device, tolerance: float = 1e-4) -> bool:
    """Whether a scan gives the values and gradients of `naive_scan`, on a small case. One that fails does not."""
    noise = torch.Generator().manual_seed(1)
    a, b, h, towards = (
        torch.randn(shape, generator=noise).to(device)
        for shape in ((2, 37, 16), (2, 37, 16), (2, 16), (2, 37, 16))
    )

    def values(run: Scan) -> list[Tensor]:
        given = [part.detach().requires_grad_() for part in (a.sigmoid(), b, h)]
        found = run(given[0], given[1], given[2])
        return [found.detach(), *torch.autograd.grad((found * towards).sum(), given)]

    try:
        pairs = list(zip(values(scan), values(naive_scan), strict=True))
    except (RuntimeError, TypeError, ValueError):
        return False
    return all(torch.allclose(mine, theirs, rtol=tolerance, atol=tolerance) for mine, theirs in pairs)
