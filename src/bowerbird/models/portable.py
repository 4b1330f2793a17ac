"""Networks as plain functions of tensors, in operations that every format has: nothing is searched, sorted or cut.

B rows, V tokens, D width, R = K - 1 tokens read last with n-grams of K, W window of the cache, S = W + 1.
`RNN.step` finds n-grams by 64-bit keys and lists the matches of the past. Here the same tables are a tree whose
numbers fit into 32 bits, and every place of the past is looked at; so all shapes but the batch's are fixed.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.models.cache import LONGEST, SURPRISE, CacheConfig
from bowerbird.models.cells.cell import Cell
from bowerbird.models.gan import Generator
from bowerbird.models.kneser_ney import Level, levels
from bowerbird.models.ngrams import START, NGrams
from bowerbird.models.rnn import RNN

Part = TypeVar("Part", bound=nn.Module)


class PortableRNN(nn.Module):
    """One step: `forward(tokens, *states)` gives `(logits, *next_states)`, as `RNN.step` out of training does.

    It is a copy, on the processor. Modules have the names they have in `RNN`; what n-grams and cache learnt are
    the buffers `gates_weight`, `gates_bias`, `by_known`, `cache_by_length` and `cache_gate`.
    """

    bias: Tensor
    output: Tensor
    gates_weight: Tensor
    gates_bias: Tensor
    by_known: Tensor
    cache_by_length: Tensor
    cache_gate: Tensor

    def __init__(self, network: RNN):
        super().__init__()
        self.residual, self.tied = network.config.residual, network.config.tied
        self.embedding = _copied(network.embedding)
        self.widen = _copied(network.widen)
        self.cells = _copied(network.cells)
        self.norms = _copied(network.norms)
        self.narrow = _copied(network.narrow)
        self._keep("bias", network.bias)
        if not self.tied:
            self._keep("output", network.output)
        self.tables: Trie | None = None
        if network.ngrams is not None:
            self.tables = Trie.of(network.ngrams)
            self._keep("gates_weight", network.ngrams.gates.weight)
            self._keep("gates_bias", network.ngrams.gates.bias)
            self._keep("by_known", network.ngrams.by_known)
        self.cache: CacheConfig | None = None
        if network.cache is not None:
            self.cache = network.cache.config
            self._keep("cache_by_length", network.cache.by_length)
            self._keep("cache_gate", network.cache.gate)
        self.eval()

    def _keep(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.detach().to("cpu", copy=True))

    def forward(self, tokens_B: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        x = self.widen(self.embedding(tokens_B))
        after = []
        for cell, norm, before in zip(self.cells, self.norms, states, strict=False):
            out, next_state = cast(Cell, cell).step(norm(x), before)
            x = x + out if self.residual else out
            after.append(next_state)
        x = self.norms[-1](x)
        weight = self.embedding.weight if self.tied else self.output
        logits = F.linear(self.narrow(x), weight, self.bias)
        pasts = states[len(self.cells) :]
        if self.tables is not None:
            newest = tokens_B[:, None].to(pasts[0].dtype)
            recent_BR = torch.cat([newest, pasts[0][:, :-1]], 1)
            logits = logits + self._counted(self.tables, x, recent_BR)
            after.append(recent_BR)
        if self.cache is not None:
            newest = (tokens_B[:, None] + 1).to(pasts[-1].dtype)
            stream_BS = torch.cat([pasts[-1], newest], 1)
            logits = self._recalled(self.cache, logits, x, stream_BS)
            after.append(stream_BS[:, 1:])
        return logits, *after

    def _counted(self, tables: Trie, x_BD: Tensor, recent_BR: Tensor) -> Tensor:
        """What n-grams add to the logits: (B, V), as `NGrams.forward` has it."""
        orders, matched_B = tables(recent_BR.to(torch.int32))
        gates = F.linear(x_BD, self.gates_weight, self.gates_bias) + self.by_known[matched_B]
        total = gates[:, :1] * orders[0]
        for index, log_BV in enumerate(orders[1:], 1):
            total = total + gates[:, index : index + 1] * log_BV
        return cast(Tensor, total)

    def _recalled(self, config: CacheConfig, logits_BV: Tensor, x_BD: Tensor, stream_BS: Tensor) -> Tensor:
        """The logits with the stream's own past weighed in, as `Cache.forward` has it."""
        window, shortest = config.window, config.shortest
        padded = F.pad(stream_BS, (LONGEST - 1, 0))
        newest = padded[:, window:]
        newest = torch.where(newest > 0, newest, -1.0)  # what was never read is like nothing
        same = padded[:, LONGEST - 1 : -1] == newest[:, -1:]
        length = same.to(x_BD.dtype)
        for back in range(1, LONGEST):
            before = LONGEST - 1 - back
            same = same & (padded[:, before : before + window] == newest[:, before : before + 1])
            length = length + same.to(x_BD.dtype)
        places = torch.arange(1, window + 2, dtype=x_BD.dtype)
        begun = torch.where(stream_BS == START + 1, places, 0.0).amax(1, keepdim=True)
        matches = (length >= shortest) & (places[:-1] >= begun)  # of this document only
        gate = (x_BD * self.cache_gate).sum(1, keepdim=True)
        weights = (self.cache_by_length[(length - shortest).clamp(min=0).to(torch.int32)] + gate).exp()
        weights = torch.where(matches, weights, 0.0)
        following = (stream_BS[:, 1:] - 1).clamp(min=0).long()
        gained = torch.zeros_like(logits_BV).scatter_add(1, following, weights)
        likely = logits_BV.logsumexp(1, keepdim=True) - logits_BV
        return logits_BV + torch.log1p(gained * likely.clamp(max=SURPRISE).exp())


class Trie(nn.Module):
    """Kneser-Ney tables of all orders as one tree. A node is a context; each child puts one older token before it.

    Node 0 is the empty context. Nodes are numbered level by level, the children of one by their tokens, so that
    child i is node i + 1; the last node stands for every context that was never seen, and leaves all to the order
    below. Buffers, of N nodes, C children and E entries, whole numbers as int32:

        child_first (N + 1), child_token (C + 1), child_node (C + 1)    the older token, and the node it leads to
        left (N)                                                        what a context leaves to the order below
        entry_first (N + 1), entry_token (E + 1), entry_share (E + 1)   what it gives to each token itself
        lowest (V)                                                      probabilities in the empty context

    Of child and entry the last is none: its token is V, its node the last one, its share 0.
    """

    child_first: Tensor
    child_token: Tensor
    child_node: Tensor
    left: Tensor
    entry_first: Tensor
    entry_token: Tensor
    entry_share: Tensor
    lowest: Tensor

    def __init__(self, buffers: Mapping[str, NDArray[Any]], children: Sequence[int], entries: Sequence[int]):
        super().__init__()
        self.children, self.entries = tuple(children), tuple(entries)
        """The most of one node: children at each depth from 0, entries at each from 1."""
        self.vocab_size = len(buffers["lowest"])
        for name, value in buffers.items():
            self.register_buffer(name, torch.from_numpy(value))

    @classmethod
    def of(cls, ngrams: NGrams) -> Trie:
        """The tables of all that was counted."""
        return cls(*_grown(levels(*ngrams.counted(), ngrams.order, ngrams.vocab_size), ngrams.vocab_size))

    def forward(self, recent_BR: Tensor) -> tuple[list[Tensor], Tensor]:
        """For each order from 2 up log-probabilities of the next token (B, V), and how many know the context (B,).

        `recent_BR` holds the tokens read last, the newest first, as int32.
        """
        nowhere = len(self.left) - 1
        node_B = torch.zeros_like(recent_BR[:, 0])
        inside = torch.ones_like(node_B, dtype=torch.bool)
        matched_B = torch.ones_like(node_B)
        found = F.pad(self.lowest, (0, 1))  # one column more, for entries that are none
        orders = []
        for depth, (children, entries) in enumerate(zip(self.children, self.entries, strict=True)):
            token_B = torch.where(inside, recent_BR[:, depth], START)
            inside = inside & (token_B != START)
            node_B = self._child(node_B, token_B, children)
            found = self._applied(found, node_B, entries)
            orders.append(found[:, : self.vocab_size].log())
            if depth:  # as in `Tables`, contexts of one token always count as known
                matched_B = matched_B + (node_B != nowhere).to(torch.int32)
        return orders, matched_B

    def _child(self, node_B: Tensor, token_B: Tensor, most: int) -> Tensor:
        """The child with this token, or the last node."""
        none = len(self.child_token) - 1
        place = self.child_first[node_B][:, None] + torch.arange(most, dtype=torch.int32)
        place = torch.where(place < self.child_first[node_B + 1][:, None], place, none)
        found = torch.where(self.child_token[place] == token_B[:, None], place, none).amin(1)
        return found + 1

    def _applied(self, found: Tensor, node_B: Tensor, most: int) -> Tensor:
        """One order more: what the context leaves of the order below, and its own shares on top. (B, V + 1)."""
        none = len(self.entry_token) - 1
        place = self.entry_first[node_B][:, None] + torch.arange(most, dtype=torch.int32)
        place = torch.where(place < self.entry_first[node_B + 1][:, None], place, none)
        rest = found * self.left[node_B][:, None]
        return rest.scatter_add(1, self.entry_token[place].long(), self.entry_share[place])


class PortableGenerator(nn.Module):
    """`forward(latent)`, or `forward(latent, labels)` where there are classes, gives `(pictures,)`.

    A copy on the processor: (B, Z) float32, and (B,) class numbers or -1, to (B, C, R, R) in -1..1.
    """

    def __init__(self, generator: Generator):
        super().__init__()
        self.generator = _copied(generator).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        self.eval()

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        return (self.generator(*inputs),)


def _copied(part: Part) -> Part:
    return copy.deepcopy(part).cpu().requires_grad_(False)


def _grown(orders: Sequence[Level], vocab_size: int) -> tuple[dict[str, NDArray[Any]], list[int], list[int]]:
    """A trie's buffers, the most children of a node at each depth, and the most entries at each from 1."""
    root = orders[0]
    depths = [0]
    """At each depth the first node."""
    parents, tokens = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    left, sizes = [root.left if len(root.left) else np.ones(1)], [np.array([len(root.grams)])]
    symbols, shares = [root.grams % vocab_size], [root.share]
    keys, numbers = np.zeros(1, np.int64), np.zeros(1, np.int64)
    end = 1
    for depth, level in enumerate(orders[1:]):
        token, shorter = np.divmod(level.contexts, vocab_size**depth)
        parent = numbers[np.searchsorted(keys, shorter)]
        order = np.lexsort((token, parent))
        depths.append(end)
        keys, numbers = level.contexts, np.empty(len(order), np.int64)
        numbers[order] = np.arange(end, end + len(order))
        end += len(order)
        size = np.diff(level.first)[order]
        entries = np.repeat(level.first[:-1][order] - (size.cumsum() - size), size) + np.arange(size.sum())
        parents.append(parent[order])
        tokens.append(token[order])
        left.append(level.left[order])
        sizes.append(size)
        symbols.append(level.grams[entries] % vocab_size)
        shares.append(level.share[entries])
    lowest = np.full(vocab_size, left[0][0] / vocab_size)
    lowest[symbols[0]] += shares[0]
    child_first = np.searchsorted(np.concatenate(parents), np.arange(end + 2))
    size = np.concatenate([*sizes, [0]])
    buffers = {
        "child_first": child_first.astype(np.int32),
        "child_token": np.append(np.concatenate(tokens), vocab_size).astype(np.int32),
        "child_node": np.arange(1, end + 1, dtype=np.int32),
        "left": np.append(np.concatenate(left), 1).astype(np.float32),
        "entry_first": np.append(0, size.cumsum()).astype(np.int32),
        "entry_token": np.append(np.concatenate(symbols), vocab_size).astype(np.int32),
        "entry_share": np.append(np.concatenate(shares), 0).astype(np.float32),
        "lowest": lowest.astype(np.float32),
    }
    families = np.diff(child_first)
    children = [families[low:high] for low, high in itertools.pairwise(depths)]
    return buffers, *([max(1, int(part.max(initial=0))) for part in parts] for parts in (children, sizes[1:]))
