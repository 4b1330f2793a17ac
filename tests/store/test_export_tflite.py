"""Models exported to TensorFlow Lite, by a converter that has an environment of its own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.store.exporting import a_text, an_image, difference, greedy

from bowerbird.base.errors import BowerbirdError
from bowerbird.store.exporters import tflite
from bowerbird.store.exporters.tflite import TFLITE, environment

CASES: list[dict[str, Any]] = [
    {},
    {"norm": "layer", "residual": True, "layers": 2},
    {"norm": "rms", "tied": True, "embedding": 5},
    {"ngrams": 4},
    {"ngrams": 4, "cache": {"window": 24, "shortest": 2}},
]
CELLS = ("lstm", "gru", "rnn", "mingru")
SHAPES: list[dict[str, Any]] = [{}, {"classes": 2, "channels": 1}, {"shape": "residual", "classes": 2}]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own, and nowhere to install from."""
    monkeypatch.setattr(tflite.platformdirs, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return tmp_path / "cache" / "bowerbird"


def test_where_it_cannot_be_installed_the_error_says_so_and_nothing_is_left(cache: Path) -> None:
    with pytest.raises(BowerbirdError, match="could not be installed") as raised:
        environment()
    assert "onnx" in str(raised.value.hint)
    assert "litert-torch" in str(raised.value.hint), "what pip said"
    assert not list(cache.iterdir())


def test_an_environment_that_is_there_is_not_made_again(cache: Path) -> None:
    python = cache / f"litert-{tflite.VERSION}" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch()
    assert environment() == python


def test_the_lines_are_plain_python(tmp_path: Path) -> None:
    for exported in (a_text(ngrams=3), an_image(), an_image(classes=2)):
        compile(TFLITE.lines(exported, str(tmp_path / "it's here" / "model.tflite")), "lines", "exec")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_and_part_gives_what_ours_gives(
    cell: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    exported = a_text(cell=cell, **settings)
    path = tmp_path / "model.tflite"
    TFLITE.write(exported, path)
    assert difference(TFLITE, exported, path, length=100) < 1e-5
    lines = TFLITE.lines(exported, str(path))
    done = subprocess.run([str(environment()), "-P", "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.rstrip("\n") == greedy(exported)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("settings", SHAPES, ids=str)
def test_every_generator_makes_the_same_pictures(settings: dict[str, Any], tmp_path: Path) -> None:
    exported = an_image(**settings)
    path = tmp_path / "model.tflite"
    TFLITE.write(exported, path)
    assert difference(TFLITE, exported, path) < 1e-5
