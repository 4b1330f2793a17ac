"""Where a model comes from and what is known of it: data -> run -> bundle -> version -> parent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bowerbird.base.errors import BowerbirdError
from bowerbird.kinds.loaded import Model
from bowerbird.runs.judging import known_scores, run_of
from bowerbird.store.registry.version import Version
from bowerbird.workspace import Workspace


@dataclass(frozen=True)
class Known:
    """What is known of a model beside its bundle, whether it lies in its run or was published."""

    scores: Mapping[str, float]
    origin: Mapping[str, str]
    """Digests of the `dataset` and, where it is known, the `run` that it came from."""


def known(model: Model, workspace: Workspace, version: Version | None = None) -> Known:
    """What the model's run tells of it; else what was kept when it was published, as `version` or another."""
    told = model.bundle.manifest["lineage"]
    data = {"dataset": str(told["dataset"])} if told.get("dataset") else {}
    run = run_of(model.bundle.path)
    if run is not None:
        return Known(known_scores(model), {**data, "run": str(run.record["digest"])})
    version = version or published(model.digest, workspace)
    return Known(dict(version.scores), {**data, **version.origin}) if version else Known({}, data)


def published(digest: str, workspace: Workspace) -> Version | None:
    """The first version that has this digest, under any name; None if there is none, or none can be told."""
    try:
        return next((one for one in workspace.registry.versions() if one.digest == digest), None)
    except BowerbirdError:
        return None


def chain(model: Model, workspace: Workspace, version: Version | None = None) -> list[dict[str, Any]]:
    """What a model came from, step by step: `[{what, digest, name}]`, from its data to its oldest known parent.

    `what` is dataset, run, bundle, version, made_of (the model that this one is in fewer bits), and parent once for
    each; what is not known is left out. `name` is a path or NAME@VERSION, or None where only the digest is known.
    """
    told, origin = model.bundle.manifest["lineage"], known(model, workspace, version).origin
    run = run_of(model.bundle.path)
    links = []
    if "dataset" in origin:
        links.append(_link("dataset", origin["dataset"], workspace.find_dataset(origin["dataset"])))
    if "run" in origin:
        links.append(_link("run", origin["run"], run.path if run else None))
    links.append(_link("bundle", model.digest, model.bundle.path))
    if version is not None:
        links.append(_link("version", version.digest, _named(version)))
    if told.get("made_of"):
        found = published(told["made_of"], workspace)
        links.append(_link("made_of", told["made_of"], _named(found) if found else None))
    parent, seen = told.get("parent"), {model.digest}
    while parent and parent not in seen:
        seen.add(parent)
        found = published(parent, workspace)
        links.append(_link("parent", parent, _named(found) if found else None))
        parent = found.parent if found else None
    return links


def _named(version: Version) -> str:
    return f"{version.name}@{version.version}"


def _link(what: str, digest: object, name: object) -> dict[str, Any]:
    return {"what": what, "digest": str(digest), "name": None if name is None else str(name)}
