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
    """Judge a model on held-out data, text beside simple baselines, and write a report.

    Example: bowerbird evaluate runs/poems --against poems@live

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    dataset
        What to judge on; by default the dataset the model learnt from.
    against
        Another model, judged on the same data.
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
    lines += show.table(rows, ("score", "value", "95 % interval", "on held-out data itself", "unit", "n"))
    for row in told.get("comparison") or []:
        lines.append(f"{row['name']}: {row['verdict']}")
    show.result(output, told, lines, f"bowerbird publish {model} NAME --alias live")


def generate(
    model: str,
    *,
    prompt: str = "",
    prompt_file: Path | None = None,
    n: Annotated[int, Parameter(name=["-n", "--n"])] = 1,
    length: int | None = None,
    temperature: float | None = None,
    top_p: float | None = None,
    top_k: int | None = None,
    min_p: float | None = None,
    repetition_penalty: float | None = None,
    stop: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    key: str | None = None,
    metre: str | None = None,
    bars: int | None = None,
    tempo: float | None = None,
    label: str | None = None,
    truncation: float | None = None,
    to_seed: int | None = None,
    frames: int | None = None,
    seed: int | None = None,
    out: Path | None = None,
    output: Output = OUTPUT,
) -> None:
    """Make new text, streamed as it is made, new melodies or new pictures with a model.

    Example: bowerbird generate poems@live --prompt "The sea" -n 3 --temperature 0.7

    Parameters
    ----------
    model
        A run, a bundle, or a name as poems@live.
    prompt
        How the text begins; for a chat model, what the user says. How a melody begins: ABC, or note names
        as "C4 D4 E4:2".
    prompt_file
        A file that holds the prompt; for a melody also MIDI.
    n
        How many samples.
    length
        The most tokens of each: characters, with the codec of short texts (400 unless given); about three a
        note of a melody.
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
        Stop a text before this; may be given many times.
    key
        Of a melody: G, Em, "D dorian".
    metre
        Of a melody: 4/4, 6/8.
    bars
        Of a melody: how many.
    tempo
        Of a melody's files: quarter notes a minute.
    label
        Of a picture: its class, by name or number; each is of a class its seed draws unless given.
    truncation
        Of a picture: under 1 (0.7 is usual) pictures are more alike, and more of them are good.
    to_seed
        Of a picture: make a film (.webp) on the way from its seed to this one.
    frames
        Of such a film: how many pictures; 24 unless given.
    seed
        The same seed and model give the same text, melody or picture.
    out
        A folder to write each sample into: .txt, for melodies .mid .abc .png .wav, for pictures .png and with
        several of them grid.png. Pictures need one.
    """
    from bowerbird import lifecycle
    from bowerbird.base.errors import NotFound, UsageError
    from bowerbird.base.files import write_whole

    if prompt_file is not None:
        if prompt:
            raise UsageError("give --prompt or --prompt-file, not both")
        if not prompt_file.is_file():
            raise NotFound("the prompt file is not there", where=prompt_file)
        prompt = prompt_from(prompt_file)
    loaded = lifecycle.load(model, workspace=space(output))
    asked = {
        "length": length,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "stop": stop or None,
        "key": key,
        "metre": metre,
        "bars": bars,
        "tempo": tempo,
        "prompt": prompt or None,
        "label": label,
        "truncation": truncation,
        "to_seed": to_seed,
        "frames": frames,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    if out is None and not loaded.kind.readable:
        raise UsageError(
            f"{loaded.kind.name}s are written into a folder, not shown here", hint="--out FOLDER"
        )
    request: Any = loaded.request(n=n, seed=seed, **given)
    unseen = loaded.unseen(prompt)
    if unseen:
        show.warn(
            output, f"the model never learnt these characters of the prompt: {' '.join(sorted(unseen))}"
        )
    streamed = n == 1 and not output.json and out is None
    made = [_stream(loaded, request)] if streamed else loaded.generate(**request.model_dump())
    samples = [{"text": one.text, "seed": one.seed, "finish_reason": one.finish_reason} for one in made]
    if out is not None:
        for index, (one, sample) in enumerate(zip(made, samples, strict=True), 1):
            files = loaded.kind.render(request, one)
            paths = {suffix: out / f"{index:04}.{suffix}" for suffix in files}
            for suffix, content in files.items():
                write_whole(paths[suffix], content)
            sample["path"] = str(next(iter(paths.values())))
        for name, content in loaded.kind.together(made).items():
            write_whole(out / name, content)
    lines = []
    for sample in [] if streamed else samples:
        if out is None:
            lines += [f"--- seed {sample['seed']}", request.lead + sample["text"]]
        else:
            lines.append(sample["path"])
    show.result(output, {"model": loaded.name, "samples": samples}, lines)


def prompt_from(path: Path) -> str:
    """What a prompt file says; MIDI as the text of its tune."""
    content = path.read_bytes()
    if content.startswith(b"MThd"):
        from bowerbird.data.opening import read_opening

        return read_opening(content).text()
    return content.decode("utf-8", errors="replace")


def _stream(model: Any, request: Any) -> Any:
    """Write one sample to stdout as it is made, and return it."""
    encoding = sys.stdout.encoding or "utf-8"
    pieces = []
    finish = None
    readers = model.readers(request)
    sys.stdout.write(request.lead.encode(encoding, "replace").decode(encoding))
    for _, piece, ended in model.parts(request, readers):
        finish = ended
        pieces.append(piece)
        sys.stdout.write(piece.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    sys.stdout.write("\n")
    return model.sample(request, 0, "".join(pieces), finish, readers[0])


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
    lines = show.table([_tensor(row) for row in found["tensors"]], ("tensor", "shape", "equal", "difference"))
    differing = sum(not row["equal"] for row in found["tensors"])
    verdict = "equal in every bit" if found["equal"] else f"{differing} DIFFER"
    places = ", ".join(map(str, found["stops"]))
    lines += [
        f"{found['steps']} steps straight through, and stopped and resumed at {places}:",
        f"{len(found['tensors'])} tensors (weights, partners, optimisers, carried state): {verdict}",
    ]
    show.result(output, dict(found), lines)
    if not found["equal"]:
        raise Refused(
            "a resumed run is not the run that was never stopped", where=run, hint="please report this"
        )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else text[:87] + "..."


def _tensor(row: dict[str, Any]) -> tuple[str, ...]:
    shape = "x".join(map(str, row["shape"])) or "1" if row["shape"] is not None else "-"
    difference = row["max_abs_difference"]
    return (
        row["name"],
        shape,
        "yes" if row["equal"] else "NO",
        "-" if difference is None else f"{difference:.3g}",
    )


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
