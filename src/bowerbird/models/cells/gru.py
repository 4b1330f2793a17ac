"""Gated recurrent unit (Cho et al. 2014, arXiv:1406.1078), reset gate after the product as in cuDNN.

State (B, D): the output h. Gates in torch's order: reset, update, candidate.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bowerbird.models.cells.cell import RecurrentWeights


class GRU(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.state_size = width
        self.weights = RecurrentWeights(inputs, width, gates=3)

    def start(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.state_size, device=self.weights.input.device)

    def step(self, x_BI: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        from_input, from_output = self.weights.products(x_BI, state_BS)
        reset_x, update_x, candidate_x = from_input.chunk(3, dim=1)
        reset_h, update_h, candidate_h = from_output.chunk(3, dim=1)
        update = (update_x + update_h).sigmoid()
        candidate = (candidate_x + (reset_x + reset_h).sigmoid() * candidate_h).tanh()
        h = (1 - update) * candidate + update * state_BS
        return h, h

    def scan(self, x_BTI: Tensor, state_BS: Tensor, weight_drop: float = 0.0) -> tuple[Tensor, Tensor]:
        flat = self.weights.flat(weight_drop)
        out, h = torch.gru(x_BTI, state_BS[None], flat, True, 1, 0.0, self.training, False, True)
        return out, h[0]
