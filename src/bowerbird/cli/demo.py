"""`demo`: the whole life of a model on real data, saying at each step what is done and by which command."""

from __future__ import annotations

import shutil
from typing import Literal

from cyclopts import App

from bowerbird.cli import show
from bowerbird.cli.making import listener, space
from bowerbird.cli.options import OUTPUT, Output

NAME = "demo-text"
SOURCE = "demo:speeches"
PROMPT = "The people of the United States"


def demo(kind: Literal["text"] = "text", *, minutes: float = 3.0, output: Output = OUTPUT) -> None:
    """Make a model from real data in minutes: prepare, train, evaluate, publish, generate.

    Example: bowerbird demo --minutes 2

    Parameters
    ----------
    kind
        What to make: text.
    minutes
        Minutes to train.
    """
    from bowerbird import lifecycle

    workspace = space(output)
    folder = workspace.root / "demo" / kind
    dataset_path, run_path = folder / "dataset", folder / "run"
    if folder.exists():
        _step(output, "making room", f"an earlier demo in {folder} is removed", None)
        shutil.rmtree(folder)
    _step(
        output,
        "1 of 5: prepare",
        "two centuries of messages to the US Congress: gathered, cleaned, split by document, encoded",
        f"bowerbird prepare {SOURCE} --out {dataset_path}",
    )
    dataset = lifecycle.prepare(SOURCE, dataset_path, on_progress=show.counter(output), workspace=workspace)
    told = dataset.summary
    show.note(
        output, f"\n{told['items']:,} documents, {told['bytes']:,} bytes, split by document: {told['splits']}"
    )
    _step(
        output,
        "2 of 5: train",
        f"an LSTM that learns to guess what comes next, for {minutes:g} minutes",
        f"bowerbird train {dataset_path} --out {run_path} --minutes {minutes:g}",
    )
    run = lifecycle.train(dataset, run_path, minutes=minutes, listener=listener(output, dataset))
    _step(
        output,
        "3 of 5: evaluate",
        "on documents it has never seen, beside simple models, and how much it copies",
        f"bowerbird evaluate {run_path}",
    )
    report = lifecycle.evaluate(run_path, workspace=workspace)
    numbers = {score.name: score.value for score in [*report.scores, *report.baselines]}
    for name in ("bits_per_byte", "ngram_bits_per_byte", "xz_bits_per_byte", "novelty", "longest_copy"):
        show.note(
            output, f"  {name:22} {numbers[name]:.3f}" if numbers.get(name) is not None else f"  {name}  -"
        )
    _step(
        output,
        "4 of 5: publish",
        "the model, sealed, as a version that can be gone back to",
        f"bowerbird publish {run_path} {NAME} --alias live",
    )
    version = lifecycle.publish(run_path, NAME, alias="live", workspace=workspace)
    _step(
        output,
        "5 of 5: generate",
        "three beginnings of its own",
        f'bowerbird generate {NAME} --prompt "{PROMPT}" -n 3',
    )
    made = lifecycle.load(f"{NAME}@live", workspace=workspace).generate(
        prompt=PROMPT, n=3, length=300, seed=1
    )
    lines = []
    for sample in made:
        lines += [f"--- seed {sample.seed}", PROMPT + sample.text]
    where = f" --workspace {output.workspace}" if output.workspace else ""
    lines += [
        "",
        f"report: {run_path / 'report.html'}",
        f"serve it:             bowerbird serve {NAME}{where}",
        "then open in a browser: http://127.0.0.1:8000",
    ]
    value = {
        "dataset": told,
        "run": run.outcome,
        "scores": numbers,
        "version": f"{version.name}@{version.version}",
        "samples": [vars(sample) for sample in made],
        "report": str(run_path / "report.html"),
    }
    show.result(output, value, lines)


def _step(output: Output, title: str, what: str, command: str | None) -> None:
    show.note(output, f"\n{title}: {what}", "bold")
    if command:
        show.note(output, f"  by hand: {command}", "dim")


def add(app: App) -> None:
    app.command(demo)
