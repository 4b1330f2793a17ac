"""The simple recurrent network with a tanh (Elman 1990). State (B, D): the output h."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bowerbird.models.cells.cell import RecurrentWeights


class Elman(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.state_size = width
        self.weights = RecurrentWeights(inputs, width, gates=1)
        # An orthogonal recurrence neither swells nor fades what it carries (Saxe et al. 2013).
        nn.init.orthogonal_(self.weights.recurrent)

    def start(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.state_size, device=self.weights.input.device)

    def step(self, x_BI: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        from_input, from_output = self.weights.products(x_BI, state_BS)
        h = (from_input + from_output).tanh()
        return h, h

    def scan(self, x_BTI: Tensor, state_BS: Tensor, weight_drop: float = 0.0) -> tuple[Tensor, Tensor]:
        flat = self.weights.flat(weight_drop)
        out, h = torch.rnn_tanh(x_BTI, state_BS[None], flat, True, 1, 0.0, self.training, False, True)
        return out, h[0]
