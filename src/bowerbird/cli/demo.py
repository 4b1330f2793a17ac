"""`demo`: the whole life of a model on real data, saying at each step what is done and by which command."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import Any, Literal

from cyclopts import App

from bowerbird.base.files import write_whole
from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output


@dataclass(frozen=True)
class Demo:
    """What is shown of one kind."""

    source: str
    gathered: str
    learns: str
    judged: str
    scores: tuple[str, ...]
    minutes: float
    request: dict[str, Any]
    """Of what is generated at the end."""
    n: int = 3
    """How many of them."""


DEMOS = {
    "text": Demo(
        source="demo:speeches",
        gathered="two centuries of messages to the US Congress: gathered, cleaned, split by document, encoded",
        learns="an LSTM that learns to guess what comes next",
        judged="on documents it has never seen, beside simple models, and how much it copies",
        scores=("bits_per_byte", "ngram_bits_per_byte", "xz_bits_per_byte", "novelty", "longest_copy"),
        minutes=3.0,
        request={"prompt": "The people of the United States", "length": 300},
    ),
    "melody": Demo(
        source="demo:tunes",
        gathered="a thousand fiddle tunes of 1883: read as notes in bars, split by tune, encoded",
        learns="an LSTM that learns to guess the next note",
        judged="on tunes it has never heard, beside a simple model, and how much it copies",
        scores=("bits_per_note", "ngram_bits_per_note", "valid_share", "novelty", "longest_copy"),
        minutes=2.0,
        request={"key": "G", "metre": "4/4"},
    ),
    "image": Demo(
        source="demo:icons",
        gathered="seven thousand icons of one style: drawn, the same ones left out, split by picture",
        learns="a generator that learns to draw against a critic that learns to tell",
        judged="beside icons it has never seen: how far off, how varied, and how much it copies",
        scores=("fid", "kid", "precision", "recall", "copied_share"),
        minutes=3.5,
        request={},
        n=16,
    ),
}


def demo(
    kind: Literal["text", "melody", "image"] = "text",
    *,
    minutes: float | None = None,
    output: Output = OUTPUT,
) -> None:
    """Make a model from real data in minutes: prepare, train, evaluate, publish, generate.

    Example: bowerbird demo melody --minutes 2

    Parameters
    ----------
    kind
        What to make: text, melody or image.
    minutes
        Minutes to train: 3 for text, 2 for melody, 3.5 for image unless given.
    """
    from bowerbird import lifecycle

    shown = DEMOS[kind]
    name = f"demo-{kind}"
    minutes = shown.minutes if minutes is None else minutes
    workspace = space(output)
    folder = workspace.root / "demo" / kind
    dataset_path, run_path = folder / "dataset", folder / "run"
    if folder.exists():
        _step(output, "making room", f"an earlier demo in {folder} is removed", None)
        shutil.rmtree(folder)
    chosen = "" if kind == "text" else f" --kind {kind}"
    _step(
        output,
        "1 of 5: prepare",
        shown.gathered,
        f"bowerbird prepare {shown.source}{chosen} --out {dataset_path}",
    )
    dataset = lifecycle.prepare(
        shown.source, dataset_path, kind=kind, on_progress=show.counter(output), workspace=workspace
    )
    told = dataset.summary
    show.note(
        output, f"\n{told['items']:,} {show.noun(told)}, {told['bytes']:,} bytes, by split: {told['splits']}"
    )
    _step(
        output,
        "2 of 5: train",
        f"{shown.learns}, for {minutes:g} minutes",
        f"bowerbird train {dataset_path} --out {run_path} --minutes {minutes:g}",
    )
    run = lifecycle.train(dataset, run_path, minutes=minutes, listener=show.follow(output, dataset))
    _step(output, "3 of 5: evaluate", shown.judged, f"bowerbird evaluate {run_path}")
    report = lifecycle.evaluate(run_path, workspace=workspace)
    numbers = {score.name: score.value for score in [*report.scores, *report.baselines]}
    for score in shown.scores:
        show.note(
            output,
            f"  {score:22} {numbers[score]:.3f}" if numbers.get(score) is not None else f"  {score}  -",
        )
    _step(
        output,
        "4 of 5: publish",
        "the model, sealed, as a version that can be gone back to",
        f"bowerbird publish {run_path} {name} --alias live",
    )
    version = lifecycle.publish(run_path, name, alias="live", workspace=workspace)
    model = lifecycle.load(f"{name}@live", workspace=workspace)
    options = "".join(f' --{key} "{value}"' for key, value in shown.request.items())
    options += "" if model.kind.readable else f" --out {folder / 'samples'}"
    _step(
        output,
        "5 of 5: generate",
        f"{shown.n} of its own",
        f"bowerbird generate {name}{options} -n {shown.n} --seed 1",
    )
    request: Any = model.request(**shown.request, n=shown.n, seed=1)
    made = model.generate(**request.model_dump())
    lines = []
    for number, sample in enumerate(made, 1):
        if model.kind.readable:
            lines += [f"--- seed {sample.seed}", request.lead + sample.text]
        if kind != "text":
            for suffix, content in model.kind.render(request, sample).items():
                write_whole(folder / "samples" / f"{number:04}.{suffix}", content)
    for file, content in model.kind.together(made).items():
        write_whole(folder / "samples" / file, content)
    where = f" --workspace {output.workspace}" if output.workspace else ""
    if kind != "text":
        lines += [
            "",
            f"{'to hear and see them' if kind == 'melody' else 'to see them'}: {folder / 'samples'}",
        ]
    lines += [
        "",
        f"report: {run_path / 'report.html'}",
        f"serve it:             bowerbird serve {name}{where}",
        "then open in a browser: http://127.0.0.1:8000",
    ]
    value = {
        "dataset": told,
        "run": run.outcome,
        "scores": numbers,
        "version": f"{version.name}@{version.version}",
        "samples": [
            {"text": sample.text, "seed": sample.seed, "finish_reason": sample.finish_reason}
            for sample in made
        ],
        "report": str(run_path / "report.html"),
    }
    show.result(output, value, lines)


def _step(output: Output, title: str, what: str, command: str | None) -> None:
    show.note(output, f"\n{title}: {what}", "bold")
    if command:
        show.note(output, f"  by hand: {command}", "dim")


def add(app: App) -> None:
    app.command(demo)
