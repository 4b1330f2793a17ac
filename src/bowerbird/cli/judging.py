"""Commands that look at what was made: inspect, evaluate, generate, verify-resume."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, SETTINGS, Output, Settings


def inspect(what: str, *, output: Output = OUTPUT) -> None:
    """Show what a dataset, a run or a model is made of.

    Example: bowerbird inspect runs/poems

    Parameters
    ----------
    what
        A dataset, run or bundle folder, or a name as poems@live.
    """
    from bowerbird.inspection import inspect as look

    found = look(what, space(output))
    lines = show.table([(key, _short(value)) for key, value in found.items()], ("what", "value"))[1:]
    show.result(output, found, lines)


def evaluate(
    model: str,
    *,
    dataset: Path | None = None,
    against: str | None = None,
    out: Path | None = None,
    seed: int = 1,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Judge a model on held-out text, beside simple baselines, and write a report.

    Example: bowerbird evaluate runs/poems --against poems@live

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    dataset
        What to judge on; by default the dataset the model learnt from.
    against
        Another model, judged on the same text.
    out
        Writes OUT.json and OUT.html; by default report.json and report.html in the run.
    seed
        Seed of samples and intervals.
    """
    from bowerbird import lifecycle

    report = lifecycle.evaluate(
        model,
        dataset=dataset,
        against=against,
        out=out,
        seed=seed,
        config=settings.config,
        settings=settings.set,
        workspace=space(output),
    )
    told = report.to_json()
    rows = [_row(score) for score in [*told["scores"], *told["baselines"]]]
    lines = [f"{told['model']} on the {told['split']} split"]
    lines += show.table(rows, ("score", "value", "95 % interval", "on held-out text itself", "unit", "n"))
    for row in told.get("comparison") or []:
        lines.append(f"{row['name']}: {row['verdict']}")
    show.result(output, told, lines, f"bowerbird publish {model} NAME --alias live")


def generate(
    model: str,
    *,
    prompt: str = "",
    prompt_file: Path | None = None,
    n: Annotated[int, Parameter(name=["-n", "--n"])] = 1,
    length: int = 400,
    temperature: float = 0.8,
    top_p: float | None = None,
    top_k: int | None = None,
    min_p: float | None = None,
    repetition_penalty: float = 1.0,
    stop: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    seed: int | None = None,
    out: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Make new text with a model, streamed as it is made.

    Example: bowerbird generate poems@live --prompt "The sea" -n 3 --temperature 0.7

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    prompt
        How the text begins; for a chat model, what the user says.
    prompt_file
        A file that holds the prompt.
    n
        How many samples.
    length
        The most tokens (characters, with the default codec) of each.
    temperature
        0 takes the likeliest token; above 1 gets wilder.
    top_p
        Keep the likeliest tokens that make up this share.
    top_k
        Keep this many of the likeliest tokens.
    min_p
        Keep tokens at least this share as likely as the likeliest.
    repetition_penalty
        Above 1 makes what was already said less likely.
    stop
        Stop before this text; may be given many times.
    seed
        The same seed and model give the same text.
    out
        A folder to write each sample into.
    """
    from bowerbird import lifecycle
    from bowerbird.base.errors import NotFound, UsageError
    from bowerbird.base.files import write_whole

    if prompt_file is not None:
        if prompt:
            raise UsageError("give --prompt or --prompt-file, not both")
        if not prompt_file.is_file():
            raise NotFound("the prompt file is not there", where=prompt_file)
        prompt = prompt_file.read_text(encoding="utf-8", errors="replace")
    loaded = lifecycle.load(model, workspace=space(output))
    request: Any = loaded.request(
        prompt=prompt,
        n=n,
        length=length,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=stop,
        seed=seed,
    )
    unseen = loaded.unseen(prompt)
    if unseen:
        show.warn(
            output, f"the model never learnt these characters of the prompt: {' '.join(sorted(unseen))}"
        )
    streamed = n == 1 and not output.json and out is None
    if streamed:
        sample = _stream(loaded, request)
        samples = [sample]
    else:
        samples = [vars(made) for made in loaded.generate(**request.model_dump())]
    if out is not None:
        for index, sample in enumerate(samples):
            path = out / f"{index + 1:04}.txt"
            write_whole(path, (prompt + sample["text"]).encode("utf-8", "replace"))
            sample["path"] = str(path)
    lines = []
    for sample in [] if streamed else samples:
        lines += [f"--- seed {sample['seed']}", prompt + sample["text"]] if out is None else [sample["path"]]
    show.result(output, {"model": loaded.name, "samples": samples}, lines)


def _stream(model: Any, request: Any) -> dict[str, Any]:
    """Write one sample to stdout as it is made."""
    encoding = sys.stdout.encoding or "utf-8"
    pieces = [request.prompt]
    finish = None
    sys.stdout.write(request.prompt.encode(encoding, "replace").decode(encoding))
    for _, piece, ended in model.parts(request):
        finish = ended
        pieces.append(piece)
        sys.stdout.write(piece.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return {"text": "".join(pieces[1:]), "seed": request.seed, "finish_reason": finish}


def verify_resume(
    run: Path, *, steps: int = 40, stops: int = 3, seed: int = 1, output: Output = OUTPUT
) -> None:
    """Prove on a run's own settings and data that stopping and resuming changes no bit.

    Example: bowerbird verify-resume runs/poems --steps 100 --stops 5

    Parameters
    ----------
    run
        A run folder.
    steps
        Steps to train, twice.
    stops
        How often to stop and resume in the second.
    seed
        Where to stop.
    """
    from bowerbird import lifecycle
    from bowerbird.base.errors import Refused

    found = lifecycle.verify_resume(run, steps=steps, stops=stops, seed=seed)
    differing = [row["name"] for row in found["tensors"] if not row["equal"]]
    verdict = "equal in every bit" if found["equal"] else f"DIFFERENT: {', '.join(differing)}"
    lines = [
        f"{found['steps']} steps straight through, and stopped at {', '.join(map(str, found['stops']))}: {verdict}",
        f"{len(found['tensors'])} tensors compared (weights, optimiser, carried state)",
    ]
    show.result(output, dict(found), lines)
    if not found["equal"]:
        raise Refused(
            "a resumed run is not the run that was never stopped", where=run, hint="please report this"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "..."


def _row(score: dict[str, Any]) -> tuple[str, ...]:
    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4g}"

    low, high = score["interval"] or (None, None)
    interval = "-" if low is None else f"{number(low)} .. {number(high)}"
    reference = number(score.get("reference"))
    return (score["name"], number(score["value"]), interval, reference, score["unit"], f"{score['n']:,}")


def add(app: App) -> None:
    for command in (inspect, evaluate, generate, verify_resume):
        app.command(command)
