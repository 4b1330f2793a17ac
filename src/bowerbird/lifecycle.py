"""The spine: the life of a model, one function per stage, in order. All else calls these and adds nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bowerbird.base.config import resolve
from bowerbird.base.errors import UsageError
from bowerbird.base.journal import Listener
from bowerbird.data.dataset import Dataset
from bowerbird.data.prepare import PrepareConfig
from bowerbird.data.prepare import prepare as make_dataset
from bowerbird.workspace import Workspace

# Stages that need torch import it when they are called: preparing and keeping do without.
if TYPE_CHECKING:
    from bowerbird.evaluation.report import Report
    from bowerbird.kinds.loaded import Model
    from bowerbird.runs.run import Run
    from bowerbird.store.bundle import Bundle
    from bowerbird.store.registry.version import Version
    from bowerbird.store.signing import Signed
    from bowerbird.sweeps.sweep import Sweep


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
        sources: folders, files, globs, archives, or `demo:chat`, `demo:speeches`, `demo:tunes`, `demo:chorales`,
            `demo:icons`.
        out: the folder to make; it appears whole or not at all.
        kind: `text`, `melody` or `image`.
        skip_bad: go on without named files that cannot be used.
        seed: of the split.
        config: a YAML file of settings.
        settings: `dotted.key=value` assignments; see `PrepareConfig`.
    """
    named = [sources] if isinstance(sources, str | Path) else list(sources)
    if not named:
        raise UsageError("name at least one source", hint="bowerbird prepare poems/ --out datasets/poems")
    layer = {} if seed is None else {"seed": seed}
    wanted = resolve(PrepareConfig, layer, config_file=config, settings=settings, where="prepare")
    summary = make_dataset(
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
    model: str | None = None,
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
        model: of texts and melodies a cell: `lstm` (the default), `gru`, `rnn` or `mingru`; of pictures `gan`.
        size: `small`, `medium` or `large`; fills every setting that is not given.
        minutes: wall-clock time for everything, evaluation and saving included (default 3).
        steps: train this many steps instead; equal runs are then equal to the bit.
        listener: called with each record of the run's journal.
        started: when the time began to count, on `time.monotonic`.

    Raises:
        Interrupted: it was asked to stop; `resume` goes on.
    """
    from bowerbird.kinds import KINDS
    from bowerbird.runs.carry import begin, check_budget, launch, settle

    minutes = check_budget(minutes, steps)
    data = _dataset(dataset)
    kind = KINDS[data.kind]
    wanted = settle(
        kind, data, model=model, size=size, minutes=minutes, seed=seed, config=config, settings=settings
    )
    run = begin(kind, data, Path(out), wanted, minutes=minutes, steps=steps)
    return replace(run, outcome=launch(run, started=started, listener=listener, dataset=data))


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


def sweep(
    dataset: Dataset | str | Path,
    out: str | Path,
    *,
    vary: Mapping[str, Any] | Iterable[str],
    trials: int | None = None,
    seeds: int = 1,
    prune: bool = True,
    model: str | None = None,
    size: str = "medium",
    minutes: float | None = None,
    steps: int | None = None,
    seed: int | None = None,
    config: Path | None = None,
    settings: Iterable[str] = (),
    listener: Listener | None = None,
) -> Sweep:
    """Train once for each point of what is varied, each a run in `out/trials`; called again, it goes on.

    Args:
        vary: by setting, or as `size` and `model.cell`: a list of values, or a range `(low, high)` or
            `(low, high, "log")`; or texts as `batch_size=16,32`. Lists alone are a grid, all else a search.
        trials: how many points to search.
        seeds: train each point with so many seeds and rank by the mean.
        prune: in a search, stop trials that are behind the median of those before.
        minutes: wall-clock time of each trial (default 3), or `steps` of each.
    """
    from bowerbird.kinds import KINDS
    from bowerbird.sweeps.plan import Plan
    from bowerbird.sweeps.sweep import conduct

    data = _dataset(dataset)
    model = next(iter(KINDS[data.kind].models)) if model is None else model
    shared: dict[str, Any] = {"model": model, "size": size, "seed": seed, "settings": tuple(settings)}
    shared |= {"minutes": minutes, "steps": steps, "seeds": seeds, "prune": prune, "file": config}
    return conduct(Plan.of(data, vary, trials, **shared), Path(out), listener)


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

    Symbols that the codec lacks are spelt in bytes and counted in the outcome's `unseen`; pictures are brought to
    the model's size, and those of classes it does not know are counted. Settings of use:
    `freeze=[embedding]`, and `mix.dataset=FOLDER`, `mix.share=0.25` to read old data beside the new.
    """
    from bowerbird.runs.carry import check_budget, launch
    from bowerbird.runs.finetuning import adopt

    minutes = check_budget(minutes, steps)
    base = _model(model, workspace)
    data = _dataset(dataset)
    layer = {} if seed is None else {"seed": seed}
    run, adopted, unseen = adopt(
        base, data, Path(out), layer, config, tuple(settings), minutes=minutes, steps=steps
    )
    made = adopted.path if adopted is not data else None
    outcome = launch(run, started=started, listener=listener, dataset=adopted, made=made)
    return replace(run, outcome={**outcome, "parent": base.digest, "unseen": unseen})


def load(
    reference: str | Path,
    *,
    workspace: Workspace | None = None,
    device: str | None = None,
    signed_by: str | Path | None = None,
) -> Model:
    """The model that a reference names: a run or bundle folder, `name`, `name@3` or `name@live`.

    With `signed_by`, a file of a public key, a model that its owner did not sign is `Refused` before it is read.
    """
    from bowerbird.kinds.loaded import Model
    from bowerbird.store.bundle import open_bundle
    from bowerbird.store.signing import verify as check

    path = (workspace or Workspace()).resolve(str(reference)).path
    if signed_by is not None:
        check(path, Path(signed_by))
    return Model(open_bundle(path), name=str(reference), device=device)


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

    What is normal for it is kept beside its bundle, for `monitor` to compare live traffic with.

    Args:
        dataset: what to judge on; by default the one the model learnt from, if it is still known.
        against: another model to judge on the same units.
        out: writes `out.json` and `out.html`; by default into the run, when the model is one.
    """
    from bowerbird.runs.judging import JudgeConfig, judge, own_dataset, report_place, write_report
    from bowerbird.runs.reference import keep_reference

    space = workspace or Workspace()
    wanted = resolve(JudgeConfig, config_file=config, settings=settings, where="evaluate")
    judged = _model(model, space)
    data = _dataset(dataset) if dataset is not None else own_dataset(judged, space)
    rival = _model(against, space) if against is not None else None
    report = judge(judged, data, rival, wanted, seed)
    keep_reference(judged, data, report.samples)
    place = Path(out) if out is not None else report_place(model)
    if place is not None:
        write_report(report, place)
    return report


def publish(
    model: Model | str | Path,
    name: str,
    *,
    alias: str | None = None,
    why: str | None = None,
    precision: str | None = None,
    weights_only: bool = False,
    workspace: Workspace | None = None,
) -> Version:
    """Copy a model, byte for byte, into the registry as the next version of a name.

    Args:
        alias: to point at it.
        why: for the log.
        precision: publish a bundle made of it whose weights are kept as `bfloat16`, `float16` or `int8`; what that
            costs is measured and told in it.
        weights_only: publish a bundle made of it without the networks that only training needs.
    """
    from bowerbird.runs.judging import run_of
    from bowerbird.runs.lineage import known
    from bowerbird.runs.reducing import release
    from bowerbird.runs.reference import lend_reference, make_sure_of_reference

    space = workspace or Workspace()
    found = _model(model, space)
    parent = found.bundle.manifest["lineage"].get("parent")
    about = known(found, space)
    run = run_of(found.bundle.path)
    if run:
        space.remember_dataset(run.record["dataset"]["digest"], Path(run.record["dataset"]["path"]))
    make_sure_of_reference(found, space)
    with release(found, precision, weights_only, about.scores, space) as ready:
        lend_reference(found, ready.path, ready.digest)
        told: dict[str, Any] = {"scores": ready.scores, "parent": parent, "origin": about.origin}
        return space.registry.publish(name, ready.path, ready.digest, **told, alias=alias, why=why)


def export(
    model: Model | str | Path,
    to: str,
    out: str | Path,
    *,
    optimizer: bool = True,
    workspace: Workspace | None = None,
) -> Mapping[str, Any]:
    """Write a model to a format of another library, if the file is proved to give what the model gives.

    Args:
        to: a name on the shelf of exporters: `safetensors`, `pth`, `onnx` and others.
        out: the file to write, or for `safetensors` the folder; `parity.json` beside it, or in it, is the proof.
        optimizer: keep what training would go on from, where the format can and the model is a run's.

    Raises:
        Refused: the place is taken, or the file does not give the same.
    """
    from bowerbird.kinds.exporting import exported
    from bowerbird.kinds.rebuilding import rebuilt
    from bowerbird.store.exporters import EXPORTERS
    from bowerbird.store.exporters.export import export as write

    exporter = EXPORTERS[to]
    found = _model(model, workspace)
    whole = replace(exported(found), rebuilt=partial(rebuilt, found))
    return write(exporter, whole if optimizer else replace(whole, optimizer=None), Path(out))


def versions(name: str | None = None, *, workspace: Workspace | None = None) -> list[Version]:
    """The versions of a name, or of every name."""
    return (workspace or Workspace()).registry.versions(name)


def history(name: str, *, workspace: Workspace | None = None) -> list[dict[str, Any]]:
    """The log of a name, oldest first: `when, who, action, alias, version, previous, why`."""
    return (workspace or Workspace()).registry.log(name)


def diff(
    model: Model | str | Path, other: Model | str | Path, *, workspace: Workspace | None = None
) -> dict[str, Any]:
    """What differs between two models: `models, same, config, data, scores`, as JSON values."""
    from bowerbird.runs.difference import difference
    from bowerbird.runs.lineage import known

    space = workspace or Workspace()
    one, two = (_model(side, space) for side in (model, other))
    return difference((one, known(one, space)), (two, known(two, space)), space)


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


def import_model(
    file: str | Path, out: str | Path, *, symbols: str | Path | Sequence[str | None] | None = None
) -> Model:
    """Make a bundle of a model file from elsewhere, none of its code run: one of ours, or of PyTorch's or Keras'.

    Args:
        file: `.safetensors`, `.pth`, `.pt`, `.keras`, `.h5` or `.hdf5`, or a folder exported to safetensors.
        out: the bundle to make; it appears whole or not at all.
        symbols: the character of each token (None for one without), or a JSON file of them, if `file` has none.
    """
    from bowerbird.kinds.importing import import_file

    import_file(Path(file), Path(out), symbols)
    return load(Path(out).absolute())


def sign(
    model: Model | str | Path,
    key: str | Path,
    *,
    passphrase: str | None = None,
    workspace: Workspace | None = None,
) -> Signed:
    """Sign a model with a private elliptic-curve key; the signature lies beside its bundle, as `BUNDLE.sig`."""
    from bowerbird.store import signing

    return signing.sign(_bundle(model, workspace), Path(key), passphrase)


def verify(model: Model | str | Path, key: str | Path, *, workspace: Workspace | None = None) -> Signed:
    """Check that a model is, file for file, what the owner of a public key signed; `Refused` if it is not."""
    from bowerbird.store import signing

    return signing.verify(_bundle(model, workspace), Path(key))


def encrypt(
    model: Model | str | Path,
    out: str | Path,
    *,
    key: str | Path | None = None,
    passphrase: str | None = None,
    workspace: Workspace | None = None,
) -> Bundle:
    """Write a model, with its signature if it has one, into one file that only this key file or passphrase opens."""
    from bowerbird.store.encrypted_bundle import encrypt_bundle
    from bowerbird.store.encryption import Secret

    return encrypt_bundle(_bundle(model, workspace), Path(out), Secret.of(key, passphrase))


def decrypt(
    file: str | Path, out: str | Path, *, key: str | Path | None = None, passphrase: str | None = None
) -> Bundle:
    """Bring an encrypted model back into a bundle folder, whole and checked, or write nothing."""
    from bowerbird.store.encrypted_bundle import decrypt_bundle
    from bowerbird.store.encryption import Secret

    return decrypt_bundle(Path(file), Path(out), Secret.of(key, passphrase))


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


def _bundle(model: Model | str | Path, workspace: Workspace | None) -> Path:
    if isinstance(model, str | Path):
        return (workspace or Workspace()).resolve(str(model)).path
    return model.bundle.path


def _model(model: Model | str | Path, workspace: Workspace | None) -> Model:
    return load(model, workspace=workspace) if isinstance(model, str | Path) else model
