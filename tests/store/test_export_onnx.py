"""ONNX files: one file that ONNX Runtime runs at any batch, and that tells how to sample from it."""

from __future__ import annotations

import functools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tests.untrained_bundles import CACHED, image_model, melody_model, text_model

import bowerbird as bb
from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.kinds.exporting import exported
from bowerbird.store.exporters.exporter import Exported
from bowerbird.store.exporters.onnx import ONNX

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

Written = tuple[bb.Model, Exported, Path]
MODELS: dict[str, Callable[[Path], Path]] = {
    "lstm": lambda folder: text_model(folder, **CACHED),
    "gru-melody": lambda folder: melody_model(folder, cell="gru", ngrams=2),
    "rnn": lambda folder: text_model(folder, cell="rnn", residual=True, layers=2, tied=True, norm="layer"),
    "mingru": lambda folder: text_model(folder, cell="mingru", norm="rms", cache={"window": 9}),
    "conv": image_model,
    "residual": lambda folder: image_model(folder, classes=(), shape="residual", channels=1),
}


@pytest.fixture(scope="module")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Written]:
    """Gives a model, what was exported of it, and the file, in a folder of its own; each is made once."""

    @functools.cache
    def made(name: str) -> Written:
        folder = tmp_path_factory.mktemp(name)
        model = bb.load(MODELS[name](folder / "bundle"))
        path = folder / "out" / "it's a model.onnx"
        path.parent.mkdir()
        described = exported(model)
        ONNX.write(described, path)
        return model, described, path

    return made


def inputs_for(made: Exported, batch: int) -> list[torch.Tensor]:
    """Random inputs; states are those after some random tokens."""
    noise = torch.Generator().manual_seed(batch)
    if made.kind == "image":
        latent = torch.randn(batch, *made.inputs[0].shape, generator=noise)
        return [latent, *([torch.arange(batch) % 3 - 1] if len(made.inputs) > 1 else [])]
    size = made.outputs[0].shape[0]
    tokens = torch.randint(1, size, (3 + batch,), generator=noise).repeat(2)
    rows = tokens[:, None] + torch.arange(batch) % 2
    states = [made.start[port.name].expand(batch, -1) for port in made.inputs[1:]]
    for row in rows[:-1] % size:
        _, *states = made.reference([row, *states])
    return [rows[-1] % size, *states]


@pytest.mark.parametrize("name", MODELS)
def test_the_file_gives_what_the_network_gives_at_any_batch(
    name: str, write: Callable[[str], Written]
) -> None:
    _, made, path = write(name)
    with ONNX.runner(path, made) as run:
        for batch in (1, 2, 5):
            inputs = inputs_for(made, batch)
            found = run([part.numpy() for part in inputs])
            expected = made.reference(inputs)
            assert len(found) == len(expected) == len(made.outputs)
            for mine, theirs, port in zip(found, expected, made.outputs, strict=True):
                assert mine.shape == (batch, *port.shape)
                assert np.abs(mine - theirs.numpy()).max() <= 1e-5, port.name


@pytest.mark.parametrize("name", ["lstm", "conv"])
def test_it_is_one_file_that_says_what_it_is_and_nothing_of_this_machine(
    name: str, write: Callable[[str], Written]
) -> None:
    import onnx

    model, made, path = write(name)
    assert list(path.parent.iterdir()) == [path]
    proto = onnx.load(path)
    told = {pair.key: pair.value for pair in proto.metadata_props}
    assert told == dict(made.metadata)
    assert told["bowerbird.digest"] == model.digest
    assert [port.name for port in proto.graph.input] == [port.name for port in made.inputs]
    assert [port.name for port in proto.graph.output] == [port.name for port in made.outputs]
    for value in [*proto.graph.input, *proto.graph.output]:
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    content = path.read_bytes()
    for hidden in (b"site-packages", b"portable.py", str(Path(bb.__file__).parent).encode()):
        assert hidden not in content


def run_lines(made: Exported, path: Path) -> str:
    """What the lines print, run by themselves in the folder of the file."""
    lines = ONNX.lines(made, path.name)
    assert "bowerbird" not in "".join(line for line in lines.splitlines() if "import" in line)
    assert len(lines.splitlines()) < 22
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", lines],
        cwd=path.parent,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_lines_print_the_characters_that_generate_gives(write: Callable[[str], Written]) -> None:
    model, made, path = write("lstm")
    expected = model.generate(length=200, temperature=0)[0].text
    assert run_lines(made, path) == expected + "\n"
    assert len(expected) > 50


def test_the_lines_save_the_picture_that_generate_gives(write: Callable[[str], Written]) -> None:
    model, made, path = write("conv")
    run_lines(made, path)
    with Image.open(path.parent / "picture.png") as opened:
        picture = np.asarray(opened).astype(int)
    assert np.abs(picture - model.generate(seed=0, label=0)[0].content).max() <= 1
    (path.parent / "picture.png").unlink()


def test_writing_prints_nothing_and_gives_the_same_file_again(
    write: Callable[[str], Written], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    _, made, path = write("conv")
    capfd.readouterr()
    ONNX.write(made, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()
    assert capfd.readouterr() == ("", "")


def test_more_than_a_file_can_hold_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = exported(bb.load(text_model(tmp_path / "bundle")))
    monkeypatch.setattr("bowerbird.store.exporters.onnx.MOST_BYTES", 1000)
    with pytest.raises(UsageError, match="do not fit into an ONNX file"):
        ONNX.write(made, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


def test_a_missing_package_is_named_by_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = exported(bb.load(text_model(tmp_path / "bundle")))
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match="exporting to ONNX") as caught:
        ONNX.write(made, tmp_path / "model.onnx")
    assert "bowerbird[export]" in str(caught.value)
    with pytest.raises(MissingExtra, match="running an ONNX file"):
        ONNX.runner(tmp_path / "model.onnx", made).__enter__()
