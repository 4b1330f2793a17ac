"""What a model learnt from, as far back as it is known: its own dataset, its parent's, and so on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from bowerbird.base.errors import BowerbirdError
from bowerbird.base.files import whole_folder
from bowerbird.data.codecs import same_codec
from bowerbird.data.dataset import Dataset, DatasetWriter
from bowerbird.data.markers import plain
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring.sieve import essence
from bowerbird.runs.lineage import published
from bowerbird.store.bundle import open_bundle
from bowerbird.workspace import Workspace


def learnt_from(model: Model, space: Workspace, named: Sequence[Path] = ()) -> list[Dataset]:
    """The datasets that a model and its parents learnt from, those named first, then the newest first.

    What is no longer where it was is left out.

    Raises:
        NotFound, CorruptFile: one that is named cannot be opened.
    """
    found = {dataset.digest: dataset for dataset in map(Dataset.open, named)}
    for digest in _digests(model, space):
        place = space.find_dataset(digest)
        if digest in found or place is None or not place.exists():
            continue
        try:
            dataset = Dataset.open(place)
        except BowerbirdError:  # it was changed or damaged since: no dataset of this model's
            continue
        if dataset.digest == digest:
            found[digest] = dataset
    return list(found.values())


def _digests(model: Model, space: Workspace) -> Iterator[str]:
    """Of the datasets of a model and of its parents, as long as these are published."""
    lineage, seen = model.bundle.manifest["lineage"], set()
    while True:
        if lineage.get("dataset"):
            yield str(lineage["dataset"])
        parent = lineage.get("parent")
        if not parent or parent in seen:
            return
        seen.add(parent)
        version = published(parent, space)
        if version is None:
            return
        lineage = open_bundle(space.registry.fetch(version)).manifest["lineage"]


def joined(datasets: Sequence[Dataset], model: Model, out: Path) -> Dataset:
    """One dataset of what there is to learn from in several, in the model's codec; it is made at `out` if need be."""
    [first, *others] = datasets
    if not others and same_codec(first.codec, model.codec):
        return first
    with whole_folder(out) as folder, DatasetWriter(folder, model.codec) as writer:
        for dataset in datasets:
            for index, row in enumerate(dataset.documents("train").tolist()):
                text = model.normaliser(dataset.text("train", index))
                writer.add("train", [text], whole=bool(row[3]))
        writer.finish(
            {
                "kind": first.kind,
                "structure": first.structure,
                "normaliser": model.normaliser.model_dump(),
                "from": [dataset.digest for dataset in datasets],
            }
        )
    return Dataset.open(out, verify=False)


def essences(datasets: Sequence[Dataset]) -> frozenset[bytes]:
    """Of every document in the datasets: what is new must not be what was learnt from, or held out, before."""
    return frozenset(
        essence(plain(dataset.text(split, index)))
        for dataset in datasets
        for split in ("train", "valid", "test")
        for index in range(int(dataset.info["splits"][split]["documents"]))
    )
