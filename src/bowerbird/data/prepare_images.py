"""From pictures to a dataset: one size for all, duplicates left out, classes named, split by picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import DataError
from bowerbird.base.files import whole_folder
from bowerbird.data.classes import Classes, in_order
from bowerbird.data.codecs.pixels import MOST_CLASSES, Pixels
from bowerbird.data.dataset import SPLITS, DatasetWriter
from bowerbird.data.item import Item, Rejected
from bowerbird.data.ledger import refuse_unusable, summary, warnings
from bowerbird.data.picture_spool import PictureSpool
from bowerbird.data.prepare_config import PrepareConfig, Progress
from bowerbird.data.split import split_documents

FEW = 100
"""Fewer pictures than this teach a model little."""

_REPORT_EVERY = 100
_NAMED = 5


def prepare_images(
    found: Iterable[Item | Rejected],
    out: Path,
    config: PrepareConfig,
    *,
    sources: Sequence[str],
    named: Collection[str] = (),
    notes: Sequence[str] = (),
    tell: Progress = lambda stage, count: None,
) -> dict[str, Any]:
    """Make a dataset of pictures at `out`, whole or not at all, and return what is in it.

    `found` comes from `sources`; of the origins `named`, each must be usable. `notes` are read at the end.

    Raises:
        DataError: fewer than two different pictures can be used, or one of `named` cannot.
        Refused: `out` exists.
        StorageError: `out` cannot be written, or the disk is full.
    """
    with whole_folder(out) as folder:
        classes = Classes(sources)
        with PictureSpool(folder, config.image, classes, named) as spool:
            _take_all(spool, found, tell)
            ledger = spool.ledger
            refuse_unusable(ledger, len(spool), sources, "pictures")
            duplicates = spool.duplicates()
            tell("duplicates", len(duplicates))
            ledger.finish(duplicates)
            _refuse_one(len(spool), len(duplicates), config)
            kept = np.delete(np.arange(len(spool)), list(duplicates))
            labels = classes.of_all() if config.image.labels == "auto" else [None] * len(spool)
            counts = Counter(name for name in (labels[picture] for picture in kept.tolist()) if name)
            writer = _encode(spool, kept, labels, _names(counts), config, folder, tell)
            warned = _warnings(spool, len(kept), counts)
        names = writer.codec.describe()["classes"]
        content = writer.finish(
            {
                "kind": "image",
                "structure": "labelled" if names else "plain",
                "normaliser": config.normalise.model_dump(mode="json"),
                "config": config.model_dump(mode="json"),
                "items": len(kept),
            }
        )
    told = summary(out, content, writer.codec.vocab_size, ledger, len(duplicates))
    return {
        **told,
        "size": spool.size,
        "channels": content["codec"]["channels"],
        "classes": {name: counts[name] for name in names},
        "warnings": [*warnings(ledger, told["splits"], config.split, "pictures"), *warned],
        "notes": [*notes, *_notes(content["codec"], counts)],
    }


def _names(counts: Mapping[str, int]) -> list[str]:
    """The classes to learn, in order; none where there are not two."""
    if len(counts) > MOST_CLASSES:
        raise DataError(f"{len(counts)} classes are more than {MOST_CLASSES}", hint="--set image.labels=none")
    return in_order(set(counts)) if len(counts) > 1 else []


def _encode(
    spool: PictureSpool,
    kept: NDArray[np.int64],
    labels: Sequence[str | None],
    names: Sequence[str],
    config: PrepareConfig,
    folder: Path,
    tell: Progress,
) -> DatasetWriter:
    """Write the pictures that are kept, by split, with the numbers of their classes."""
    numbers: dict[str | None, int] = {name: number for number, name in enumerate(names)}
    pictures = spool.pictures()
    height, width, channels = pictures.shape[1:]
    chosen = split_documents(np.ones(len(kept), np.int64), config.split, config.seed)
    done = 0
    with DatasetWriter(folder, Pixels(height, width, channels, names)) as writer:
        for split in SPLITS:
            for picture in kept[chosen[split]].tolist():
                writer.add_picture(split, pictures[picture], numbers.get(labels[picture], -1))
                done += 1
                if done % _REPORT_EVERY == 0:
                    tell("encode", done)
    tell("encode", done)
    return writer


def _take_all(spool: PictureSpool, found: Iterable[Item | Rejected], tell: Progress) -> None:
    count = 0
    for count, item in enumerate(found, 1):
        spool.add(item)
        if count % _REPORT_EVERY == 0:
            tell("gather", count)
    spool.finish()
    tell("gather", count)


def _refuse_one(usable: int, duplicates: int, config: PrepareConfig) -> None:
    if usable == 1:
        raise DataError(
            f"one picture is not enough: at least 2 are needed, {FEW} or more for anything to learn"
        )
    if usable - duplicates < 2:
        near = config.image.near_duplicates
        raise DataError(
            f"all {usable} pictures are the same{' or nearly so' if near else ''}",
            hint=f"at least 2 that differ are needed, {FEW} or more for anything to learn",
        )


def _warnings(spool: PictureSpool, kept: int, counts: Mapping[str, int]) -> list[str]:
    told = []
    if kept < FEW:
        told.append(f"{kept} pictures are few: with fewer than {FEW} a model learns them by heart or nothing")
    alone = in_order({name for name, count in counts.items() if count < 2} if len(counts) > 1 else set())
    if alone:
        listed = ", ".join(alone[:_NAMED]) + (f" and {len(alone) - _NAMED} more" if alone[_NAMED:] else "")
        told.append(f"classes with only one picture: {listed}")
    median = float(np.median(spool.shorter_sides))
    if spool.size is not None and median * 1.5 < spool.size:
        told.append(f"most pictures are smaller than {spool.size} pixels, and were enlarged ({median:.0f})")
    return told


def _notes(codec: Mapping[str, Any], counts: Mapping[str, int]) -> list[str]:
    told = [f"pictures are {codec['width']} x {codec['height']} pixels in {codec['channels']} channels"]
    if len(counts) > 1:
        told.append(f"{len(counts)} classes of {min(counts.values())} to {max(counts.values())} pictures")
    elif counts:
        told.append("all pictures are of one class, so none is learnt")
    return told
