"""Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000).

State (B, 2D): the output h, then the memory c. Gates in torch's order: input, forget, candidate, output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bowerbird.models.cells.cell import RecurrentWeights


class LSTM(nn.Module):
    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.width = width
        self.state_size = 2 * width
        self.weights = RecurrentWeights(inputs, width, gates=4)

    def start(self, rows: int) -> Tensor:
        return torch.zeros(rows, self.state_size, device=self.weights.input.device)

    def step(self, x_BI: Tensor, state_BS: Tensor) -> tuple[Tensor, Tensor]:
        h, c = state_BS.chunk(2, dim=1)
        from_input, from_output = self.weights.products(x_BI, h)
        enter, forget, candidate, output = (from_input + from_output).chunk(4, dim=1)
        c = forget.sigmoid() * c + enter.sigmoid() * candidate.tanh()
        h = output.sigmoid() * c.tanh()
        return h, torch.cat([h, c], dim=1)

    def scan(self, x_BTI: Tensor, state_BS: Tensor, weight_drop: float = 0.0) -> tuple[Tensor, Tensor]:
        h, c = (part.contiguous()[None] for part in state_BS.chunk(2, dim=1))
        flat = self.weights.flat(weight_drop)
        out, h, c = torch.lstm(x_BTI, (h, c), flat, True, 1, 0.0, self.training, False, True)
        return out, torch.cat([h[0], c[0]], dim=1)
