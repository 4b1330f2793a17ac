"""Counted n-grams beside a recurrent network: what a table knows of the next token, the network need not learn.

The network adds to its logits, for each order, the log-probability a Kneser-Ney table gives, weighed by gates
it learns; so it spends its time on what the tables do not know. A table would be far too sure of the very
text it was counted on: in training each part of the text is read with tables counted on the other parts
(cross-fitting, as in stacking: Wolpert 1992, Neural Networks 5, 241-259).

B rows, T time, N = B x T positions, V tokens, K the highest order, F tables side by side (one a part).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.models.kneser_ney import Counts, Grams, Level, levels, looked_up, runs

START = 0
"""The token that begins a document. Nothing before it is looked at: it is as if more of it stood there."""
_MOST_KEYS = 1 << 62
_MOST_DENSE = 1 << 26
"""Numbers in the dense table of the lowest orders."""


def highest_order(vocab_size: int) -> int:
    """The longest n-grams whose keys fit into 64 bits, with room for a few tables side by side."""
    order = 1
    while (order + 1) * vocab_size ** (order + 1) < _MOST_KEYS:
        order += 1
    return order


def gram_keys(tokens: NDArray[Any], order: int, vocab_size: int) -> NDArray[np.int64]:
    """(tokens,) the gram that ends at each token of a stream of documents, each begun by `START`."""
    stream = np.asarray(tokens, np.int64)
    keys = np.zeros(len(stream), np.int64)
    inside = np.ones(len(stream), np.bool_)  # no document has begun between there and the newest token
    for back in range(order):
        earlier = np.full_like(stream, START)
        earlier[back:] = np.where(inside[back:], stream[: max(len(stream) - back, 0)], START)
        keys += earlier * vocab_size**back
        if back:
            inside &= earlier != START
    return keys


def count(keys: NDArray[np.int64]) -> tuple[Grams, Counts]:
    """Different grams, sorted, and how often each is there."""
    return runs(np.sort(keys))


def without(grams: Grams, counts: Counts, fewer: tuple[Grams, Counts]) -> tuple[Grams, Counts]:
    """The counts left when those of a part are taken out; what the part alone has is passed over."""
    left = np.maximum(counts - looked_up(*fewer, grams, 0), 0)
    return grams[left > 0], left[left > 0]


def together(one: tuple[Grams, Counts], other: tuple[Grams, Counts]) -> tuple[Grams, Counts]:
    """The counts of both."""
    grams = np.concatenate([one[0], other[0]])
    order = np.argsort(grams, kind="stable")
    found, times = runs(grams[order])
    counts = np.concatenate([one[1], other[1]])[order]
    return found, np.add.reduceat(counts, times.cumsum() - times) if len(found) else counts


class Tables:
    """F tables side by side, laid out to be looked up for many positions at once.

    `contexts` holds the contexts of all tables and orders above `dense`, as keys with table and order on
    top; a last entry stands for those that are nowhere.
    """

    def __init__(self, tables: Sequence[list[Level]], vocab_size: int):
        self.order, self.vocab_size, self.count = len(tables[0]), vocab_size, len(tables)
        small = self.count * vocab_size**2 <= _MOST_DENSE
        self.dense = min(2 if small else 1, self.order)
        self.base = torch.from_numpy(
            np.concatenate([_lowest(table, self.dense, vocab_size) for table in tables])
        )
        self.step = vocab_size ** (self.order - 1)
        keys, left, first, symbols, shares, end = [], [], [np.zeros(1, np.int64)], [], [], 0
        for number, table in enumerate(tables):
            for size in range(self.dense + 1, self.order + 1):
                level = table[size - 1]
                keys.append(level.contexts + (number * self.order + size - 1) * self.step)
                left.append(level.left)
                first.append(level.first[1:] + end)
                end += len(level.grams)
                symbols.append(level.grams % vocab_size)
                shares.append(level.share)
        self.contexts = torch.from_numpy(_joined(keys, np.int64))
        self.left = torch.from_numpy(_joined([*left, np.ones(1)], np.float32))
        self.first = torch.from_numpy(_joined([*first, np.array([end])], np.int64))
        self.symbols = torch.from_numpy(_joined(symbols, np.int32))
        self.shares = torch.from_numpy(_joined(shares, np.float32))

    def to(self, device: torch.device) -> Tables:
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                setattr(self, name, value.to(device))
        return self

    def log_probabilities(
        self, recent_NR: Tensor, numbers_N: Tensor | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """For each order from 2 up: log-probabilities of the next token (N, V), whether the context is known (N,).

        `recent_NR` holds the R = K - 1 tokens read last, the newest first; `numbers_N` which table to ask.
        """
        rows = len(recent_NR)
        recent = recent_NR.long()
        numbers = (
            torch.zeros(rows, dtype=torch.int64, device=recent.device) if numbers_N is None else numbers_N
        )
        lowest = numbers * self.vocab_size + recent[:, 0] if self.dense == 2 else numbers
        found_NV = self.base[lowest].float()
        known = torch.ones(rows, dtype=torch.bool, device=recent.device)
        key, place, inside = torch.zeros_like(numbers), 1, known
        last = len(self.contexts)
        for size in range(2, self.order + 1):
            token = torch.where(inside, recent[:, size - 2], START)
            inside = inside & (token != START)
            key = key + token * place
            place *= self.vocab_size
            if size > self.dense:
                wanted = key + (numbers * self.order + size - 1) * self.step
                at = torch.searchsorted(self.contexts, wanted).clamp_(max=max(last - 1, 0))
                known = self.contexts[at] == wanted if last else torch.zeros_like(known)
                self._apply(found_NV, torch.where(known, at, last))
            # Where bigrams are dense nobody looks whether they are known, so they always count as known.
            yield found_NV.log(), torch.ones_like(known) if size == 2 else known

    def _apply(self, found_NV: Tensor, at_N: Tensor) -> None:
        """One order more: what the context leaves of the order below, and its own shares on top."""
        begins = self.first[at_N]
        sizes = self.first[at_N + 1] - begins
        found_NV *= self.left[at_N][:, None]
        rows = torch.repeat_interleave(sizes)
        offsets = torch.arange(len(rows), device=rows.device) - (sizes.cumsum(0) - sizes)[rows]
        entries = begins[rows] + offsets
        found_NV.view(-1).index_add_(0, rows * self.vocab_size + self.symbols[entries], self.shares[entries])


class NGrams(nn.Module):
    """The counts that ship with a network, and the gates by which it trusts the tables made of them.

    Counts of two texts add up, and those of a part can be taken out again: all tables are made from them.
    """

    def __init__(self, order: int, vocab_size: int, width: int):
        super().__init__()
        self.order, self.vocab_size = order, vocab_size
        self.register_buffer("grams", torch.zeros(0, dtype=torch.int64))
        self.register_buffer("counts", torch.zeros(0, dtype=torch.int32))
        orders = order - 1
        self.gates = nn.Linear(width, orders)
        nn.init.zeros_(self.gates.weight)
        nn.init.zeros_(self.gates.bias)
        with torch.no_grad():
            self.gates.bias[-1] = 1.0  # an untrained network says what the highest order says
        self.by_known = nn.Parameter(torch.zeros(order, orders))
        self._tables: Tables | None = None
        self.register_load_state_dict_pre_hook(_fit_buffers)  # type: ignore[no-untyped-call]

    def start(self, rows: int) -> Tensor:
        """The tokens read last, before any was read: (rows, K - 1), the newest first."""
        return torch.full((rows, self.order - 1), float(START), device=self.gates.weight.device)

    def add(self, grams: Grams, counts: Counts) -> None:
        """Count more text."""
        found, sums = together(self.counted(), (grams, counts))
        device = self.gates.weight.device
        self.grams = torch.from_numpy(found).to(device)
        self.counts = torch.from_numpy(sums.astype(np.int32)).to(device)
        self._tables = None

    def counted(self) -> tuple[Grams, Counts]:
        """The grams of the highest order, sorted, and how often each was seen."""
        return self.grams.cpu().numpy(), self.counts.cpu().numpy().astype(np.int64)

    def tables(self, left_out: Sequence[tuple[Grams, Counts]] = ()) -> Tables:
        """The table of all that was counted; or one for each part left out, side by side."""
        if not left_out:
            if self._tables is None:
                self._tables = self._built([self.counted()])
            return self._tables
        return self._built([without(*self.counted(), part) for part in left_out])

    def _built(self, counted: Sequence[tuple[Grams, Counts]]) -> Tables:
        made = [levels(grams, counts, self.order, self.vocab_size) for grams, counts in counted]
        return Tables(made, self.vocab_size).to(self.gates.weight.device)

    def forward(self, x_BTD: Tensor, recent_BTR: Tensor, held: tuple[Tables, Tensor] | None = None) -> Tensor:
        """What is added to the logits: (B, T, V). `held` are other tables to ask, and which of them (B, T)."""
        tables, numbers = held or (self.tables(), None)
        shape = x_BTD.shape[:-1]
        recent = recent_BTR.flatten(0, -2)
        asked = tables.log_probabilities(recent, None if numbers is None else numbers.flatten())
        gates = self.gates(x_BTD).float().flatten(0, -2)
        orders = list(asked)
        matched = torch.stack([known for _, known in orders]).sum(0)
        gates = gates + self.by_known[matched]
        total: Tensor | None = None
        for index, (log_NV, _) in enumerate(orders):
            weighed = gates[:, index, None] * log_NV
            total = weighed if total is None else total + weighed
        assert total is not None, "an order of 2 or more"
        return total.view(*shape, self.vocab_size)


def recent_tokens(tokens_BT: Tensor, before_BR: Tensor) -> tuple[Tensor, Tensor]:
    """After each token the R read last, the newest first (B, T, R), and those after the last token (B, R)."""
    size = before_BR.shape[1]
    stream = torch.cat([before_BR.flip(1), tokens_BT.to(before_BR.dtype)], 1)
    windows = stream.unfold(1, size, 1)[:, 1:].flip(2)
    return windows, windows[:, -1]


def _lowest(table: list[Level], dense: int, vocab_size: int) -> NDArray[np.float32]:
    """The lowest orders as a dense table: (1, V) of order 1, or (V, V) of order 2, a row a context."""
    level = table[0]
    row = np.full(vocab_size, 1 / vocab_size)
    if len(level.left):
        row *= level.left[0]
        row[level.grams] += level.share
    if dense == 1:
        return row[None].astype(np.float32)
    level = table[1]
    left = np.ones(vocab_size)
    left[level.contexts] = level.left
    rows: NDArray[np.float64] = left[:, None] * row[None]
    rows.reshape(-1)[level.grams] += level.share
    return rows.astype(np.float32)


def _joined(parts: Sequence[NDArray[Any]], kind: Any) -> NDArray[Any]:
    return np.concatenate(parts).astype(kind) if parts else np.zeros(0, kind)


def _fit_buffers(module: NGrams, state: dict[str, Any], prefix: str, *told: Any) -> None:
    """A saved table has its own size. One that is no table is refused with the other misfits."""
    errors: list[str] = told[-1]
    grams, counts = state.get(prefix + "grams"), state.get(prefix + "counts")
    if grams is None or counts is None:
        return  # named as missing by torch itself
    if not (
        grams.dtype == torch.int64
        and counts.dtype == torch.int32
        and grams.ndim == 1
        and grams.shape == counts.shape
        and bool((grams[1:] > grams[:-1]).all())
        and bool(((grams >= 0) & (grams < module.vocab_size**module.order)).all())
        and bool((counts > 0).all())
    ):
        errors.append(f"{prefix}grams and {prefix}counts are no table of {module.order}-grams")
    for name, saved in (("grams", grams), ("counts", counts)):
        setattr(module, name, torch.empty_like(saved, device=module.gates.weight.device))
    module._tables = None
