"""Every format beside our own network: differences, sizes, seconds, and whether their own loaders say the same.

    python benchmarks/export.py [--out DIR] [--formats onnx,keras] [--models lstm,gru] [--data FILE] [--steps 200]

trains a small model of each cell with counted n-grams and a cache, a melody model and image models of both shapes;
exports each to each format, which proves every file at several batch sizes, lengths and states before it is put into
place; runs the ten lines that the export prints, in a process of their own, and compares what they print with 200
greedy characters of `generate`, and the picture that they save with ours. Then each model is kept in fewer bits, and
differences in its outputs and what that costs on held-out data are told. Tables at the end, and OUT/export.json.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from bowerbird import lifecycle
from bowerbird.base.errors import BowerbirdError
from bowerbird.base.files import write_json
from bowerbird.kinds.loaded import Model
from bowerbird.models.rnn import RNN
from bowerbird.runs.reducing import LOST
from bowerbird.store.bundle import open_bundle
from bowerbird.store.exporters import EXPORTERS
from bowerbird.store.precision import FULL, PRECISIONS
from bowerbird.workspace import Workspace
from fuzz_bench import sound
from machine import describe
from tables import show, table

CELLS = ("lstm", "gru", "rnn", "mingru")
OTHERS = ("melody", "image conv", "image residual")
CHARACTERS = 200
SECONDS = 300
"""That the ten lines may take."""
BOUNDS = {"float32": 0.0, "bfloat16": 0.05, "float16": 0.01, "int8": 0.2}
"""The largest difference in an output that fewer bits may make: in a logit, or in a colour from -1 to 1."""
STEPS = 64
"""Tokens read to compare outputs in fewer bits."""


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/export.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench-export"), help="where all of it is kept")
    parser.add_argument("--formats", default=",".join(EXPORTERS))
    parser.add_argument("--models", default=",".join([*CELLS, *OTHERS]))
    parser.add_argument("--data", type=Path, help="a text to learn from; by default a few made-up sentences")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    options = parse(given)
    models = trained(options.out, options.models.split(","), options.data, options.steps)
    rows = []
    for name, folder in models.items():
        model = lifecycle.load(folder)
        for to in options.formats.split(","):
            rows.append(exported(model, name, to))
            show(" ".join(cells(rows[-1])))
    reduced = [fewer_bits(model, name, options.out) for name, model in models.items()]
    flat = [row for several in reduced for row in several]
    write_json(options.out / "export.json", {"machine": describe(), "exports": rows, "precisions": flat})
    tell(rows, flat)
    return 0 if all(row["right"] for row in [*rows, *flat]) else 1


def trained(out: Path, names: Sequence[str], data: Path | None, steps: int) -> dict[str, Path]:
    """A run for each named model; one that is there already is taken as it is."""
    out.mkdir(parents=True, exist_ok=True)
    runs = {}
    for name in names:
        run = out / "runs" / name.replace(" ", "-")
        if not run.exists():
            dataset = dataset_of(out, name, data)
            settings = (*SETTINGS["image" if name in OTHERS[1:] else "text"], *own_settings(name))
            lifecycle.train(dataset, run, steps=2 if name in OTHERS[1:] else steps, settings=settings)
        runs[name] = run
    return runs


SETTINGS = {
    "text": ("batch_size=8", "length=32", "model.width=64", "model.embedding=32", "evaluate_every=1000"),
    "image": (
        "batch_size=8",
        "model.width=16",
        "model.critic_width=8",
        "model.latent=16",
        "evaluate_every=1000",
    ),
}


def own_settings(name: str) -> tuple[str, ...]:
    if name in CELLS:
        return (f"model.cell={name}",)
    return (f"model.shape={name.split()[1]}",) if name in OTHERS[1:] else ()


def dataset_of(out: Path, name: str, data: Path | None) -> Path:
    """The dataset that a model learns from, made when it is first asked for."""
    kind = name.partition(" ")[0] if name in OTHERS else "text"
    folder = out / f"{kind}-dataset"
    if folder.exists():
        return folder
    if kind == "melody":
        return sound.melody_dataset(folder)
    if kind == "image":
        return sound.picture_dataset(folder)
    if data is not None:
        return lifecycle.prepare(data, folder).path
    source = out / "text.txt"
    source.write_text(made_up(), encoding="utf-8")
    return lifecycle.prepare(source, folder).path


def made_up(sentences: int = 3000) -> str:
    """Sentences drawn from a few dozen words."""
    noise = np.random.default_rng(3)
    who = ("the old keeper", "a heron", "my sister", "the tide", "no one", "the lamp")
    does = ("watches", "remembers", "counts", "follows", "turns to", "forgets")
    what = (
        "the long rain",
        "seven boats",
        "a salt road",
        "the other shore",
        "its own shadow",
        "évening bells",
    )
    drawn = noise.integers(0, 6, (sentences, 3)).tolist()
    return "".join(f"{who[a]} {does[b]} {what[c]}.\n" for a, b, c in drawn)


def exported(model: Model, name: str, to: str) -> dict[str, Any]:
    """One export and what its own loader makes of it."""
    row: dict[str, Any] = {"model": name, "format": to, "right": False}
    began = time.monotonic()
    try:
        with tempfile.TemporaryDirectory() as place:
            told = lifecycle.export(model, to=to, out=Path(place, "model"))
            row["seconds"] = round(time.monotonic() - began, 2)
            parity = told["parity"]
            row |= {"max_abs_difference": parity["max_abs_difference"], "tolerance": parity["tolerance"]}
            row |= {"cases": len(parity["cases"]), "size_bytes": told["size_bytes"]}
            row["same"] = said_the_same(model, to, str(told["lines"]))
    except BowerbirdError as error:
        return {**row, "refused": error.what}
    row["right"] = row["same"] is not False and row["max_abs_difference"] <= row["tolerance"]
    return row


def said_the_same(model: Model, to: str, lines: str) -> bool | None:
    """Whether the ten lines print what `generate` does, or save our picture; None of melodies, which have a grammar."""
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [interpreter(to), "-c", lines],
            cwd=place,
            capture_output=True,
            text=True,
            encoding="utf-8",
            check=False,
            timeout=SECONDS,
            env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )
        if done.returncode:
            show(done.stderr.strip().rpartition("\n")[2])
            return False
        if model.kind.name == "image":
            found = np.asarray(Image.open(Path(place, "picture.png"))).astype(int)
            return bool(np.abs(found - picture(model)).max() <= 1)
    if model.kind.name == "melody":
        return None
    ours = model.generate(temperature=0, length=CHARACTERS, seed=1)[0].text
    return done.stdout.removesuffix("\n") == ours


def interpreter(to: str) -> str:
    """The Python that has a format's own packages."""
    if to == "tflite":
        from bowerbird.store.exporters.tflite import environment

        return str(environment())
    return sys.executable


@torch.no_grad()
def picture(model: Model) -> np.ndarray[Any, Any]:
    """What the lines save: of the numbers of seed 0, of the first class."""
    config: Any = model.network.config
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((1, config.latent))).float()
    made = model.network(z, torch.tensor([0]) if config.classes else None)[0]
    pixels = ((made + 1) * 127.5).round().clamp(0, 255).permute(1, 2, 0).numpy().astype(int)
    return pixels.squeeze()


def fewer_bits(run: Path, name: str, out: Path) -> list[dict[str, Any]]:
    """A model published in each precision: how its outputs differ, how large it is, and what it costs."""
    space, found = Workspace(out / "workspace"), []
    whole = lifecycle.load(run)
    label = name.replace(" ", "-")
    for precision in PRECISIONS:
        version = lifecycle.publish(whole, label, precision=precision, weights_only=True, workspace=space)
        smaller = Model(open_bundle(version.path))
        difference = largest_difference(whole, smaller)
        lost = {key: value for key, value in version.scores.items() if key.endswith(LOST)}
        found.append(
            {
                "model": name,
                "precision": precision,
                "max_abs_difference": difference,
                "bound": BOUNDS[precision],
                "size_bytes": (version.path / "weights.safetensors").stat().st_size,
                "lost": {} if precision == FULL else lost,
                "right": difference <= BOUNDS[precision],
            }
        )
    return found


@torch.no_grad()
def largest_difference(one: Model, other: Model) -> float:
    """Between the logits of both over the same tokens, or between their pictures of the same noise."""
    torch.manual_seed(0)
    if not isinstance(one.network, RNN) or not isinstance(other.network, RNN):
        config: Any = one.network.config
        z = torch.randn(32, config.latent)
        return float((one.network(z) - other.network(z)).abs().max())
    states, worst = [one.network.start(4), other.network.start(4)], 0.0
    tokens = torch.zeros(4, dtype=torch.int64)
    for _ in range(STEPS):
        logits, states[0] = one.network.step(tokens, states[0])
        theirs, states[1] = other.network.step(tokens, states[1])
        worst = max(worst, float((logits - theirs).abs().max()))
        tokens = torch.multinomial(logits.softmax(-1), 1)[:, 0]
    return worst


def cells(row: Mapping[str, Any]) -> list[str]:
    if "refused" in row:
        return [row["model"], row["format"], "-", "-", "-", "-", row["refused"]]
    same = {True: "the same", False: "DIFFERENT", None: "-"}[row["same"]]
    return [
        row["model"],
        row["format"],
        f"{row['max_abs_difference']:.1e}",
        str(row["cases"]),
        f"{row['size_bytes'] / 1e3:,.0f} kB",
        f"{row['seconds']:.1f}",
        same,
    ]


def tell(rows: Sequence[Mapping[str, Any]], reduced: Sequence[Mapping[str, Any]]) -> None:
    show("")
    head = ("model", "format", "largest difference", "cases", "size", "seconds", "greedy, or picture")
    for line in table([cells(row) for row in rows], head):
        show(line)
    show("")
    told = [
        [
            row["model"],
            row["precision"],
            f"{row['max_abs_difference']:.1e}",
            f"{row['bound']:g}",
            f"{row['size_bytes'] / 1e3:,.0f} kB",
            " ".join(f"{key.removeprefix('valid_')} {value:+.4f}" for key, value in row["lost"].items())
            or "-",
        ]
        for row in reduced
    ]
    for line in table(told, ("model", "precision", "largest difference", "bound", "weights", "cost")):
        show(line)


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except BowerbirdError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error
