"""A recurrent network over tokens: embedding, a stack of cells, an output layer. Text and melody.

B rows, T time, V vocabulary, E embedding, D width, S state numbers of a cell. The state is a tuple with
one (B, S) float32 tensor a layer, then, with n-grams, one (B, K - 1) and, with a cache, one (B, W) of the
tokens read last. Dropout follows
Merity et al. 2017 (arXiv:1708.02182), section 4.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.base.config import Config
from bowerbird.models.cache import Cache, CacheConfig
from bowerbird.models.cells import CELLS
from bowerbird.models.cells.cell import Cell
from bowerbird.models.dropout import dropout
from bowerbird.models.ngrams import NGrams, Tables, highest_order, recent_tokens

State = tuple[Tensor, ...]


class RNNConfig(Config):
    """The shape of the network."""

    cell: str = "lstm"
    """A name on the shelf of cells."""
    width: int = Field(512, ge=1, le=16384)
    """Numbers a layer puts out."""
    layers: int = Field(1, ge=1, le=64)
    """Cells one above the other."""
    embedding: int | None = Field(None, ge=1)
    """Numbers a token's embedding has; None is as many as `width`."""
    tied: bool = False
    """The output layer reuses the embedding (Press & Wolf 2017, arXiv:1608.05859)."""
    residual: bool = False
    """Each layer adds to what it was given; the first layer's input is widened to fit."""
    norm: Literal["none", "layer", "rms"] = "none"
    """What each layer's input, and with it the output layer's, is normalised by."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Between layers."""
    output_dropout: float | None = Field(None, ge=0, lt=1)
    """Before the output layer; None is as `dropout`."""
    embedding_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of embedding numbers left out, whole tokens' inputs drawn afresh at each position."""
    weight_drop: float = Field(0.0, ge=0, lt=1)
    """Share of recurrent weights left out of a window."""
    ngrams: int | None = Field(None, ge=2, le=16)
    """Tokens in the longest n-gram counted; null counts none. Lower where 64 bits cannot hold as many."""
    cache: CacheConfig | None = None
    """Looks for what was just read in the stream's own past; null does not."""


class RNN(nn.Module):
    """`forward` reads windows, `step` one token a row; both take the state and give the next."""

    def __init__(self, config: RNNConfig, vocab_size: int):
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        size = config.embedding or config.width
        self.embedding = nn.Embedding(vocab_size, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5 if config.tied else 1.0)
        first = config.width if config.residual else size
        self.widen = nn.Linear(size, first, bias=False) if first != size else nn.Identity()
        inputs = [first] + [config.width] * (config.layers - 1)
        make = CELLS[config.cell]
        self.cells = nn.ModuleList(cast(nn.Module, make(count, config.width)) for count in inputs)
        self.norms = nn.ModuleList(_norm(config.norm, count) for count in [*inputs, config.width])
        narrow = config.tied and size != config.width
        self.narrow = nn.Linear(config.width, size, bias=False) if narrow else nn.Identity()
        self.bias = nn.Parameter(torch.zeros(vocab_size))
        if not config.tied:
            bound = config.width**-0.5
            self.output = nn.Parameter(torch.empty(vocab_size, config.width).uniform_(-bound, bound))
        self.ngrams: NGrams | None = None
        if config.ngrams is not None:
            self.ngrams = NGrams(min(config.ngrams, highest_order(vocab_size)), vocab_size, config.width)
            # Begin as the tables alone: the network then learns what they do not know.
            if not config.tied:
                nn.init.zeros_(self.output)
        self.cache = Cache(config.cache, vocab_size, config.width) if config.cache is not None else None

    def start(self, rows: int) -> State:
        """The state before any token: a tuple of (rows, S) zeros."""
        state = tuple(cast(Cell, cell).start(rows) for cell in self.cells)
        return (*state, *(part.start(rows) for part in (self.ngrams, self.cache) if part is not None))

    def forward(
        self, tokens_BT: Tensor, state: State, held: tuple[Tables, Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """Logits (B, T, V) for the token after each, and the state after the last.

        `held` are n-gram tables to ask instead of the network's own, and which of them at each place (B, T).
        """
        x = dropout(self.embedding(tokens_BT), self.config.embedding_dropout, self.training)
        x = self.widen(x)
        after = []
        for index, (cell, norm, before) in enumerate(zip(self.cells, self.norms, state, strict=False)):
            given = dropout(x, self.config.dropout, self.training) if index else x
            drop = self.config.weight_drop if self.training else 0.0
            out, next_state = cast(Cell, cell).scan(_normed(norm, given), before, drop)
            x = x + out if self.config.residual else out
            after.append(next_state)
        logits, pasts = self._logits(x, tokens_BT, state[len(self.cells) :], held)
        return logits, (*after, *pasts)

    def step(self, tokens_B: Tensor, state: State) -> tuple[Tensor, State]:
        """Logits (B, V) and the next state. Equal to `forward` over one token, without dropout."""
        x = self.widen(self.embedding(tokens_B))
        after = []
        for cell, norm, before in zip(self.cells, self.norms, state, strict=False):
            out, next_state = cast(Cell, cell).step(_normed(norm, x), before)
            x = x + out if self.config.residual else out
            after.append(next_state)
        logits, pasts = self._logits(x[:, None], tokens_B[:, None], state[len(self.cells) :])
        return logits[:, 0], (*after, *pasts)

    def _logits(
        self, x: Tensor, tokens_BT: Tensor, pasts: State, held: tuple[Tables, Tensor] | None = None
    ) -> tuple[Tensor, State]:
        """(B, T, V) from the top layer's (B, T, D), and what n-grams and cache remember after it."""
        config = self.config
        rate = config.dropout if config.output_dropout is None else config.output_dropout
        x = dropout(_normed(self.norms[-1], x), rate, self.training)
        weight = self.embedding.weight if config.tied else self.output
        logits = F.linear(self.narrow(x), weight, self.bias)
        after = []
        if self.ngrams is not None:
            recent_BTR, last_BR = recent_tokens(tokens_BT, pasts[0])
            logits = logits + self.ngrams(x, recent_BTR, held)
            after.append(last_BR)
        if self.cache is not None:
            logits, past_BW = self.cache(logits.float(), x, tokens_BT, pasts[-1])
            after.append(past_BW)
        return logits, tuple(after)


def _normed(norm: nn.Module, x: Tensor) -> Tensor:
    """Normalised in the precision of the norm's own weights, whatever the products around it are in."""
    return x if isinstance(norm, nn.Identity) else cast(Tensor, norm(x.to(cast(Tensor, norm.weight).dtype)))


def _norm(name: str, size: int) -> nn.Module:
    if name == "layer":
        return nn.LayerNorm(size)
    return nn.RMSNorm(size) if name == "rms" else nn.Identity()
