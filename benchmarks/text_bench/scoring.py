"""What a model pays for the whole of the held-out text: every token once, markers of document ends included.

A document is a sequence of tokens that begins with the document marker, which is given, and ends with the
next document's, which is paid for. Bytes are those of the text itself: markers stand for none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import plain
from text_bench.plain_lstm import PlainLSTM
from text_bench.transformer import CONTEXT, Transformer

STRIDE = 16
"""Tokens that a sliding window moves on by."""
_WINDOWS = 128
_CHUNK = 2048
Sequence = NDArray[np.int64]


@dataclass(frozen=True)
class Paid:
    """Nats paid, for how many bytes and tokens."""

    nats: float = 0.0
    bytes: float = 0.0
    tokens: int = 0

    def __add__(self, other: Paid) -> Paid:
        return Paid(self.nats + other.nats, self.bytes + other.bytes, self.tokens + other.tokens)

    @property
    def bits_per_byte(self) -> float:
        return self.nats / math.log(2) / max(self.bytes, 1.0)


def held_out(dataset: Dataset) -> list[Sequence]:
    """The valid split's documents."""
    tokens = dataset.tokens("valid")
    documents = []
    for first, count, _, whole in dataset.documents("valid").tolist():
        document = np.asarray(tokens[first : first + count], np.int64)
        documents.append(np.append(document, DOCUMENT_TOKEN) if whole else document)
    return [document for document in documents if len(document) > 1]


def count_characters(dataset: Dataset, split: str) -> int:
    """Characters of a split's text, markers left out."""
    return sum(len(plain(piece)) for piece in dataset.pieces(split))


def scored_windows(length: int, context: int, stride: int) -> list[tuple[int, int, int]]:
    """(start, first, end) of windows over `length` positions: each scores its positions first to end - 1.

    A window reaches back `context` positions from its end where the document is that long.
    """
    ends = [*range(min(context, length), length, stride), length]
    firsts = [0, *ends[:-1]]
    return [(max(0, end - context), first, end) for first, end in zip(firsts, ends, strict=True)]


@torch.inference_mode()
def windows_paid(
    network: Transformer, documents: list[Sequence], byte_sizes: NDArray[np.float64], stride: int
) -> Paid:
    """What a transformer pays that sees at most `CONTEXT` tokens: blocks where the stride is the context."""
    network.eval()
    windows = [
        (document, *window)
        for document in documents
        for window in scored_windows(len(document) - 1, CONTEXT, stride)
    ]
    total = Paid()
    offsets = np.arange(CONTEXT)
    for at in range(0, len(windows), _WINDOWS):
        group = windows[at : at + _WINDOWS]
        places = [np.minimum(start + offsets, len(document) - 2) for document, start, _, _ in group]
        inputs = np.stack([document[place] for (document, *_), place in zip(group, places, strict=True)])
        targets = np.stack([document[place + 1] for (document, *_), place in zip(group, places, strict=True)])
        scored = np.stack(
            [(start + offsets >= first) & (start + offsets < end) for _, start, first, end in group]
        )
        logits = network(torch.from_numpy(inputs))
        nats = F.cross_entropy(
            logits.flatten(0, 1).float(), torch.from_numpy(targets).flatten(), reduction="none"
        )
        spent = nats.view(scored.shape).double().numpy()[scored].sum()
        total += Paid(float(spent), float(byte_sizes[targets[scored]].sum()), int(scored.sum()))
    return total


@torch.inference_mode()
def carried_paid(network: PlainLSTM, rows: list[Sequence], byte_sizes: NDArray[np.float64]) -> Paid:
    """What a recurrent network pays for sequences read side by side, each from the empty state."""
    network.eval()
    longest = max(len(row) for row in rows)
    table = np.zeros((len(rows), longest), np.int64)
    scored = np.zeros((len(rows), longest - 1), np.bool_)
    for index, row in enumerate(rows):
        table[index, : len(row)] = row
        scored[index, : len(row) - 1] = True
    state, nats = network.start(len(rows)), 0.0
    for at in range(0, longest - 1, _CHUNK):
        part = torch.from_numpy(np.ascontiguousarray(table[:, at : at + _CHUNK + 1]))
        logits, state = network(part[:, :-1], state)
        spent = F.cross_entropy(logits.flatten(0, 1).float(), part[:, 1:].flatten(), reduction="none")
        nats += float(spent.double().numpy()[scored[:, at : at + _CHUNK].flatten()].sum())
    return Paid(nats, float(byte_sizes[table[:, 1:][scored]].sum()), int(scored.sum()))


def transformer_scores(network: Transformer, dataset: Dataset) -> dict[str, Paid]:
    documents, sizes = held_out(dataset), dataset.codec.byte_sizes
    return {
        "blocks": windows_paid(network, documents, sizes, CONTEXT),
        "sliding": windows_paid(network, documents, sizes, STRIDE),
    }


def lstm_scores(network: PlainLSTM, dataset: Dataset) -> dict[str, Paid]:
    """From the empty state at each document, and carried from document to document as in its training."""
    documents, sizes = held_out(dataset), dataset.codec.byte_sizes
    stream = np.concatenate([*(document[:-1] for document in documents), documents[-1][-1:]])
    carried, fresh = carried_paid(network, [stream], sizes), Paid()
    documents.sort(key=len)
    for at in range(0, len(documents), 16):
        fresh += carried_paid(network, documents[at : at + 16], sizes)
    return {"fresh": fresh, "carried": carried}


def touched_bytes(network: torch.nn.Module) -> int:
    """Bytes of weights that one step reads whole: all parameters but embeddings, of which it reads a row.

    An embedding that is also the output layer is read whole.
    """
    tied = getattr(network, "tied", None)
    if tied is None:
        tied = getattr(getattr(network, "config", None), "tied", False)
    rows_only = {
        id(module.weight)
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Embedding) and not (tied and name == "embedding")
    }
    return sum(
        weight.numel() * weight.element_size()
        for weight in network.parameters()
        if id(weight) not in rows_only
    )


def multiplying_parameters(network: torch.nn.Module) -> int:
    """Parameters that take part in products: those a step reads whole."""
    return touched_bytes(network) // 4
