"""Makes a model's reference statistics from its dataset and its own samples, once, beside its bundle.

Held-out passages are cut as prompts are: a document's beginning, or that of a line within it; of chats one turn of
the user. None overlaps another, and each knows its document, for passages of one document are alike.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import BowerbirdError
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import DOCUMENT, plain, turns
from bowerbird.data.tune import Tune
from bowerbird.evaluation.copies import Search, search
from bowerbird.evaluation.melodies import tune as tune_of
from bowerbird.evaluation.melody_traits import cut_tune, melody_traits
from bowerbird.evaluation.metrics.novelty import SHORTEST
from bowerbird.evaluation.reference import (
    LADDER,
    PASSAGES,
    Measured,
    Reference,
    measured,
    read_reference,
    write_reference,
)
from bowerbird.evaluation.traits import Alphabet, Traits, cut, size, traits
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.surprise import surprises
from bowerbird.runs.judging import own_dataset
from bowerbird.store.beside import reference_of
from bowerbird.workspace import Workspace

_LEAST_SPACING = 128
"""Bytes from one passage to the next in a document, at least."""
_PIECE = 512
"""Bytes of a sample that stand for one output."""
_LABELS = 1_024
"""Of training pictures, as what should be asked for."""

log = logging.getLogger(__name__)

Passages = list[tuple[int, str]]
"""(number of its document, text)."""


def make_reference(model: Model, dataset: Dataset, samples: Any = ()) -> Reference:
    """The reference of a model.

    Args:
        dataset: of the model's kind, with something held out.
        samples: what the model made at temperature 1, texts or tunes as text; where there are none, the reference
            tells of prompts only. Of pictures none are needed: what was served is made again from its seed.

    Raises:
        UsageError: nothing is held out.
    """
    split = dataset.held_out()
    made = bool(len(samples))
    found = Reference(model.digest, model.kind.name, dataset.digest, split)
    if model.kind.name == "image":
        return replace(found, prompts=_asked(dataset))
    if model.kind.name == "melody":
        return replace(
            found,
            prompts=_tunes(_documents(dataset, split), model),
            outputs=_tunes(list(enumerate(samples)), None) if made else None,
        )
    alphabet = Alphabet.of(dataset.pieces("train"))
    return replace(
        found,
        prompts=measured_texts(_passages(dataset, split), alphabet, model=model),
        outputs=measured_texts(_pieces(samples), alphabet, training=dataset) if made else None,
        alphabet=alphabet.counts,
    )


def keep_reference(model: Model, dataset: Dataset, samples: Any = ()) -> None:
    """Write the reference of a model beside its bundle, if its dataset is the model's own or there is none yet.

    What stands in the way is logged, for it is not what was asked for: a folder that cannot be written to, or a
    dataset with nothing held out.
    """
    own = dataset.digest == model.bundle.manifest["lineage"].get("dataset")
    if not own and reference_of(model.bundle.path).exists():
        return
    try:
        write_reference(make_reference(model, dataset, samples), model.bundle.path)
    except BowerbirdError as error:
        log.info("no reference statistics of %s: %s", model.name, error)


def make_sure_of_reference(model: Model, workspace: Workspace) -> None:
    """Write the reference of a model that has none yet, where its dataset is known here."""
    if reference_of(model.bundle.path).exists():
        return
    try:
        dataset = own_dataset(model, workspace)
    except BowerbirdError as error:
        log.info("no reference statistics of %s: %s", model.name, error)
    else:
        keep_reference(model, dataset)


def lend_reference(model: Model, path: Path, digest: str) -> None:
    """Put a model's reference beside a bundle that was made of it, in fewer bits or without partners."""
    try:
        found = read_reference(model.bundle.path, model.digest) if digest != model.digest else None
        if found is not None:
            write_reference(replace(found, model=digest), path)
    except BowerbirdError as error:
        log.info("no reference statistics of %s: %s", model.name, error)


def novelties(texts: Sequence[str], training: Dataset) -> list[NDArray[np.bool_]]:
    """For each text, (characters,) whether the character stands in no stretch copied from the training text."""
    found = Search(list(texts), SHORTEST)
    search([found], training.pieces("train"))
    return [~flags for flags in found.covered()]


def measured_texts(
    passages: Passages, alphabet: Alphabet, *, model: Model | None = None, training: Dataset | None = None
) -> Measured:
    """Passages with their surprise to a model, where one is given, and their novelty beside a training text."""
    texts = [text for _, text in passages]
    sizes = [size(text) for text in texts]
    spent = surprises(model, texts) if model is not None else None
    new = novelties(texts, training) if training is not None else None

    def measure(item: int, length: int) -> Traits | None:
        if length > sizes[item]:
            return None
        part = cut(texts[item], length)
        found = dict(traits(part, alphabet))
        if spent is not None:
            found["surprise"] = spent[item].at(length)
        if new is not None:  # of the model's own making: its letters are those it was asked for
            found = {name: found[name] for name in ("repetition", "language")}
            found["novelty"] = float(new[item][: len(part)].mean()) if part else 1.0
        return found

    return measured(len(texts), [document for document, _ in passages], measure)


def _tunes(documents: Passages, model: Model | None) -> Measured:
    """Tunes by their first notes, with their surprise to a model where one is given."""
    read = [(number, text, found) for number, text in documents if (found := tune_of(text)) is not None]
    spent = surprises(model, [text for _, text, _ in read]) if model is not None else None

    def measure(item: int, length: int) -> Traits | None:
        found: Tune = read[item][2]
        if length > len(found.notes):
            return None
        told = dict(melody_traits(cut_tune(found, length)))
        if spent is not None:
            told["surprise"] = spent[item].at(length)
        return told

    return measured(len(read), [number for number, _, _ in read], measure)


def _asked(dataset: Dataset) -> Measured | None:
    """The classes of the training pictures, as what should be asked for; None where they have none."""
    names = cast(Any, dataset.codec).classes
    labels = dataset.labels("train")
    labels = labels[labels >= 0]
    if not len(names) or not len(labels):
        return None
    some = labels[np.linspace(0, len(labels) - 1, min(len(labels), _LABELS)).astype(int)]

    def measure(item: int, length: int) -> Traits:
        return {"class": str(names[some[item]])}

    return measured(len(some), range(len(some)), measure, ladder=(1,))


def _pieces(samples: Sequence[str]) -> Passages:
    """Samples in pieces, as outputs are no longer than they must be."""
    found = []
    for number, sample in enumerate(samples):
        left = sample
        while left:
            piece = cut(left, _PIECE) or left[:1]
            found.append((number, piece))
            left = left[len(piece) :]
    return found[:PASSAGES]


def _documents(dataset: Dataset, split: str) -> Passages:
    count = len(dataset.documents(split))
    chosen = np.unique(np.linspace(0, count - 1, min(count, PASSAGES)).astype(int)).tolist()
    return [(number, dataset.text(split, number)) for number in chosen]


def _passages(dataset: Dataset, split: str) -> Passages:
    """Held-out passages, evenly over the whole split, each of at most the ladder's greatest length."""
    found = _turns(dataset, split) if dataset.structure == "chat" else _stretches(dataset, split)
    return [(number, cut(text, LADDER[-1])) for number, text in found if text.strip()]


def _turns(dataset: Dataset, split: str) -> Iterator[tuple[int, str]]:
    """Turns of the user: one of each chat, or as many as it takes where chats are few."""
    documents = _documents(dataset, split)
    each = -(-PASSAGES // max(len(documents), 1))
    for number, text in documents:
        said = [words for role, words in turns(text) if role == "user" and words.strip()]
        if said:
            first = number % len(said)  # not always the greeting
            for words in (said[first:] + said[:first])[:each]:
                yield number, plain(words)


def _stretches(dataset: Dataset, split: str) -> Iterator[tuple[int, str]]:
    table, tokens = dataset.documents(split), dataset.tokens(split)
    sizes, total = table[:, 2], int(table[:, 2].sum())
    spacing = float(np.clip(total / PASSAGES, _LEAST_SPACING, LADDER[-1]))
    counts = np.maximum((sizes / spacing).astype(np.int64), 1)
    ends = counts.cumsum()
    chosen = np.unique(np.linspace(0, ends[-1] - 1, PASSAGES).astype(np.int64))
    for place in chosen.tolist():
        number = int(np.searchsorted(ends, place, side="right"))
        first, count = int(table[number, 0]) + 1, int(table[number, 1]) - 1
        part = place - int(ends[number] - counts[number])
        share = count / int(counts[number])
        start, end = first + int(part * share), first + int((part + 1) * share)
        end = min(end, start + 4 * LADDER[-1])  # tokens: in bytes at most a whole passage
        text = plain(dataset.codec.decode(tokens[start:end])).replace(DOCUMENT, "")
        yield number, text if part == 0 else _from_a_start(text)


def _from_a_start(text: str) -> str:
    """Text that was cut anywhere, from the first line that begins in its first third, or else the first word."""
    third = text[: max(len(text) // 3, 1)]
    for mark in ("\n", ". ", " "):
        at = third.find(mark)
        if at >= 0:
            return text[at + len(mark) :].lstrip("\n")
    return text
