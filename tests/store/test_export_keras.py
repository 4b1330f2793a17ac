"""Models exported to Keras: its own loader, in a process of its own, gives what our network gives."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from tests.store.exporting import SYMBOLS, a_text, an_image, difference, greedy

from bowerbird.base.errors import BowerbirdError, MissingExtra, Refused
from bowerbird.store.exporters import keras
from bowerbird.store.exporters.exporter import Exported, Exporter
from bowerbird.store.exporters.keras import H5, KERAS

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("keras", "h5py")), reason="Keras is not installed"
)

EVERYTHING = {
    "layers": 2,
    "embedding": 6,
    "residual": True,
    "norm": "layer",
    "tied": True,
    "ngrams": 4,
    "cache": {"window": 24, "shortest": 2},
}
CELLS = ("lstm", "gru", "rnn", "mingru")
PARTS: list[dict[str, Any]] = [
    {},
    {"norm": "rms", "layers": 2},
    {"tied": True, "embedding": 5},
    {"ngrams": 2},
    {"cache": {"window": 5, "shortest": 1}},
]
SHAPES: list[dict[str, Any]] = [
    {},
    {"classes": 2, "channels": 1},
    {"shape": "residual", "classes": 2},
    {"shape": "residual", "channels": 4, "resolution": 32},
]


def written(exporter: Exporter, exported: Exported, folder: Path) -> Path:
    path = folder / f"model{exporter.suffix}"
    exporter.write(exported, path)
    return path


def said(
    exporter: Exporter, exported: Exported, path: Path, python: str = sys.executable, **settings: str
) -> str:
    """What the lines print, run as a process that knows nothing of bowerbird."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [python, "-P", "-c", exporter.lines(exported, str(path))],
        env={**kept, "KERAS_HOME": str(path.parent / "home"), **settings},
        cwd=path.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    return done.stdout


def test_a_text_model_with_all_there_is_reads_on_as_ours_does(tmp_path: Path) -> None:
    exported = a_text(cell="lstm", **EVERYTHING)
    path = written(KERAS, exported, tmp_path)
    assert difference(KERAS, exported, path) < 1e-5
    assert sorted(file.name for file in tmp_path.iterdir()) == ["bowerbird_layers.py", "model.keras"]
    told = json.loads(zipfile.ZipFile(path).read("bowerbird.json"))
    assert told["symbols"] == list(SYMBOLS)
    assert told["metadata"]["bowerbird.start_token"] == "0"


@pytest.mark.slow
def test_a_generator_makes_the_same_pictures(tmp_path: Path) -> None:
    exported = an_image(classes=2)
    assert difference(H5, exported, written(H5, exported, tmp_path)) < 1e-5
    assert [file.name for file in tmp_path.iterdir()] == ["model.h5"], "it needs no layers of ours"


def test_a_cell_that_keras_cannot_have_is_refused(tmp_path: Path) -> None:
    exported = a_text()
    object.__setattr__(exported, "config", {**exported.config, "cell": "mine"})
    with pytest.raises(Refused, match="no counterpart of the cell `mine`"):
        KERAS.write(exported, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


def test_without_keras_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[export\]"):
        KERAS.write(an_image(), tmp_path / "model.keras")


@pytest.mark.slow
def test_a_file_that_keras_cannot_load_says_what_keras_said(tmp_path: Path) -> None:
    exported = an_image()
    path = tmp_path / "model.keras"
    path.write_bytes(b"no archive")
    with (
        pytest.raises(BowerbirdError, match="could not run this model"),
        KERAS.runner(path, exported) as run,
    ):
        run([part.numpy() for part in ()])


def test_the_lines_are_plain_python(tmp_path: Path) -> None:
    for exporter in (KERAS, H5):
        for exported in (a_text(**EVERYTHING), a_text(), an_image()):
            lines = exporter.lines(exported, str(tmp_path / "it's here" / f"model{exporter.suffix}"))
            compile(lines, "lines", "exec")
            assert "bowerbird." not in lines.replace("bowerbird.json", "")


@pytest.mark.slow
@pytest.mark.parametrize("exporter", [KERAS, H5], ids=lambda exporter: exporter.name)
@pytest.mark.parametrize("settings", [*PARTS, EVERYTHING], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_and_part(exporter: Exporter, cell: str, settings: dict[str, Any], tmp_path: Path) -> None:
    exported = a_text(cell=cell, **settings)
    assert difference(exporter, exported, written(exporter, exported, tmp_path), length=100) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("exporter", [KERAS, H5], ids=lambda exporter: exporter.name)
@pytest.mark.parametrize("settings", SHAPES, ids=str)
def test_every_generator(exporter: Exporter, settings: dict[str, Any], tmp_path: Path) -> None:
    exported = an_image(**settings)
    path = written(exporter, exported, tmp_path)
    assert difference(exporter, exported, path) < 1e-5
    said(exporter, exported, path)
    assert (tmp_path / "picture.png").stat().st_size > 100


@pytest.mark.slow
@pytest.mark.parametrize("exporter", [KERAS, H5], ids=lambda exporter: exporter.name)
@pytest.mark.parametrize("cell", CELLS)
def test_the_lines_print_the_likeliest_text(exporter: Exporter, cell: str, tmp_path: Path) -> None:
    exported = a_text(cell=cell, **EVERYTHING)
    path = written(exporter, exported, tmp_path)
    assert said(exporter, exported, path).rstrip("\n") == greedy(exported)


@pytest.fixture(scope="session")
def tensorflow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The interpreter of an environment with Keras and TensorFlow, without torch."""
    home = tmp_path_factory.mktemp("tensorflow")
    venv.create(home, with_pip=True)
    python = str(home / "bin" / "python")
    wanted = ["tensorflow-cpu", *(f"{name}=={version(name)}" for name in ("keras", "h5py", "pillow"))]
    done = subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=False)
    if done.returncode:
        pytest.skip("TensorFlow cannot be installed here")
    return python


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("exporter", [KERAS, H5], ids=lambda exporter: exporter.name)
@pytest.mark.parametrize("settings", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_tensorflow_backend_prints_the_same_text(
    exporter: Exporter, cell: str, settings: dict[str, Any], tensorflow: str, tmp_path: Path
) -> None:
    exported = a_text(cell=cell, **settings)
    path = written(exporter, exported, tmp_path)
    made = said(exporter, exported, path, tensorflow, KERAS_BACKEND="tensorflow")
    assert made.rstrip("\n") == greedy(exported)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("settings", SHAPES, ids=str)
def test_the_tensorflow_backend_makes_the_same_picture(
    settings: dict[str, Any], tensorflow: str, tmp_path: Path
) -> None:
    import numpy as np
    from PIL import Image

    exported = an_image(**settings)
    path = written(KERAS, exported, tmp_path)
    pictures = []
    for python, backend in ((sys.executable, "torch"), (tensorflow, "tensorflow")):
        said(KERAS, exported, path, python, KERAS_BACKEND=backend)
        with Image.open(tmp_path / "picture.png") as picture:
            pictures.append(np.asarray(picture).astype(int))
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
