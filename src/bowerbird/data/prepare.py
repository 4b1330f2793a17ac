"""From sources to a dataset: gather, clean, drop duplicates, split, learn the codec, encode."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.files import whole_folder
from bowerbird.data.cleaning import STEPS
from bowerbird.data.cleaning.step import Step, chain
from bowerbird.data.codecs import CodecConfig, learn_codec
from bowerbird.data.collect import Collection
from bowerbird.data.dataset import SPLITS, DatasetWriter
from bowerbird.data.ledger import refuse_unusable, summary, warnings
from bowerbird.data.media import MEDIA, Medium
from bowerbird.data.prepare_config import PrepareConfig, Progress
from bowerbird.data.prepare_images import prepare_images
from bowerbird.data.sources.gather import gather
from bowerbird.data.split import at_seams, cut_points, split_documents
from bowerbird.data.spool import Spool

__all__ = ["PrepareConfig", "Progress", "cleaner", "prepare"]

_MOST_NOTES = 20
_REPORT_EVERY = 100


def cleaner(config: PrepareConfig, medium: Medium = MEDIA["text"]) -> Step:
    """All cleaning steps that the settings leave on, in the order of their shelf; melodies go through none."""
    if not medium.clean:
        return chain([])
    built = (build(config.clean, config.normalise) for build in STEPS.values())
    return chain([step for step in built if step is not None])


def prepare(
    sources: Sequence[str],
    out: Path,
    config: PrepareConfig,
    *,
    kind: str = "text",
    skip_bad: bool = False,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Make a dataset folder at `out`, whole or not at all, and return what is in it.

    Items that cannot be used stand in `ledger.jsonl` with the reason, and the rest goes on. But a file
    named in `sources` itself must be usable, unless `skip_bad`.

    Raises:
        UnknownName: there is no such kind.
        NotFound: a source is not there.
        DataError: nothing usable is left, or a file named in `sources` cannot be used.
        Refused: `out` exists.
        StorageError: `out` cannot be written, or the disk is full.
        MissingExtra: what is asked for needs a package that is not installed.
    """
    medium = MEDIA[kind]
    notes: list[str] = []
    found = gather(
        sources,
        config.gather,
        lambda note: notes.append(note) if len(notes) < _MOST_NOTES else None,
        kind=kind,
    )
    named = () if skip_bad else [os.path.expanduser(source) for source in sources]
    tell = on_progress or (lambda stage, count: None)
    if kind == "image":
        return prepare_images(found, out, config, sources=sources, named=named, notes=notes, tell=tell)
    if config.codec.name == "auto":
        config = config.model_copy(update={"codec": config.codec.model_copy(update={"name": medium.codec})})
    similarity = config.clean.similarity if config.clean.near_duplicates else None
    with whole_folder(out) as folder:
        with Collection(folder, cleaner(config, medium), similarity, named, medium.essence) as collection:
            collection.take_all(found, tell)
            refuse_unusable(collection.ledger, len(collection.spool), sources, medium.noun)
            duplicates = collection.duplicates()
            tell("duplicates", len(duplicates))
            collection.ledger.finish(duplicates)
            kept = np.ones(len(collection.spool), np.bool_)
            kept[list(duplicates)] = False
            documents = np.flatnonzero(kept)
            writer = _encode(collection.spool, documents, config, folder, tell, medium)
            chat = bool(np.frombuffer(collection.chats, np.uint8)[documents].any())
        content = writer.finish(
            {
                "kind": kind,
                "structure": "chat" if chat else "plain",
                "normaliser": config.normalise.model_dump(mode="json"),
                "config": config.model_dump(mode="json"),
                "items": len(documents),
            }
        )
    told = summary(out, content, writer.codec.vocab_size, collection.ledger, len(duplicates))
    return {
        **told,
        "warnings": warnings(collection.ledger, told["splits"], config.split),
        "notes": [*notes, *_vocabulary_note(config.codec, writer.codec.vocab_size)],
    }


def _encode(
    spool: Spool,
    documents: NDArray[np.int64],
    config: PrepareConfig,
    folder: Path,
    tell: Progress,
    medium: Medium,
) -> DatasetWriter:
    """Learn the codec from the documents to learn from, and write all of them by split."""
    if len(documents) == 1:
        return _encode_parts(spool, int(documents[0]), config, folder, tell, medium.seam)
    sizes = np.frombuffer(spool.bytes, np.int64)[documents]
    splits = {
        split: documents[chosen].tolist()
        for split, chosen in split_documents(sizes, config.split, config.seed).items()
    }
    tell("codec", 0)
    codec = learn_codec(config.codec, lambda: (text for one in splits["train"] for text in spool.pieces(one)))
    done = 0
    with DatasetWriter(folder, codec) as writer:
        for split in SPLITS:
            for document in splits[split]:
                writer.add(split, spool.pieces(document))
                done += 1
                if done % _REPORT_EVERY == 0:
                    tell("encode", done)
    tell("encode", done)
    return writer


def _encode_parts(
    spool: Spool, document: int, config: PrepareConfig, folder: Path, tell: Progress, seam: str | None
) -> DatasetWriter:
    """One single document: contiguous parts in the order train, valid, test."""
    characters = spool.characters[document]
    parts = cut_points(characters, config.split)
    if seam is not None:
        parts = at_seams("".join(spool.pieces(document)), parts, seam)
    tell("codec", 0)
    codec = learn_codec(config.codec, lambda: spool.part(document, *parts["train"]))
    with DatasetWriter(folder, codec) as writer:
        for split, (start, stop) in parts.items():
            if stop > start:
                writer.add(split, spool.part(document, start, stop), whole=stop == characters)
    tell("encode", 1)
    return writer


def _vocabulary_note(wanted: CodecConfig, found: int) -> list[str]:
    """Said where a vocabulary was asked for that the text has not enough in it to fill."""
    if "vocab_size" not in wanted.model_fields_set or wanted.name == "bytes" or found >= wanted.vocab_size:
        return []
    return [f"the text supports {found:,} tokens, not the {wanted.vocab_size:,} asked for; so many are used"]
