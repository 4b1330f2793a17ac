"""What differs between two models: settings, data, scores."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.loaded import Model
from bowerbird.runs.judging import own_dataset
from bowerbird.runs.lineage import Known
from bowerbird.workspace import Workspace


def difference(one: tuple[Model, Known], other: tuple[Model, Known], workspace: Workspace) -> dict[str, Any]:
    """What is not the same in two models, as JSON values.

    `models` tells which they are and whether they are `same`; `config` and `data` are `[{key, first, second}]`
    of what differs, with null where a side has no such key; `scores` is `[{name, first, second, change}]` of
    all that either has, `change` from the first to the second.
    """
    (first, known_first), (second, known_second) = one, other
    return {
        "models": [_told(first), _told(second)],
        "same": first.digest == second.digest,
        "config": _differing(_settings(first), _settings(second)),
        "data": _differing(_data(first, workspace), _data(second, workspace)),
        "scores": _scores(known_first.scores, known_second.scores),
    }


def _told(model: Model) -> dict[str, Any]:
    manifest = model.bundle.manifest
    told = {"model": model.name, "digest": model.digest, "kind": model.kind.name, "step": manifest["step"]}
    return {**told, "parent": manifest["lineage"].get("parent"), "parameters": model.parameters}


def _settings(model: Model) -> dict[str, Any]:
    return {"kind": model.kind.name, **flat(model.bundle.manifest["config"])}


def _data(model: Model, workspace: Workspace) -> dict[str, Any]:
    """What it learnt from: the digest, how it is written down, and its size where the dataset is still known."""
    manifest = model.bundle.manifest
    told: dict[str, Any] = {
        "dataset": manifest["lineage"].get("dataset"),
        "structure": model.structure,
        "codec": {"name": model.codec.name, "vocab_size": model.codec.vocab_size},
        "normaliser": manifest["normaliser"],
    }
    try:
        dataset: Dataset | None = own_dataset(model, workspace)
    except BowerbirdError:
        dataset = None
    if dataset is not None and dataset.digest == told["dataset"]:
        told |= {key: dataset.info[key] for key in ("items", "splits") if key in dataset.info}
    return flat(told)


def flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted key."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, Mapping):
            found |= flat(inner, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = inner
    return found


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    keys = dict.fromkeys([*first, *second])
    return [
        {"key": key, "first": first.get(key), "second": second.get(key)}
        for key in keys
        if first.get(key) != second.get(key)
    ]


def _scores(first: Mapping[str, float], second: Mapping[str, float]) -> list[dict[str, Any]]:
    rows = []
    for name in dict.fromkeys([*first, *second]):
        old, new = first.get(name), second.get(name)
        change = None if old is None or new is None else new - old
        rows.append({"name": name, "first": old, "second": new, "change": change})
    return rows
