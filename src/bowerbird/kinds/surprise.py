"""How surprising content is to a model, as it reads it from the beginning: bits per byte of text, or per note.

T tokens of one text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.codecs.codec import FIRST_PIECE
from bowerbird.data.codecs.grammar import possible
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.markers import DOCUMENT, plain, turn
from bowerbird.evaluation.evidence import Floats
from bowerbird.learning.next_token import token_nats
from bowerbird.models.rnn import RNN

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model

ROWS = 64
"""Texts read side by side."""


class Spent:
    """What a model spends on one text, from its beginning to each of its tokens.

    Args:
        sizes: (T,) bytes or notes up to each token, with it.
        bits: (T,) bits spent up to there.
    """

    def __init__(self, sizes: Floats, bits: Floats):
        self.sizes = sizes
        self.bits = bits

    @property
    def size(self) -> float:
        """Bytes or notes in all."""
        return float(self.sizes[-1]) if len(self.sizes) else 0.0

    def at(self, length: float) -> float:
        """Bits per byte or note of the first so many; NaN of none."""
        at = min(int(np.searchsorted(self.sizes, length)), len(self.sizes) - 1)
        if at < 0 or self.sizes[at] <= 0:
            return float("nan")
        return float(self.bits[at] / self.sizes[at])


def surprises(model: Model, texts: Sequence[str]) -> list[Spent]:
    """What a model of text or melody spends on each text, each read as a prompt is: after nothing else.

    A chat model reads a text as its user's turn. Of a melody, texts are those of `Tune`. The markers that begin
    documents and turns are paid for by nobody.
    """
    sequences = [_tokens(model, text) for text in texts]
    order = sorted(range(len(sequences)), key=lambda at: len(sequences[at]))
    found: dict[int, Spent] = {}
    for start in range(0, len(order), ROWS):
        group = order[start : start + ROWS]
        some = [sequences[at] for at in group]
        masks = None
        if model.kind.name == "melody":
            masks = [possible(cast(Notes, model.codec), sequence) for sequence in some]
        nats = token_nats(cast(RNN, model.network), some, possible=masks)
        for at, sequence, own in zip(group, some, nats, strict=True):
            paid = np.where(sequence[1:] < FIRST_PIECE, 0.0, own / np.log(2))
            sizes = model.codec.byte_sizes[sequence[1:]]
            found[at] = Spent(sizes.cumsum().astype(np.float64), paid.cumsum())
    return [found[at] for at in range(len(texts))]


def _tokens(model: Model, text: str) -> NDArray[np.int64]:
    words = plain(text) if model.kind.name == "melody" else plain(model.normaliser(text))
    if model.structure == "chat":
        words = turn("user", words)
    return model.codec.encode(DOCUMENT + words).astype(np.int64)
