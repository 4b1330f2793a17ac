"""The spine: the life of a model, one function per stage, in order. All else calls these and adds nothing."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bowerbird import __version__
from bowerbird.base.config import Config, resolve
from bowerbird.base.errors import NotFound, UsageError
from bowerbird.base.files import read_json, write_json, write_whole
from bowerbird.base.journal import Record
from bowerbird.base.shelf import Shelf
from bowerbird.data.dataset import Dataset
from bowerbird.data.prepare import PrepareConfig
from bowerbird.data.prepare import prepare as prepare_text
from bowerbird.workspace import Workspace

# Stages that need torch import it when they are called: preparing and keeping do without.
if TYPE_CHECKING:
    from bowerbird.evaluation.evidence import Evidence
    from bowerbird.evaluation.report import Report
    from bowerbird.kinds.loaded import Model
    from bowerbird.runs.run import Run
    from bowerbird.store.registry.version import Version

Listener = Callable[[Record], None]
PREPARE = Shelf("kind", text=prepare_text)
DEFAULT_MINUTES = 3.0


class EvaluateConfig(Config):
    """How much is looked at in an evaluation."""

    samples: int = Field(32, ge=1)
    """Texts the model makes, to be looked at for copies and repetition."""
    length: int = Field(1000, ge=1)
    """Tokens of each sample; samples are drawn at temperature 1, the model's own distribution."""
    most_bytes: int = Field(1_000_000, ge=1)
    """Held-out bytes read at most, in the order of the split."""


def prepare(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    kind: str = "text",
    skip_bad: bool = False,
    seed: int | None = None,
    config: Path | None = None,
    settings: Iterable[str] = (),
    on_progress: Callable[[str, int], None] | None = None,
    workspace: Workspace | None = None,
) -> Dataset:
    """Gather, clean, split and encode sources into a dataset folder; `.summary` says what became of them.

    Args:
        sources: folders, files, globs, archives, or `demo:chat`, `demo:speeches`.
        out: the folder to make; it appears whole or not at all.
        kind: `text`.
        skip_bad: go on without named files that cannot be used.
        seed: of the split.
        config: a YAML file of settings.
        settings: `dotted.key=value` assignments; see `PrepareConfig`.
    """
    make = PREPARE[kind]
    named = [sources] if isinstance(sources, str | Path) else list(sources)
    if not named:
        raise UsageError("name at least one source", hint="bowerbird prepare poems/ --out datasets/poems")
    layer = {} if seed is None else {"seed": seed}
    wanted = resolve(PrepareConfig, layer, config_file=config, settings=settings, where="prepare")
    summary = make(
        [str(source) for source in named],
        Path(out),
        wanted,
        kind=kind,
        skip_bad=skip_bad,
        on_progress=on_progress,
    )
    dataset = replace(Dataset.open(out, verify=False), summary=summary)
    (workspace or Workspace()).remember_dataset(dataset.digest, dataset.path)
    return dataset


def train(
    dataset: Dataset | str | Path,
    out: str | Path,
    *,
    model: str = "lstm",
    size: str = "medium",
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    config: Path | None = None,
    settings: Iterable[str] = (),
    listener: Listener | None = None,
    started: float | None = None,
) -> Run:
    """Train a new model into a run folder; `.outcome` says how it went.

    Args:
        dataset: a dataset or its folder.
        out: the run folder to make.
        model: a cell: `lstm`, `gru` or `rnn`.
        size: `small`, `medium` or `large`; fills every setting that is not given.
        minutes: wall-clock time for everything, evaluation and saving included (default 3).
        steps: train this many steps instead; equal runs are then equal to the bit.
        listener: called with each record of the run's journal.
        started: when the time began to count, on `time.monotonic`.

    Raises:
        Interrupted: it was asked to stop; `resume` goes on.
    """
    from bowerbird.kinds import KINDS
    from bowerbird.runs.carry import begin, carry_on, check_budget

    check_budget(minutes, steps)
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    data = _dataset(dataset)
    kind = KINDS[data.kind]
    layers = [kind.recommend(data, model, size, minutes), {} if seed is None else {"seed": seed}]
    wanted = resolve(kind.run_config, *layers, config_file=config, settings=settings, where="train")
    run = begin(kind, data, Path(out), wanted, minutes=minutes, steps=steps)
    return replace(run, outcome=carry_on(run, started=started, listener=listener, dataset=data))


def resume(
    run: Run | str | Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    listener: Listener | None = None,
    started: float | None = None,
) -> Run:
    """Go on with a run from its newest checkpoint, to the end it was given, or for so much more.

    Without `minutes` or `steps` it becomes, to the bit, what it would have been without the stop.
    """
    from bowerbird.runs.carry import carry_on

    found = _run(run)
    return replace(
        found, outcome=carry_on(found, minutes=minutes, steps=steps, started=started, listener=listener)
    )


def finetune(
    model: Model | str | Path,
    dataset: Dataset | str | Path,
    out: str | Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    config: Path | None = None,
    settings: Iterable[str] = (),
    listener: Listener | None = None,
    started: float | None = None,
    workspace: Workspace | None = None,
) -> Run:
    """Train on from a model's weights with its own codec, at a lower rate. Its digest is kept as the parent.

    Symbols that the codec lacks are spelt in bytes and counted in the outcome's `unseen`. Settings of use:
    `freeze=[embedding]`, and `mix.dataset=FOLDER`, `mix.share=0.25` to read old data beside the new.
    """
    from bowerbird.runs.carry import carry_on, check_budget
    from bowerbird.runs.finetuning import adopt

    check_budget(minutes, steps)
    if minutes is None and steps is None:
        minutes = DEFAULT_MINUTES
    base = _model(model, workspace)
    data = _dataset(dataset)
    layer = {} if seed is None else {"seed": seed}
    run, adopted, unseen = adopt(
        base, data, Path(out), layer, config, tuple(settings), minutes=minutes, steps=steps
    )
    outcome = carry_on(run, started=started, listener=listener, dataset=adopted)
    return replace(run, outcome={**outcome, "parent": base.digest, "unseen": unseen})


def load(reference: str | Path, *, workspace: Workspace | None = None, device: str | None = None) -> Model:
    """The model that a reference names: a run or bundle folder, `name`, `name@3` or `name@live`."""
    from bowerbird.kinds.loaded import Model
    from bowerbird.store.bundle import open_bundle

    located = (workspace or Workspace()).resolve(str(reference))
    return Model(open_bundle(located.path), name=str(reference), device=device)


def evaluate(
    model: Model | str | Path,
    *,
    dataset: Dataset | str | Path | None = None,
    against: Model | str | Path | None = None,
    out: str | Path | None = None,
    seed: int = 1,
    config: Path | None = None,
    settings: Iterable[str] = (),
    workspace: Workspace | None = None,
) -> Report:
    """Judge a model on held-out data: the test split, or the valid split where test is empty.

    Args:
        dataset: what to judge on; by default the one the model learnt from, if it is still known.
        against: another model to judge on the same units.
        out: writes `out.json` and `out.html`; by default into the run, when the model is one.
    """
    from bowerbird.evaluation.evaluate import compare
    from bowerbird.evaluation.evaluate import evaluate as measure
    from bowerbird.evaluation.page import html
    from bowerbird.evaluation.report import Report, per_unit

    space = workspace or Workspace()
    wanted = resolve(EvaluateConfig, config_file=config, settings=settings, where="evaluate")
    judged = _model(model, space)
    data = _dataset(dataset) if dataset is not None else _own_dataset(judged, space)
    split = data.held_out()
    evidence = _evidence(judged, data, split, seed, wanted)
    scores, baselines, passages = measure(evidence)
    comparison = rival = None
    if against is not None:
        rival = _model(against, space)
        other = _evidence(rival, data, split, seed, wanted)
        rival_scores, _, _ = measure(other, baselines=False)
        comparison = compare(scores, rival_scores, evidence.bits, other.bits, evidence.sizes, seed=seed)
    report = Report(
        model=judged.name,
        digest=judged.digest,
        kind=judged.kind.name,
        split=split,
        scores=scores,
        baselines=baselines,
        samples=evidence.samples,
        passages=passages,
        comparison=comparison,
        against=rival.name if rival else None,
        unit_bits_per_byte=per_unit(evidence.bits, evidence.sizes),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        created_by=f"bowerbird {__version__}",
        dataset={"path": str(data.path), "digest": data.digest, "splits": data.info["splits"]},
    )
    base = Path(out) if out is not None else _report_place(model)
    if base is not None:
        base = base.with_suffix("") if base.suffix in (".json", ".html") else base
        write_json(base.with_name(base.name + ".json"), report.to_json())
        write_whole(base.with_name(base.name + ".html"), html(report).encode())
    return report


def publish(
    model: Model | str | Path,
    name: str,
    *,
    alias: str | None = None,
    why: str | None = None,
    workspace: Workspace | None = None,
) -> Version:
    """Copy a model, byte for byte, into the registry as the next version of a name."""
    space = workspace or Workspace()
    found = _model(model, space)
    parent = found.bundle.manifest["lineage"]["parent"]
    scores = _known_scores(found)
    run = _run_of(found.bundle.path)
    if run:
        space.remember_dataset(run.record["dataset"]["digest"], Path(run.record["dataset"]["path"]))
    return space.registry.publish(
        name, found.bundle.path, found.digest, scores=scores, parent=parent, alias=alias, why=why
    )


def versions(name: str | None = None, *, workspace: Workspace | None = None) -> list[Version]:
    """The versions of a name, or of every name."""
    return (workspace or Workspace()).registry.versions(name)


def promote(
    name: str,
    version: int,
    *,
    alias: str = "live",
    why: str | None = None,
    workspace: Workspace | None = None,
) -> Version:
    """Move an alias to a version."""
    return (workspace or Workspace()).registry.promote(name, version, alias=alias, why=why)


def rollback(
    name: str, *, alias: str = "live", why: str | None = None, workspace: Workspace | None = None
) -> Version:
    """Move an alias back to where it was before its last move."""
    return (workspace or Workspace()).registry.rollback(name, alias=alias, why=why)


def verify_resume(
    run: Run | str | Path, *, steps: int = 40, stops: int = 3, seed: int = 1
) -> Mapping[str, Any]:
    """Train with a run's settings once straight through and once with stops, and compare every tensor."""
    from bowerbird.runs.verify import verify

    return verify(_run(run), steps=steps, stops=stops, seed=seed)


def _dataset(dataset: Dataset | str | Path) -> Dataset:
    return dataset if isinstance(dataset, Dataset) else Dataset.open(dataset)


def _run(run: Run | str | Path) -> Run:
    from bowerbird.runs.run import Run

    return Run.open(Path(run)) if isinstance(run, str | Path) else run


def _model(model: Model | str | Path, workspace: Workspace | None) -> Model:
    return load(model, workspace=workspace) if isinstance(model, str | Path) else model


def _evidence(model: Model, dataset: Dataset, split: str, seed: int, wanted: EvaluateConfig) -> Evidence:
    return model.kind.gather_evidence(
        model,
        dataset,
        split=split,
        seed=seed,
        samples=wanted.samples,
        length=wanted.length,
        most_bytes=wanted.most_bytes,
    )


def _own_dataset(model: Model, workspace: Workspace) -> Dataset:
    """The dataset a model learnt from, found by its digest."""
    digest = model.bundle.manifest["lineage"]["dataset"]
    run = _run_of(model.bundle.path)
    place = run.record["dataset"]["path"] if run else workspace.find_dataset(digest)
    if place is None or not Path(place).exists():
        raise NotFound(
            "the dataset this model learnt from is not known here",
            where=digest,
            hint="name it: --dataset DATASET",
        )
    return Dataset.open(place)


def _run_of(bundle: Path) -> Run | None:
    """The run that a checkpoint's bundle lies in."""
    folder = bundle.parent.parent.parent
    return _run(folder) if (folder / "run.json").exists() else None


def _report_place(model: Model | str | Path) -> Path | None:
    """Where a report goes unless told: into the run, if the model was named by its run."""
    if isinstance(model, str | Path):
        return Path(model) / "report" if (Path(model) / "run.json").exists() else None
    run = _run_of(model.bundle.path)
    return run.path / "report" if run else None


def _known_scores(model: Model) -> dict[str, float]:
    """What is known of how good a model is: its run's report if it is of this bundle, else its validation."""
    run = _run_of(model.bundle.path)
    if run is None:
        return {}
    report = run.path / "report.json"
    if report.exists():
        found = read_json(report, "report")
        if found.get("digest") == model.digest:
            return {score["name"]: score["value"] for score in found["scores"] if score["value"] is not None}
    return {f"valid_{name}": value for name, value in run.best()["scores"].items()}
