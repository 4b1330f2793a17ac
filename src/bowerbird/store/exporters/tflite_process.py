"""The process of the TensorFlow Lite converter's own environment: converts exported programs, and runs what it made.

    python -P tflite_process.py convert FOLDER FILE ROWS...
    python -P tflite_process.py run FILE

FOLDER holds a program of `torch.export` for each number of rows, `batch_ROWS.pt2`. Nothing of bowerbird can be
imported here but `frames.py`, which lies beside.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def convert(folder: Path, path: Path, batches: Sequence[str]) -> None:
    """One signature for each number of rows, all with the same weights."""
    import litert_torch
    import torch

    converter: Any = litert_torch
    shared: dict[str, Any] = {}
    for rows in batches:
        program = torch.export.load(folder / f"batch_{rows}.pt2")
        given = program.example_inputs[0]
        module = program.module()
        for name, value in [*module.named_parameters(), *module.named_buffers()]:
            value.data = shared.setdefault(name, value.data)
        converter = converter.signature(f"batch_{rows}", module, given)
    converter.convert().export(str(path))


def run(path: Path) -> Callable[[Any], Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    runners = {name: interpreter.get_signature_runner(name) for name in interpreter.get_signature_list()}

    def step(given: Any) -> Any:
        answer = runners[f"batch_{len(given[0])}"]
        named = {f"args_{index}": _narrow(part) for index, part in enumerate(given)}
        found = answer(**named)
        return [found[f"output_{index}"] for index in range(len(found))]

    return step


def _narrow(part: Any) -> Any:
    return part.astype("int32") if part.dtype == "int64" else part


def _frames() -> Any:
    """Loaded by its place: its folder also has files that are named as other packages are."""
    spec: Any = importlib.util.spec_from_file_location("frames", Path(__file__).with_name("frames.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    if sys.argv[1] == "convert":
        convert(Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4:])
    else:
        _frames().serve(lambda: run(Path(sys.argv[2])))
