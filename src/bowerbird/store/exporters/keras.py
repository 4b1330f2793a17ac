"""The exporters `keras` and `h5`: Keras' own layers wherever it has them, for any of its backends.

A network with counted n-grams or a cache needs two layers more; their file is written beside the export as
`bowerbird_layers.py`. Keras is imported in a process of its own, whose backend is torch.
"""

from __future__ import annotations

import functools
import importlib.util
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from bowerbird.base.errors import MissingExtra, Refused
from bowerbird.store.exporters.apart import run, running
from bowerbird.store.exporters.exporter import Exported, Exporter, Runner
from bowerbird.store.exporters.told import TOKENS, TOLD, sampling, told

LAYERS = "bowerbird_layers"
CELLS = ("lstm", "gru", "rnn", "mingru")
_PROCESS = [sys.executable, "-P", "-m", "bowerbird.store.exporters.keras_process"]
_READ = {
    ".keras": ("zipfile", "zipfile.ZipFile({0!r}).read({1!r})"),
    ".h5": ("h5py", "h5py.File({0!r})[{1!r}][()]"),
}
"""The package that opens what a file tells of itself, and how."""


def write(exported: Exported, path: Path, *, suffix: str) -> None:
    """Write a Keras model, and beside it the layers that are not Keras' own.

    Raises:
        MissingExtra: Keras is not installed.
        Refused: the network has a cell that cannot be told to Keras.
    """
    _check(exported, suffix)
    with _settings() as settings, tempfile.TemporaryDirectory() as folder:
        handed = Path(folder)
        np.savez(handed / "arrays.npz", **_arrays(exported))
        task = {"kind": exported.kind, "config": dict(exported.config), "told": told(exported)}
        (handed / "task.json").write_text(json.dumps(task), encoding="utf-8")
        made = handed / f"model{suffix}"
        run([*_PROCESS, "write", folder, str(made)], settings, "Keras could not write this model")
        shutil.move(made, path)
    if _needs_layers(exported):
        shutil.copyfile(Path(__file__).with_name("keras_layers.py"), path.with_name(f"{LAYERS}.py"))


@contextmanager
def runner(path: Path, exported: Exported) -> Iterator[Runner]:
    """`keras.saving.load_model` on the torch backend."""
    with (
        _settings() as settings,
        running([*_PROCESS, "run", str(path)], settings, "Keras could not run this model") as step,
    ):
        yield step


def lines(exported: Exported, path: str, *, suffix: str) -> str:
    show = _picture_lines if exported.kind == "image" else _greedy_lines
    return show(exported, path, suffix)


def _check(exported: Exported, suffix: str) -> None:
    if any(importlib.util.find_spec(name) is None for name in ("keras", "h5py")):
        raise MissingExtra(f"export to {suffix}", "export")
    cell = exported.config.get("cell")
    if exported.kind != "image" and cell not in CELLS:
        raise Refused(
            f"Keras has no counterpart of the cell `{cell}`", hint="--to onnx, or --to pth for torch"
        )


@contextmanager
def _settings() -> Iterator[dict[str, str]]:
    """Environment variables for Keras; its own settings in the user's home are neither read nor made."""
    with tempfile.TemporaryDirectory() as home:
        yield {"KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu", "KERAS_HOME": home}


def _arrays(exported: Exported) -> dict[str, Any]:
    """What the module is made of, as the process names it."""
    return {
        name.removeprefix("generator."): value.float().numpy() if value.is_floating_point() else value.numpy()
        for name, value in exported.module.state_dict().items()
    }


def _needs_layers(exported: Exported) -> bool:
    return exported.config.get("ngrams") is not None or exported.config.get("cache") is not None


def _head(exported: Exported, path: str, *imports: str) -> list[str]:
    own = _needs_layers(exported)
    return [
        "import " + ", ".join(["os", *(["sys"] if own else []), *imports]),
        "",
        'os.environ.setdefault("KERAS_BACKEND", "torch")  # or tensorflow, or jax',
        *([f"sys.path.append({str(Path(path).parent)!r})"] if own else []),
        "import keras, numpy as np",
        *([f"import {LAYERS}"] if own else []),
        "",
        f"model = keras.saving.load_model({path!r}, compile=False)",
    ]


def _greedy_lines(exported: Exported, path: str, suffix: str) -> str:
    (package, read), tokens = _READ[suffix], sampling(exported)
    return "\n".join(
        [
            *_head(exported, path, "json", package),
            f'symbols = json.loads({read.format(path, TOLD)})["symbols"]',
            'state = [np.zeros((1, port.shape[1]), "float32") for port in model.inputs[1:]]',
            f"ends, banned = {tokens.ends}, {tokens.banned}",
            f'token, text, never = {tokens.start}, "", banned + ends',
            f"for _ in range({TOKENS}):",
            "    logits, *state = model.predict_on_batch([np.array([token]), *state])",
            "    scores = np.array(logits[0])",
            "    scores[never] = -np.inf",
            "    token, never = int(scores.argmax()), banned",
            "    if token in ends:",
            "        break",
            "    text += symbols[token]",
            f"print(text[:{TOKENS}])",
            "",
        ]
    )


def _picture_lines(exported: Exported, path: str, suffix: str) -> str:
    latent = f'np.random.default_rng(0).standard_normal((1, {exported.config["latent"]})).astype("float32")'
    asked = "[z, np.array([0])]" if exported.config["classes"] else "[z]"
    return "\n".join(
        [
            *_head(exported, path),
            "from PIL import Image",
            "",
            f"z = {latent}",
            f"picture = model.predict_on_batch({asked})[0]",
            'pixels = ((picture + 1) * 127.5).round().clip(0, 255).astype("uint8").transpose(1, 2, 0)',
            'Image.fromarray(pixels.squeeze()).save("picture.png")',
            "",
        ]
    )


def _exporter(name: str) -> Exporter:
    suffix = f".{name}"
    return Exporter(
        name=name,
        suffix=suffix,
        extra="export",
        write=functools.partial(write, suffix=suffix),
        runner=runner,
        lines=functools.partial(lines, suffix=suffix),
    )


KERAS = _exporter("keras")
H5 = _exporter("h5")
