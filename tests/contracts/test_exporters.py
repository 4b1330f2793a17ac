"""Every exporter on the shelf: what it writes is the model, whatever the model is, and its lines run as printed."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.pictures import write_dataset
from tests.stirred import ALL, PLAIN, melodies, untrained

from bowerbird import lifecycle
from bowerbird.base.errors import Refused
from bowerbird.inspection import EXTRAS
from bowerbird.kinds.exporting import exported
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.rebuilding import rebuilt
from bowerbird.models.cells import CELLS
from bowerbird.store.exporters import EXPORTERS, Exported, Exporter
from bowerbird.store.exporters.export import export
from bowerbird.store.exporters.tflite import environment

MODELS = (
    [f"plain {cell}" for cell in CELLS] + [f"whole {cell}" for cell in CELLS] + ["melody", "conv", "residual"]
)
SHOWN = ("plain lstm", "whole gru", "melody", "conv")
"""Of the models those whose lines are run: a process each."""
GAN = ("batch_size=8", "model.width=16", "model.critic_width=4", "model.latent=8", "precision=float32")


def cases(models: Sequence[str], quick: Sequence[str] = ()) -> list[Any]:
    """Each exporter with each model. By default only `pth` does all, and those with packages of their own `quick`."""
    found = []
    for name, exporter in EXPORTERS.items():
        few = quick if exporter.extra else ("whole gru", "conv")
        for model in models:
            slow = name == "tflite" or (name != "pth" and model not in few)
            found.append(pytest.param(name, model, marks=[pytest.mark.slow] if slow else []))
    return found


@pytest.fixture(scope="session")
def model_of(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A model by its name, made when it is first asked for."""
    root = tmp_path_factory.mktemp("untrained")

    @functools.cache
    def dataset(kind: str) -> Path:
        return {
            "melody": lambda: melodies(root / "melodies"),
            "image": lambda: write_dataset(root / "pictures"),
        }.get(kind, lambda: tiny_dataset)()

    @functools.cache
    def make(name: str) -> Model:
        what, _, cell = name.partition(" ")
        out = root / name.replace(" ", "-")
        if what in ("conv", "residual"):
            return lifecycle.load(untrained(dataset("image"), out, *GAN, f"model.shape={what}"))
        settings = ALL if what == "whole" else PLAIN
        return lifecycle.load(untrained(dataset(what), out, *settings, model=cell or "lstm"))

    return make


def ready(exporter: Exporter) -> Exporter:
    """The exporter, if its packages are here."""
    packages = EXTRAS.get(exporter.extra or "", ())
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    return exporter


def seen(model: Model) -> Exported:
    return replace(exported(model), rebuilt=partial(rebuilt, model))


def test_the_shelf_names_each_by_its_own_name() -> None:
    assert {"safetensors", "pth"} <= set(EXPORTERS)
    for name, exporter in EXPORTERS.items():
        assert exporter.name == name
        assert exporter.suffix == "" or exporter.suffix.startswith(".")
        assert exporter.extra is None or exporter.extra in EXTRAS
    suffixes = [exporter.suffix for exporter in EXPORTERS.values() if exporter.suffix]
    assert len(set(suffixes)) == len(suffixes)


@pytest.mark.parametrize(("name", "model"), cases(MODELS))
def test_what_it_writes_is_proved_to_be_the_model(
    name: str, model: str, model_of: Any, tmp_path: Path
) -> None:
    exporter = ready(EXPORTERS[name])
    told = export(exporter, seen(model_of(model)), tmp_path / f"m{exporter.suffix}")
    folder = tmp_path if exporter.suffix else tmp_path / "m"
    proof = json.loads((folder / "parity.json").read_text())[f"m{exporter.suffix}"]
    assert proof["max_abs_difference"] == told["parity"]["max_abs_difference"] <= exporter.tolerance
    assert {case["batch"] for case in proof["cases"]} == set(exporter.batches)
    assert {case["length"] for case in proof["cases"]} == (
        {1} if model in ("conv", "residual") else {1, 5, 32}
    )
    assert told["size_bytes"] > 1000


@pytest.mark.parametrize(("name", "model"), cases(["whole gru"]))
def test_another_model_s_file_is_refused(name: str, model: str, model_of: Any, tmp_path: Path) -> None:
    exporter = ready(EXPORTERS[name])
    right, wrong = seen(model_of(model)), seen(model_of("whole rnn"))
    deceitful = replace(exporter, write=lambda exported, path: exporter.write(wrong, path))
    with pytest.raises(Refused):
        export(deceitful, right, tmp_path / f"m{exporter.suffix}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "model"), cases(SHOWN, quick=("whole gru", "conv")))
def test_the_lines_run_as_they_are_printed(name: str, model: str, model_of: Any, tmp_path: Path) -> None:
    exporter, loaded = ready(EXPORTERS[name]), model_of(model)
    told = export(exporter, seen(loaded), tmp_path / "at" / f"m{exporter.suffix}")
    assert len(told["lines"].splitlines()) <= 30
    ast.parse(told["lines"])
    made = run(told["lines"], tmp_path, str(environment()) if name == "tflite" else sys.executable)
    if model == "conv":
        files = list(tmp_path.glob("*.png"))
        assert len(files) == 1
        pixels = np.asarray(Image.open(files[0]), np.int16)
        ours = loaded.generate(seed=0, label="0")[0].content.astype(np.int16)
        assert np.abs(pixels - ours).max() <= 1
        return
    if model == "melody":
        assert made.strip(), (
            "notes in words; which of them may follow is the grammar's, which is not exported"
        )
        return
    wanted = loaded.generate(length=200, temperature=0, seed=1)[0].text[:200]
    assert len(set(wanted)) > 1
    assert made == wanted + "\n"


def run(lines: str, folder: Path, python: str) -> str:
    """What lines of Python print, run in a process of their own, by an interpreter that has the format's loader."""
    done = subprocess.run(
        [python, "-c", lines],
        cwd=folder,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=False,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
