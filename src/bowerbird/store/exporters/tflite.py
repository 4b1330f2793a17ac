"""The exporter `tflite`: a TensorFlow Lite file, for phones and small devices.

Its converter, litert-torch, does not get on with the packages of ours. It has an environment of its own, which
is made on the first export, in the user's cache folder. The file has a signature for one row, `batch_1`, and
one for eight, `batch_8`; token and class numbers are int32 there.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import shutil
import sys
import tempfile
import venv
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
import torch
from torch import Tensor

from bowerbird.base.errors import BowerbirdError, storage_errors
from bowerbird.store.exporters.apart import run, running
from bowerbird.store.exporters.exporter import Exported, Exporter, Port, Runner
from bowerbird.store.exporters.told import TOKENS, TOLD, sampling, told

VERSION = "0.10.0"
REQUIREMENTS = (f"litert-torch=={VERSION}", "ai-edge-litert==2.3.0", "torch==2.13.0")
BATCHES = (1, 8)
_SCRIPT = str(Path(__file__).with_name("tflite_process.py"))
_log = logging.getLogger(__name__)


def environment() -> Path:
    """The interpreter of the converter's environment, which is made whole or not at all if it is not there.

    Raises:
        BowerbirdError: it could not be installed.
    """
    home = Path(platformdirs.user_cache_dir("bowerbird")) / f"litert-{VERSION}"
    if not _python(home).exists():
        with storage_errors(home):
            home.parent.mkdir(parents=True, exist_ok=True)
            building = Path(tempfile.mkdtemp(prefix=f".{home.name}.", dir=home.parent))
        try:
            _install(building)
            with storage_errors(home):
                if not home.exists():  # else another process was as quick
                    os.rename(building, home)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    return _python(home)


def _install(building: Path) -> None:
    _log.warning("making the environment of the TensorFlow Lite converter, once: %s", " ".join(REQUIREMENTS))
    ours = importlib.util.find_spec("pip") is not None
    with storage_errors(building):
        venv.create(building, with_pip=not ours, symlinks=os.name != "nt")
    python = str(_python(building))
    pip = [sys.executable, "-m", "pip", "--python", python] if ours else [python, "-m", "pip"]
    try:
        run(
            [*pip, "install", "--quiet", "--retries", "1", "--timeout", "15", *REQUIREMENTS],
            {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_REQUIRE_VIRTUALENV": "0"},
            "the converter to TensorFlow Lite could not be installed",
        )
    except BowerbirdError as error:
        raise BowerbirdError(
            error.what,
            where=building.parent,
            hint=f"check the network, or export to onnx instead; {error.hint}",
        ) from error


def _python(home: Path) -> Path:
    return home / "Scripts" / "python.exe" if os.name == "nt" else home / "bin" / "python"


def write(exported: Exported, path: Path) -> None:
    """Convert the module, once for each batch size.

    Raises:
        BowerbirdError: the converter's environment could not be made, or it does not know an operation.
    """
    python = environment()
    with tempfile.TemporaryDirectory() as folder:
        for rows in BATCHES:
            given = tuple(_example(port, rows) for port in exported.inputs)
            with warnings.catch_warnings():  # torch's own remarks on parts of itself that it will change
                warnings.simplefilter("ignore", FutureWarning)
                program = torch.export.export(exported.module, given)
                program = program.run_decompositions({torch.ops.aten.scatter_add.default: _scattered})
                torch.export.save(program, Path(folder) / f"batch_{rows}.pt2")
        made = Path(folder) / "model.tflite"
        command = [str(python), "-P", _SCRIPT, "convert", folder, str(made), *map(str, BATCHES)]
        run(command, {}, "this model could not be converted to TensorFlow Lite")
        with zipfile.ZipFile(made, "a") as archive:  # where its readers look for files that go with a model
            archive.writestr(TOLD, json.dumps(told(exported)))
        shutil.move(made, path)


def _scattered(into: Tensor, dim: int, index_BM: Tensor, values_BM: Tensor) -> Tensor:
    """`scatter_add` along the last of two dimensions, by comparing: the format has no such operation."""
    assert dim == 1, "rows are apart"
    same = index_BM[:, :, None] == torch.arange(into.shape[1])
    return into + torch.where(same, values_BM[:, :, None], 0.0).sum(1)


def _example(port: Port, rows: int) -> Tensor:
    """Zeros in memory of their own: two inputs that are one tensor would become one input."""
    return torch.zeros((rows, *port.shape), dtype=torch.int32 if port.dtype == "int64" else torch.float32)


@contextmanager
def runner(path: Path, exported: Exported) -> Iterator[Runner]:
    """`ai_edge_litert.interpreter.Interpreter`."""
    command = [str(environment()), "-P", _SCRIPT, "run", str(path)]
    with running(command, {}, "this TensorFlow Lite model could not be run") as step:
        yield step


def lines(exported: Exported, path: str) -> str:
    head = [
        "import json, zipfile" if exported.symbols else "from PIL import Image",
        "import numpy as np",
        "from ai_edge_litert.interpreter import Interpreter",
        "",
        f"model = Interpreter({path!r})",
        'step = model.get_signature_runner("batch_1")',
    ]
    show = _picture_lines if exported.kind == "image" else _greedy_lines
    return "\n".join([*head, *show(exported, path), ""])


def _greedy_lines(exported: Exported, path: str) -> list[str]:
    sizes = [port.shape[0] for port in exported.inputs[1:]]
    tokens = sampling(exported)
    return [
        f'symbols = json.loads(zipfile.ZipFile({path!r}).read("{TOLD}"))["symbols"]',
        f'state = [np.zeros((1, size), "float32") for size in {sizes}]',
        f"ends, banned = {tokens.ends}, {tokens.banned}",
        f'token, text, never = {tokens.start}, "", banned + ends',
        f"for _ in range({TOKENS}):",
        '    given = [np.array([token], "int32"), *state]',
        '    found = step(**{f"args_{i}": part for i, part in enumerate(given)})',
        '    logits, *state = [found[f"output_{i}"] for i in range(len(found))]',
        "    logits[0, never] = -np.inf",
        "    token, never = int(logits.argmax()), banned",
        "    if token in ends:",
        "        break",
        "    text += symbols[token]",
        f"print(text[:{TOKENS}])",
    ]


def _picture_lines(exported: Exported, path: str) -> list[str]:
    asked = ', args_1=np.array([0], "int32")' if exported.config["classes"] else ""
    return [
        f"z = np.random.default_rng(0).standard_normal((1, {exported.config['latent']}))",
        f'picture = step(args_0=z.astype("float32"){asked})["output_0"][0]',
        'pixels = ((picture + 1) * 127.5).round().clip(0, 255).astype("uint8").transpose(1, 2, 0)',
        'Image.fromarray(pixels.squeeze()).save("picture.png")',
    ]


TFLITE = Exporter(
    name="tflite", suffix=".tflite", extra="export", write=write, runner=runner, lines=lines, batches=BATCHES
)
