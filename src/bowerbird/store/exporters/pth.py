"""The exporter `pth`: one file for `torch.load(weights_only=True)`, holding numbers, texts and tensors only.

format         1
kind           text, melody or image
architecture   the `model` part of the settings, as the network's config takes it
state_dict     the weights
partners       weights of networks that only training needs
optimizer      where the model is a run's checkpoint: all that its next training step depends on
symbols        the text of each token
metadata       start, banned and end tokens, classes and the like, as strings
manifest       the bundle's: codec, normaliser, structure, settings, lineage, step
codec_files    the codec's own files, by name, as text
card           what the model is, learnt from and is not for
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bowerbird.store.exporters.exporter import Exported, Exporter, Runner
from bowerbird.store.exporters.own_weights import greedy_lines, picture_lines, runner_of

FORMAT = 1


def write(exported: Exported, path: Path) -> None:
    content: dict[str, Any] = {
        "format": FORMAT,
        "kind": exported.kind,
        "architecture": _plain(exported.config),
        "state_dict": _alone(exported.weights),
        "partners": _alone(exported.partners),
        "symbols": list(exported.symbols),
        "metadata": dict(exported.metadata),
        "manifest": _plain(exported.manifest),
        "codec_files": {name: content.decode("utf-8") for name, content in exported.codec_files.items()},
        "card": exported.card,
    }
    if exported.optimizer is not None:
        content["optimizer"] = _alone(exported.optimizer)
    torch.save(content, path)


@contextmanager
def runner(path: Path, exported: Exported) -> Iterator[Runner]:
    yield runner_of(exported, torch.load(path, weights_only=True)["state_dict"])


def lines(exported: Exported, path: str) -> str:
    show = picture_lines if exported.kind == "image" else greedy_lines
    return show(
        exported,
        "import torch",
        f"file = torch.load({path!r}, weights_only=True)",
        {
            "weights": 'file["state_dict"]',
            "architecture": 'file["architecture"]',
            "symbols": 'file["symbols"]',
        },
    )


def _alone(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Each in memory of its own: a file holds all of the memory that a tensor is a part of."""
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """In the types of JSON, which every version of torch reads."""
    plain: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return plain


PTH = Exporter(name="pth", suffix=".pth", extra=None, write=write, runner=runner, lines=lines)
