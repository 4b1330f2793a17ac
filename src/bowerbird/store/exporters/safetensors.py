"""The exporter `safetensors`: weights alone, in a folder laid out as on the Hugging Face Hub.

model.safetensors        the weights; `bowerbird.config` in its header is config.json once more
config.json              architecture (`model`), kind, symbols of the tokens, and `bundle`, its manifest
tokenizer.json           where the codec has one
generation_config.json   start, end and banned tokens; not for pictures
README.md                the model card
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from bowerbird.store.exporters.exporter import Exported, Exporter, Runner
from bowerbird.store.exporters.own_weights import architecture, greedy_lines, picture_lines, runner_of
from bowerbird.store.exporters.told import TOKENS, sampling

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
_TASKS = {"text": "text-generation", "image": "unconditional-image-generation"}


def write(exported: Exported, path: Path) -> None:
    config = json.dumps(_config(exported), indent=1)
    for name, content in exported.codec_files.items():
        (path / name).write_bytes(content)
    if exported.kind != "image":
        (path / "generation_config.json").write_text(json.dumps(_generation(exported), indent=1) + "\n")
    (path / CONFIG).write_text(config + "\n")
    (path / "README.md").write_text(_card(exported), encoding="utf-8")
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in exported.weights.items()},
        path / WEIGHTS,
        metadata={**exported.metadata, "format": "pt", "bowerbird.config": config},
    )


@contextmanager
def runner(path: Path, exported: Exported) -> Iterator[Runner]:
    yield runner_of(exported, load_file(path / WEIGHTS))


def lines(exported: Exported, path: str) -> str:
    show = picture_lines if exported.kind == "image" else greedy_lines
    return show(
        exported,
        "import json\nfrom pathlib import Path\nimport torch\nfrom safetensors.torch import load_file",
        f"folder = Path({path!r})\n"
        f'config = json.loads((folder / "{CONFIG}").read_text())\n'
        f'tensors = load_file(folder / "{WEIGHTS}")',
        {"weights": "tensors", "architecture": 'config["model"]', "symbols": 'config["symbols"]'},
    )


def _config(exported: Exported) -> dict[str, Any]:
    told = {
        "architectures": [architecture(exported)],
        "model_type": "bowerbird",
        "dtype": "float32",
        "kind": exported.kind,
        "model": dict(exported.config),
        "bundle": dict(exported.manifest),
    }
    if exported.kind == "image":
        return told
    return {**told, "vocab_size": len(exported.symbols), "symbols": list(exported.symbols)}


def _generation(exported: Exported) -> dict[str, Any]:
    tokens = sampling(exported)
    told = {
        "bos_token_id": tokens.start,
        "eos_token_id": tokens.ends,
        "do_sample": True,
        "max_new_tokens": TOKENS,
    }
    return {**told, "suppress_tokens": tokens.banned} if tokens.banned else told


def _card(exported: Exported) -> str:
    task = _TASKS.get(exported.kind)
    head = ["library_name: bowerbird", *([f"pipeline_tag: {task}"] if task else [])]
    note = (
        "These are its weights alone; `bowerbird import THIS_FOLDER --out BUNDLE` makes a bundle of them.\n"
    )
    return "\n".join(["---", *head, "---", "", exported.card, note])


SAFETENSORS = Exporter(name="safetensors", suffix="", extra=None, write=write, runner=runner, lines=lines)
