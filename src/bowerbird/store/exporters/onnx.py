"""ONNX: one step of the network as a graph, states in and out, any batch. Run by ONNX Runtime.

What sampling needs to know is in the file's metadata, under `bowerbird.`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.store.exporters.exporter import Exported, Exporter, Port, Runner

MOST_BYTES = 2_000_000_000
"""Of weights: a file of this format is one message of Protocol Buffers, which cannot be longer than 2 GiB."""
_DTYPES = {"int64": torch.int64, "float32": torch.float32}


class _Called(nn.Module):
    """The module with its inputs in one tuple, so that all are told to be of any batch in one way."""

    def __init__(self, module: nn.Module):
        super().__init__()
        self.module = module

    def forward(self, *inputs: Tensor) -> Any:
        return self.module(*inputs)


def write(exported: Exported, path: Path) -> None:
    """Trace the module, drop what the tracer notes of this machine, and add what the file tells of itself.

    Raises:
        MissingExtra: onnx or onnxscript are not installed.
        UsageError: the weights are too large for a file of this format.
    """
    held = sum(value.nbytes for value in exported.module.state_dict().values())
    if held > MOST_BYTES:
        raise UsageError(
            f"{held / 1e9:.1f} GB of weights do not fit into an ONNX file, which holds 2 GB",
            hint="--to safetensors has no such limit",
        )
    try:
        from onnx_ir import save
        from onnx_ir.passes.common import ClearMetadataAndDocStringPass
        from onnxscript import opset20
    except ImportError as error:
        raise MissingExtra("exporting to ONNX", "export") from error

    def gather(table: Any, indices: Sequence[Any]) -> Any:
        """What `table[index]` is; torch's own way to say it takes no 32-bit numbers."""
        return opset20.Gather(table, *indices)

    batch = torch.export.Dim("batch")
    # Two of each, and no tensor given twice: the tracer takes 1 for any, and equal inputs for one.
    given = tuple(torch.zeros(2, *port.shape, dtype=_DTYPES[port.dtype]) for port in exported.inputs)
    with _quiet():
        program = torch.onnx.export(
            _Called(exported.module).eval(),
            given,
            input_names=[port.name for port in exported.inputs],
            output_names=[port.name for port in exported.outputs],
            dynamic_shapes=(tuple({0: batch} for _ in given),),
            opset_version=20,
            custom_translation_table={torch.ops.aten.index.Tensor: gather},
            verbose=False,
        )
    assert program is not None, "the exporter that gives a program"
    ClearMetadataAndDocStringPass()(program.model)
    program.model.metadata_props.update(exported.metadata)
    save(program.model, path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of its own inside, and of torchvision, which no network here needs."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*LeafSpec.* is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def runner(path: Path, exported: Exported) -> Iterator[Runner]:
    """ONNX Runtime on the processor.

    Raises:
        MissingExtra: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtra("running an ONNX file", "export") from error
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names, wanted = _names(exported.inputs), _names(exported.outputs)

    def run(inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        return list(session.run(wanted, dict(zip(names, inputs, strict=True))))

    yield run


def _names(ports: Sequence[Port]) -> list[str]:
    return [port.name for port in ports]


def lines(exported: Exported, path: str) -> str:
    """Python that loads this path and prints 200 greedy tokens, or saves the picture of seed 0."""
    if exported.kind == "image":
        labels = "labels=np.array([0])" if len(exported.inputs) > 1 else ""
        return _PICTURE.format(path=path, size=exported.inputs[0].shape[0], labels=labels)
    return _TOKENS.format(path=path)


_TOKENS = """\
import json
import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession({path!r})
about = {{key[10:]: value for key, value in model.get_modelmeta().custom_metadata_map.items()}}
symbols, ends, banned = (json.loads(about[key]) for key in ("symbols", "end_tokens", "banned_tokens"))
names, text = [port.name for port in model.get_inputs()], ""
states = [np.zeros((1, port.shape[1]), np.float32) for port in model.get_inputs()[1:]]
token, never = int(about["start_token"]), banned + ends
for _ in range(200):
    logits, *states = model.run(None, dict(zip(names, [np.array([token], np.int64), *states])))
    logits[:, never] = -np.inf
    token, never = int(logits.argmax()), banned
    if token in ends:
        break
    text += symbols[token]
print(text[:200])
"""

_PICTURE = """\
import struct
import zlib
import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession({path!r})
latent = np.random.default_rng(0).standard_normal((1, {size})).astype(np.float32)
picture = model.run(None, dict(latent=latent, {labels}))[0][0].transpose(1, 2, 0)
pixels = ((picture + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
head = struct.pack(">2I5B", *pixels.shape[1::-1], 8, {{1: 0, 3: 2, 4: 6}}[pixels.shape[2]], 0, 0, 0)
rows = b"".join(b"\\0" + row.tobytes() for row in pixels)
with open("picture.png", "wb") as file:
    file.write(b"\\x89PNG\\r\\n\\x1a\\n" + chunk(b"IHDR", head))
    file.write(chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
"""

ONNX = Exporter(name="onnx", suffix=".onnx", extra="export", write=write, runner=runner, lines=lines)
