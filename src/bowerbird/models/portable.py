"""Networks as plain functions of tensors, in few operations and fixed shapes, for formats that know no others.

B rows, V tokens, D width, R = K - 1 tokens read last with n-grams of K, W window of the cache, S = W + 1.
`RNN.step` finds n-grams by 64-bit keys and lists the matches of the past. Here the same tables are a tree whose
numbers fit into 32 bits, and every place of the past is looked at; so all shapes but the batch's are fixed.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.models.cache import HEAVIEST, LONGEST, SURPRISE, CacheConfig
from bowerbird.models.cells.cell import Cell
from bowerbird.models.gan import Generator
from bowerbird.models.kneser_ney import Level, levels, runs
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
            self.tables = Trie(network.ngrams)
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
        newest_BL = padded[:, window:]
        newest_BL = torch.where(newest_BL > 0, newest_BL, -1.0)  # what was never read is like nothing
        earlier_BLW = torch.stack([padded[:, first : first + window] for first in range(LONGEST)], 1)
        unlike = torch.arange(LONGEST - 1, -1, -1, dtype=x_BD.dtype)[:, None]
        length = torch.where(earlier_BLW == newest_BL[:, :, None], float(LONGEST), unlike).amin(1)
        places = torch.arange(1, window + 2, dtype=x_BD.dtype)
        begun = torch.where(stream_BS == START + 1, places, 0.0).amax(1, keepdim=True)
        matches = (length >= shortest) & (places[:-1] >= begun)  # of this document only
        gate = (x_BD * self.cache_gate).sum(1, keepdim=True)
        weights = (self.cache_by_length[(length - shortest).clamp(min=0).to(torch.int32)] + gate).exp()
        weights = torch.where(matches, weights, 0.0)
        following = (stream_BS[:, 1:] - 1).clamp(min=0).long()
        gained = torch.zeros_like(logits_BV).scatter_add(1, following, weights).clamp(max=HEAVIEST)
        most = logits_BV.amax(1, keepdim=True)  # written out: as one operation some runtimes sum less exactly
        whole = (logits_BV - most).exp().sum(1, keepdim=True).log() + most
        likely = whole - logits_BV
        return logits_BV + torch.log1p(gained * likely.clamp(max=SURPRISE).exp())


class Trie(nn.Module):
    """Kneser-Ney tables of all orders as one tree. A node is a context; each child puts one older token before it.

    Node 0 is the empty context. Nodes are numbered level by level, the children of one by their tokens, so that
    child i is node i + 1; the last node stands for every context that was never seen, and leaves all to the order
    below. Buffers, of N nodes, C children and E entries, whole numbers as int32:

        child_first (N + 1), child_token (C + 1)                        the older token of each child
        left (N)                                                        what a context leaves to the order below
        entry_first (N + 1), entry_token (E + 1), entry_share (E + 1)   what it gives to each token itself
        lowest (V)                                                      probabilities in the empty context

    Of children and entries the last is none: its token is V, its share 0, and child C is the last node.
    """

    child_first: Tensor
    child_token: Tensor
    left: Tensor
    entry_first: Tensor
    entry_token: Tensor
    entry_share: Tensor
    lowest: Tensor

    def __init__(self, ngrams: NGrams):
        super().__init__()
        size = self.vocab_size = ngrams.vocab_size
        depths = _depths(levels(*ngrams.counted(), ngrams.order, size), size)
        self.most_children = [_most(runs(depth.parents)[1]) for depth in depths[1:]]
        """The most that a node has, at each depth from 0."""
        self.most_entries = [_most(depth.sizes) for depth in depths[1:]]
        """The most that a node has, at each depth from 1."""
        parents = np.concatenate([depth.parents for depth in depths])
        nodes = len(parents) + 2
        lowest = np.full(size, depths[0].left[0] / size)
        lowest[depths[0].entry_tokens] += depths[0].entry_shares
        ends = np.concatenate([depth.sizes for depth in depths]).cumsum()
        buffers = {
            "child_first": torch.from_numpy(np.searchsorted(parents, np.arange(nodes + 1)).astype(np.int32)),
            "child_token": _joined([depth.tokens for depth in depths], size, np.int32),
            "left": _joined([depth.left for depth in depths], 1, np.float32),
            "entry_first": _joined([[0], ends], ends[-1], np.int32),
            "entry_token": _joined([depth.entry_tokens for depth in depths], size, np.int32),
            "entry_share": _joined([depth.entry_shares for depth in depths], 0, np.float32),
            "lowest": torch.from_numpy(lowest.astype(np.float32)),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value)

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
        for depth, (children, entries) in enumerate(zip(self.most_children, self.most_entries, strict=True)):
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


@dataclass(frozen=True)
class _Depth:
    """The nodes of one depth in the order of their numbers, and the entries of each, one node's after another's."""

    parents: NDArray[np.int64]
    tokens: NDArray[np.int64]
    left: NDArray[np.float64]
    sizes: NDArray[np.int64]
    """Entries of each node."""
    entry_tokens: NDArray[np.int64]
    entry_shares: NDArray[np.float64]


def _depths(orders: Sequence[Level], vocab_size: int) -> list[_Depth]:
    """The tree, from the empty context on. Of a table of nothing that context leaves all to chance."""
    root, none = orders[0], np.zeros(0, np.int64)
    left = root.left if len(root.left) else np.ones(1)
    found = [_Depth(none, none, left, np.array([len(root.grams)]), root.grams, root.share)]
    keys, numbers = np.zeros(1, np.int64), np.zeros(1, np.int64)
    end = 1
    for depth, level in enumerate(orders[1:]):
        tokens, shorter = np.divmod(level.contexts, vocab_size**depth)
        parents = numbers[np.searchsorted(keys, shorter)]
        order = np.lexsort((tokens, parents))
        keys, numbers = level.contexts, np.empty_like(order)
        numbers[order] = end + np.arange(len(order))
        end += len(order)
        sizes = np.diff(level.first)[order]
        entries = np.repeat(level.first[:-1][order] - (sizes.cumsum() - sizes), sizes) + np.arange(
            sizes.sum()
        )
        found.append(
            _Depth(
                parents[order],
                tokens[order],
                level.left[order],
                sizes,
                level.grams[entries] % vocab_size,
                level.share[entries],
            )
        )
    return found


def _joined(parts: Iterable[ArrayLike], last: float, kind: Any) -> Tensor:
    return torch.from_numpy(np.append(np.concatenate([*parts]), last).astype(kind))


def _most(counts: NDArray[np.int64]) -> int:
    return max(1, int(counts.max(initial=0)))
