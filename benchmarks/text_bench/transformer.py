"""The transformer baseline: GPT-2's decoder (Radford et al. 2019) in the shape of nanoGPT's README for a CPU.

B rows, T time, V vocabulary, D width, H heads. Pre-norm blocks, learnt positions, output layer tied to the
embedding, no biases, no dropout. Written for this benchmark from the description.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

LAYERS, HEADS, WIDTH, CONTEXT = 4, 4, 128, 64


class Cache:
    """Keys and values of the positions read so far: (B, H, CONTEXT, D / H) a layer, `length` of them filled."""

    def __init__(self, rows: int):
        shape = (LAYERS, rows, HEADS, CONTEXT, WIDTH // HEADS)
        self.keys, self.values = torch.zeros(shape), torch.zeros(shape)
        self.length = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add a layer's new keys and values; returns those of all positions, the new ones included."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention = nn.LayerNorm(WIDTH, bias=False)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.mix = nn.Linear(WIDTH, WIDTH, bias=False)
        self.before_feed = nn.LayerNorm(WIDTH, bias=False)
        self.widen = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor, cache: Cache | None, layer: int) -> Tensor:
        rows, time, _ = x.shape
        split = self.query_key_value(self.before_attention(x)).view(rows, time, 3, HEADS, -1)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        # One new token may look at all there is; several are read only into an empty cache.
        alone = cache is not None and time == 1
        if cache is not None:
            keys, values = cache.extend(layer, keys, values)
        seen = F.scaled_dot_product_attention(queries, keys, values, is_causal=not alone)
        x = x + self.mix(seen.transpose(1, 2).reshape(rows, time, WIDTH))
        return x + self.narrow(F.gelu(self.widen(self.before_feed(x))))


class Transformer(nn.Module):
    tied = True

    def __init__(self, vocab_size: int):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                ends_block = name.endswith(("mix.weight", "narrow.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if ends_block else 0.02)

    def forward(self, tokens_BT: Tensor, cache: Cache | None = None) -> Tensor:
        """Logits (B, T, V) for the token after each. With a cache, `tokens_BT` go on from what it holds."""
        first = cache.length if cache else 0
        assert cache is None or tokens_BT.shape[1] == 1 or first == 0, "several tokens need an empty cache"
        x = self.embedding(tokens_BT) + self.positions.weight[first : first + tokens_BT.shape[1]]
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += tokens_BT.shape[1]
        return F.linear(self.norm(x), self.embedding.weight)


class CachedReader:
    """Reads one token a row at a time. When all positions are used, the newer half of the text is read again."""

    def __init__(self, network: Transformer, rows: int):
        self.network = network
        self.cache = Cache(rows)
        self._text = torch.zeros(rows, CONTEXT, dtype=torch.int64)

    @torch.inference_mode()
    def read(self, tokens_B: Tensor) -> Tensor:
        """Logits (B, V) for the token after these."""
        if self.cache.length < CONTEXT:
            self._text[:, self.cache.length] = tokens_B
            return self.network(tokens_B[:, None], self.cache)[:, -1]
        kept = CONTEXT // 2
        newest = torch.cat([self._text[:, 1 - kept :], tokens_B[:, None]], dim=1)
        self._text[:, :kept] = newest
        self.cache.length = 0
        return self.network(newest, self.cache)[:, -1]
