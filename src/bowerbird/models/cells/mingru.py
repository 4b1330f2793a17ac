"""Minimal gated recurrent unit (Feng et al. 2024, arXiv:2410.01201, section 3.1): gates see only the input.

So the whole sequence's gates are one product, and what is left to do in order is h_t = a_t * h_(t-1) + b_t.
State (B, D): the output h, float32 whatever the precision of the product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bowerbird.models.linear_scan import linear_scan

SLOWEST = 4.0
"""Update gates begin between half and sigmoid(-4): memories of 2 to 56 steps, spread over the units."""


class MinGRU(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.state_size = width
        bound = inputs**-0.5
        self.input = nn.Parameter(torch.empty(2 * width, inputs).uniform_(-bound, bound))
        self.input_bias = nn.Parameter(torch.cat([-torch.linspace(0, SLOWEST, width), torch.zeros(width)]))

    def start(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.state_size, device=self.input.device)

    def step(self, x_BI: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        keep, add = self._gates(x_BI, state_BS)
        h = keep * state_BS + add
        return h, h

    def scan(self, x_BTI: Tensor, state_BS: Tensor, weight_drop: float = 0.0) -> tuple[Tensor, Tensor]:
        """`weight_drop` changes nothing: no weight stands between one state and the next."""
        keep, add = self._gates(x_BTI, state_BS)
        h_BTD = linear_scan(keep, add, state_BS)
        return h_BTD, h_BTD[:, -1]

    def _gates(self, x: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        """What is kept of the state and what is added to it, in the state's precision."""
        products = nn.functional.linear(x, self.input, self.input_bias).to(state_BS.dtype)
        update, candidate = products.chunk(2, dim=-1)
        update = update.sigmoid()
        return 1 - update, update * candidate
