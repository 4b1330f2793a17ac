"""Commands that make: prepare, train, resume, finetune; `sweep` has a file of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.options import BUDGET, OUTPUT, SETTINGS, Budget, Output, Settings
from bowerbird.cli.started import STARTED
from bowerbird.cli.sweeping import sweep


def prepare(
    *source: str,
    out: Path,
    kind: str = "text",
    skip_bad: Annotated[bool, Parameter(negative="")] = False,
    seed: int | None = None,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Gather, clean, split and encode your files into a dataset.

    Example: bowerbird prepare poems/ --out datasets/poems

    Reads folders, files, globs and archives of .txt .md .html .csv .tsv .jsonl .json .epub .pdf .docx,
    and the demo data `demo:chat` and `demo:speeches`. With --kind melody: .mid .abc .musicxml .mxl .krn,
    `demo:tunes` and `demo:chorales`. With --kind image: .png .jpg .webp .gif .bmp .tif, tables of pictures
    (.parquet), MNIST's files and `demo:icons`; folders with pictures in them are classes. What became of each
    item is in ledger.jsonl.

    Parameters
    ----------
    source
        Folders, files, globs, archives, or demo:chat, demo:speeches, demo:tunes, demo:chorales, demo:icons.
    out
        The dataset folder to make.
    kind
        What the files hold: text, melody or image.
    skip_bad
        Go on without named files that cannot be used.
    seed
        Seed of the split.
    """
    from bowerbird import lifecycle

    dataset = lifecycle.prepare(
        list(source),
        out,
        kind=kind,
        skip_bad=skip_bad,
        seed=seed,
        config=settings.config,
        settings=settings.set,
        on_progress=show.counter(output),
        workspace=space(output),
    )
    told = dataset.summary
    show.note(output, "")
    for line in told["notes"]:
        show.note(output, line)
    for line in told["warnings"]:
        show.warn(output, line)
    sizes = ", ".join(f"{split} {count:,}" for split, count in told["splits"].items())
    noun = show.noun(told)
    lines = [
        f"{told['items']:,} {noun}, {told['bytes']:,} bytes in {told['dataset']}",
        f"left out: {told['rejected']:,} refused, {told['duplicates']:,} duplicates (ledger.jsonl says why)",
        f"{noun} by split: {sizes}; {show.codec(told)}",
    ]
    show.result(output, told, lines, f"bowerbird train {out} --out runs/{out.name}")


def train(
    dataset: Path,
    *,
    out: Path,
    model: str | None = None,
    size: str = "medium",
    seed: int | None = None,
    budget: Budget = BUDGET,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Train a new model on a dataset.

    Example: bowerbird train datasets/poems --out runs/poems --minutes 3

    Ctrl-C saves and stops; `bowerbird resume` goes on as if nothing had happened.

    Parameters
    ----------
    dataset
        A dataset folder made by `prepare`.
    out
        The run folder to make.
    model
        Of texts and melodies the recurrence: lstm (unless given), gru, rnn or mingru; of pictures gan.
    size
        small, medium or large: fills every other setting for the data at hand, and shows it.
    seed
        Seed of everything random; with --steps, equal seeds give equal models.
    """
    from bowerbird import lifecycle
    from bowerbird.data.dataset import Dataset

    data = Dataset.open(dataset)
    run = show.stage(
        output,
        lifecycle.train,
        data,
        out,
        model=model,
        size=size,
        minutes=budget.minutes,
        steps=budget.steps,
        seed=seed,
        config=settings.config,
        settings=settings.set,
        listener=show.follow(output, data),
        started=STARTED,
    )
    _trained(output, run.outcome)


def resume(run: Path, *, budget: Budget = BUDGET, output: Output = OUTPUT) -> None:
    """Go on with a run that was stopped, or give a finished one more time.

    Example: bowerbird resume runs/poems --minutes 5

    Without --minutes or --steps it goes on to the end it was given, as if it had never stopped.

    Parameters
    ----------
    run
        A run folder.
    """
    from bowerbird import lifecycle
    from bowerbird.runs.run import Run

    found = Run.open(run)
    told = show.follow(output, found.dataset())
    done = show.stage(
        output,
        lifecycle.resume,
        found,
        minutes=budget.minutes,
        steps=budget.steps,
        listener=told,
        started=STARTED,
    )
    _trained(output, done.outcome)


def finetune(
    model: str,
    dataset: Path,
    *,
    out: Path,
    seed: int | None = None,
    budget: Budget = BUDGET,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Train on from a model you have, on new data.

    Example: bowerbird finetune poems@live datasets/letters --out runs/letters --minutes 2

    Settings of use: --set freeze=[embedding], and --set mix.dataset=datasets/poems against forgetting.

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems, poems@3, poems@live.
    dataset
        A dataset folder; it is read in the model's own codec, pictures in its size.
    out
        The run folder to make.
    seed
        Seed of everything random.
    """
    from bowerbird import lifecycle
    from bowerbird.data.dataset import Dataset

    data = Dataset.open(dataset)
    run = show.stage(
        output,
        lifecycle.finetune,
        model,
        data,
        out,
        minutes=budget.minutes,
        steps=budget.steps,
        seed=seed,
        config=settings.config,
        settings=settings.set,
        listener=show.follow(output, data),
        started=STARTED,
        workspace=space(output),
    )
    unseen = run.outcome["unseen"]
    if unseen.get("pictures"):
        show.warn(
            output,
            f"{unseen['pictures']:,} pictures ({unseen['share']:.2%}) are of classes new to the model, which learns "
            f"them as of none: {', '.join(unseen['most'])}",
        )
    if unseen.get("characters"):
        show.warn(
            output,
            f"{unseen['characters']:,} characters ({unseen['share']:.2%} of the text) are new to the model and were "
            f"spelt in bytes: {' '.join(unseen['most'])}",
        )
    _trained(output, run.outcome)


def space(output: Output) -> Any:
    """The workspace that the options name."""
    from bowerbird.workspace import Workspace

    return Workspace(output.workspace, output.registry)


def _trained(output: Output, outcome: dict[str, Any]) -> None:
    lines = [
        f"{outcome['steps']:,} steps in {outcome['seconds']:.0f} s, {outcome['parameters']:,} parameters; "
        f"ended by {outcome['stopped']}",
        f"best at step {outcome['best']['step']:,}: {show.in_words(outcome['best']['scores'])} on what was held out",
    ]
    show.result(output, outcome, lines, f"bowerbird evaluate {outcome['run']}")


def add(app: App) -> None:
    for command in (prepare, train, resume, sweep, finetune):
        app.command(command)
