"""The recurrent baseline: embedding, one `nn.LSTM`, output layer, as a first tutorial has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

EMBEDDING, WIDTH = 64, 384
State = tuple[Tensor, Tensor]


class PlainLSTM(nn.Module):
    tied = False

    def __init__(self, vocab_size: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, EMBEDDING)
        self.lstm = nn.LSTM(EMBEDDING, WIDTH, batch_first=True)
        self.output = nn.Linear(WIDTH, vocab_size)

    def start(self, rows: int) -> State:
        return torch.zeros(1, rows, WIDTH), torch.zeros(1, rows, WIDTH)

    def forward(self, tokens_BT: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, T, V) for the token after each, and the state after the last."""
        out, state = self.lstm(self.embedding(tokens_BT), state)
        return self.output(out), state
