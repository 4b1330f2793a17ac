"""Judges a model on held-out data, and knows which run a model came from and what was found of it."""

from __future__ import annotations

import datetime
from pathlib import Path

from pydantic import Field

from bowerbird import __version__
from bowerbird.base.config import Config
from bowerbird.base.errors import NotFound, UsageError
from bowerbird.base.files import read_json, write_json, write_whole
from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.evaluate import compare, evaluate
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.image_evidence import ImageEvidence
from bowerbird.evaluation.page import html
from bowerbird.evaluation.report import Report, per_unit
from bowerbird.kinds.loaded import Model
from bowerbird.runs.run import Run
from bowerbird.workspace import Workspace


class JudgeConfig(Config):
    """How much is looked at in an evaluation."""

    samples: int | None = Field(None, ge=1)
    """What the model makes, to be looked at for copies and more; null is 32 texts or tunes, or 2,000 pictures."""
    length: int = Field(1000, ge=1)
    """Tokens of each sample; samples are drawn at temperature 1, the model's own distribution."""
    most_bytes: int = Field(1_000_000, ge=1000)
    """Held-out bytes read at most, in the order of the split."""


def judge(model: Model, dataset: Dataset, rival: Model | None, config: JudgeConfig, seed: int) -> Report:
    """Every metric on the test split (valid where test is empty), and a rival on the same units.

    Raises:
        UsageError: the seed is below 0, or nothing is held out.
    """
    if seed < 0:
        raise UsageError(f"--seed must be 0 or more, not {seed}")
    split = dataset.held_out()
    evidence = _evidence(model, dataset, split, config, seed)
    scores, baselines, passages = evaluate(evidence)
    comparison = None
    if rival is not None:
        other = _evidence(rival, dataset, split, config, seed)
        rival_scores, _, _ = evaluate(other, baselines=False)
        comparison = compare(scores, rival_scores, evidence.bits, other.bits, evidence.sizes, seed=seed)
    return Report(
        model=model.name,
        digest=model.digest,
        kind=model.kind.name,
        split=split,
        scores=scores,
        baselines=baselines,
        samples=evidence.samples,
        passages=passages,
        comparison=comparison,
        against=rival.name if rival else None,
        unit_bits=per_unit(evidence.bits, evidence.sizes),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        created_by=f"bowerbird {__version__}",
        dataset={"path": str(dataset.path), "digest": dataset.digest, "splits": dataset.info["splits"]},
    )


def write_report(report: Report, place: Path) -> None:
    """Write `place.json` and `place.html`; a suffix of either is left off first."""
    base = place.with_suffix("") if place.suffix in (".json", ".html") else place
    write_json(base.with_name(base.name + ".json"), report.to_json())
    write_whole(base.with_name(base.name + ".html"), html(report).encode())


def report_place(model: Model | str | Path) -> Path | None:
    """Where a report goes unless told: into the run, if the model was named by its run."""
    if isinstance(model, str | Path):
        return Path(model) / "report" if (Path(model) / "run.json").exists() else None
    run = run_of(model.bundle.path)
    return run.path / "report" if run else None


def run_of(bundle: Path) -> Run | None:
    """The run that a checkpoint's bundle lies in."""
    folder = bundle.parent.parent.parent
    return Run.open(folder) if (folder / "run.json").exists() else None


def own_dataset(model: Model, workspace: Workspace) -> Dataset:
    """The dataset a model learnt from, found by its digest.

    Raises:
        NotFound: nobody here knows where it is.
    """
    digest = model.bundle.manifest["lineage"].get("dataset")
    run = run_of(model.bundle.path)
    place = run.record["dataset"]["path"] if run else workspace.find_dataset(str(digest))
    if place is None or not Path(place).exists():
        raise NotFound(
            "the dataset this model learnt from is not known here",
            where=digest,
            hint="name it: --dataset DATASET",
        )
    return Dataset.open(place)


def known_scores(model: Model) -> dict[str, float]:
    """What is known of how good a model is: its run's report if it is of this bundle, else its validation."""
    run = run_of(model.bundle.path)
    if run is None:
        return {}
    report = run.path / "report.json"
    if report.exists():
        found = read_json(report, "report")
        if found.get("digest") == model.digest:
            return {score["name"]: score["value"] for score in found["scores"] if score["value"] is not None}
    if not (run.path / "best.json").exists():
        return {}
    return {f"valid_{name}": value for name, value in run.best()["scores"].items()}


def _evidence(
    model: Model, dataset: Dataset, split: str, config: JudgeConfig, seed: int
) -> Evidence | ImageEvidence:
    return model.kind.gather_evidence(
        model,
        dataset,
        split=split,
        seed=seed,
        samples=config.samples or model.kind.judged_samples,
        length=config.length,
        most_bytes=config.most_bytes,
    )
