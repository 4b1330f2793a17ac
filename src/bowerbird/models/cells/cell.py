"""What a cell is: one recurrence over time, its state an explicit argument and result.

B rows, T time, I inputs, D width, S state numbers a row. The state is (B, S) float32, whatever the
precision of the products, so that a row of it is all there is to keep of a stream.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Cell(Protocol):
    """`step` is the recurrence as the paper writes it; `scan` does the same for many steps, fast."""

    state_size: int

    def start(self, rows: int) -> Tensor:
        """The state before anything was read: (rows, S) zeros."""
        ...

    def step(self, x_BI: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        """One step: outputs (B, D) and the next state (B, S)."""
        ...

    def scan(self, x_BTI: Tensor, state_BS: Tensor, weight_drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """All steps: outputs (B, T, D) and the final state (B, S).

        `weight_drop` is the share of recurrent weights left out of this scan, the same ones at every
        step (DropConnect; Merity et al. 2017, arXiv:1708.02182, section 2).
        """
        ...


class RecurrentWeights(nn.Module):
    """The weights of a cell with `gates` products a step, laid out as torch's fused kernels want them."""

    def __init__(self, inputs: int, width: int, gates: int):
        super().__init__()
        bound = width**-0.5
        self.input = nn.Parameter(torch.empty(gates * width, inputs).uniform_(-bound, bound))
        self.recurrent = nn.Parameter(torch.empty(gates * width, width).uniform_(-bound, bound))
        self.input_bias = nn.Parameter(torch.empty(gates * width).uniform_(-bound, bound))
        self.recurrent_bias = nn.Parameter(torch.empty(gates * width).uniform_(-bound, bound))

    def flat(self, weight_drop: float) -> tuple[Tensor, ...]:
        """The four tensors in torch's order, some recurrent weights dropped."""
        recurrent = nn.functional.dropout(self.recurrent, weight_drop) if weight_drop else self.recurrent
        return self.input, recurrent, self.input_bias, self.recurrent_bias

    def products(self, x_BI: Tensor, h_BD: Tensor) -> tuple[Tensor, Tensor]:
        """What a step adds up: from the input and from the last output, each (B, gates * D)."""
        from_input = nn.functional.linear(x_BI, self.input, self.input_bias)
        return from_input, nn.functional.linear(h_BD, self.recurrent, self.recurrent_bias)
