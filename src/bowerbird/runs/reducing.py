"""What is published of a model: itself, or a bundle made of it in fewer bits or without what only training needs.

What fewer bits cost is measured as validations in training are, if the dataset is known here, and told in the
bundle:

    precision   weights: bfloat16, float16 or int8; loss: null, or measured (tokens read or pictures made), before
                and after, each scores by name
    lineage     as before, and made_of: the digest of the model it was made of
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from torch import Tensor

from bowerbird.base.errors import BowerbirdError
from bowerbird.kinds.kind import Validation
from bowerbird.kinds.loaded import Model
from bowerbird.runs.judging import own_dataset
from bowerbird.store.bundle import write_bundle
from bowerbird.store.precision import FULL, PRECISIONS, narrowed, widened
from bowerbird.workspace import Workspace

LOST = "_lost"
"""Ends the name of a score that tells what fewer bits cost."""
_OWN = ("format", "files", "digest", "precision")
"""Keys of a manifest that are a bundle's own."""


@dataclass(frozen=True)
class Release:
    """What is published."""

    path: Path
    """The folder of its bundle."""
    digest: str
    scores: Mapping[str, float]


@contextmanager
def release(
    model: Model, precision: str | None, weights_only: bool, scores: Mapping[str, float], space: Workspace
) -> Iterator[Release]:
    """The model itself, of which `scores` are known; or a bundle made of it, which is there until the block ends.

    Raises:
        UnknownName: there is no such precision.
        DataError: a weight does not fit into it.
    """
    if precision is None and not weights_only:
        yield Release(model.bundle.path, model.digest, scores)
        return
    told = model.bundle.manifest.get("precision") or {}
    precision = precision or str(told.get("weights", FULL))
    PRECISIONS[precision]  # a wrong name is an error before any work
    stored = narrowed(model.bundle.weights(), precision)
    if precision == FULL:
        loss = None
    elif precision == told.get("weights"):
        loss = told.get("loss")
    else:
        loss = _loss(model, widened(stored), space)
    manifest = {key: value for key, value in model.bundle.manifest.items() if key not in _OWN}
    manifest["lineage"] = {**manifest["lineage"], "made_of": model.digest}
    if precision != FULL:
        manifest["precision"] = {"weights": precision, "loss": loss}
    with tempfile.TemporaryDirectory(prefix="bowerbird-publish-") as folder:
        written = write_bundle(
            Path(folder, "bundle"),
            manifest,
            weights=stored,
            partners={} if weights_only else model.bundle.partners(),
            codec_files=model.bundle.codec_files(),
            card=_card(model, precision, weights_only),
        )
        kept = scores if precision == FULL else _scores(loss)
        yield Release(Path(folder, "bundle"), written["digest"], kept)


def _loss(model: Model, weights: Mapping[str, Tensor], space: Workspace) -> dict[str, Any] | None:
    """What fewer bits cost on what training holds out; None where the dataset is not known."""
    try:
        dataset = own_dataset(model, space)
    except BowerbirdError:
        return None
    if dataset.digest != model.bundle.manifest["lineage"]["dataset"]:
        return None
    device = next(model.network.parameters()).device
    network = model.kind.build_network(model.bundle.manifest["config"]["model"], model.codec)
    network.load_state_dict(dict(weights), strict=True)
    most = model.kind.validation[1]
    before = model.kind.validate(model.network, dataset, most)
    after = model.kind.validate(network.to(device).eval(), dataset, most)
    return {
        "measured": after.tokens,
        "before": _headline(model, before),
        "after": _headline(model, after),
    }


def _headline(model: Model, found: Validation) -> dict[str, float]:
    """Bits, or else what decides in training."""
    named = {name: value for name, value in found.scores.items() if name.startswith("bits_per_")}
    named = named or {model.kind.measure: found.scores[model.kind.measure]}
    return {name: float(value) for name, value in named.items() if isfinite(value)}


def _scores(loss: Mapping[str, Any] | None) -> dict[str, float]:
    """The model's own scores are not those of one in fewer bits."""
    if loss is None:
        return {}
    before, after = loss["before"], loss["after"]
    lost = {f"valid_{name}{LOST}": after[name] - before[name] for name in after if name in before}
    return {**{f"valid_{name}": value for name, value in after.items()}, **lost}


def _card(model: Model, precision: str, weights_only: bool) -> str:
    path = model.bundle.path / "README.md"
    told = path.read_text(encoding="utf-8") if path.is_file() else ""
    without = "; what only training needs was left out" if weights_only else ""
    return f"{told}\nWeights kept as {precision}{without}. Made of {model.digest}.\n"
