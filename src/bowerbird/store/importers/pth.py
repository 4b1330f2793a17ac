"""The importer `pth`: PyTorch's files. picklescan looks first; then torch opens it with `weights_only=True`.

Read are our own exports, and state dicts of an embedding, recurrent layers and a linear layer, by themselves or
in a checkpoint under one of the usual names, with its list of symbols if it has one.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.base.files import check_format
from bowerbird.store.importers.importer import Foreign, Importer, manifest_of
from bowerbird.store.importers.pickles import Asked, more_than_weights, scan
from bowerbird.store.importers.symbols import Symbols, as_symbols, beside
from bowerbird.store.importers.torch_names import from_state_dict

FORMAT = 1
_WEIGHTS = ("state_dict", "model_state_dict", "model_state", "weights", "model", "net", "rnn", "decoder")
_SYMBOLS = ("symbols", "tokens", "chars", "vocab", "vocabulary", "itos", "int2char", "idx2char", "idx_to_char",
            "stoi", "char2int", "char2idx", "char_to_idx")  # fmt: skip


def read(path: Path) -> Foreign:
    asked = scan(path)
    content = _load(path, asked)
    pickled = (*asked.known, *asked.other)
    if isinstance(content, Mapping) and "manifest" in content and "architecture" in content:
        return _own(content, path, pickled)
    tensors = _weights(content, path)
    symbols = _symbols(content) or beside(path)
    return from_state_dict("pth", tensors, symbols=symbols, pickled=pickled)


def _load(path: Path, asked: Asked) -> Any:
    """What is in the file: tensors and plain values, for torch's restricted reader makes nothing else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch has against a file is told in the error
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch lets through whatever a broken pickle or archive gives rise to
        if asked.other:
            raise more_than_weights(asked, path) from error
        first = str(error).partition("\n")[0][:200]
        raise CorruptFile(f"this is no file of weights: {first}", where=path) from error


def _own(content: Mapping[str, Any], path: Path, pickled: tuple[str, ...]) -> Foreign:
    check_format(content.get("format"), FORMAT, "export", path)
    files, architecture, card = (content.get(name) for name in ("codec_files", "architecture", "card"))
    if not (
        isinstance(architecture, dict)
        and isinstance(card, str)
        and isinstance(files, dict)
        and all(isinstance(part, str) for pair in files.items() for part in pair)
    ):
        raise CorruptFile("this export is damaged: parts of it are missing or wrong", where=path)
    return Foreign(
        "pth",
        _tensors(content.get("state_dict"), path),
        architecture,
        pickled=pickled,
        manifest=manifest_of(content.get("manifest"), path),
        partners=_tensors(content.get("partners") or {}, path),
        codec_files={name: text.encode("utf-8", "surrogatepass") for name, text in files.items()},
        card=card,
    )


def _weights(content: Any, path: Path) -> dict[str, Tensor]:
    """The state dict in a file, by itself or under one of the usual names."""
    if isinstance(content, Mapping):
        if content and all(isinstance(value, Tensor) for value in content.values()):
            return _tensors(content, path)
        for name in _WEIGHTS:
            inner = content.get(name)
            if (
                isinstance(inner, Mapping)
                and inner
                and all(isinstance(value, Tensor) for value in inner.values())
            ):
                return _tensors(inner, path)
    raise DataError(
        "there is no state dict in this file",
        where=path,
        hint="save it as torch.save(model.state_dict(), PATH)",
    )


def _symbols(content: Any) -> Symbols | None:
    tables = (content.get(name) for name in _SYMBOLS) if isinstance(content, Mapping) else ()
    return next((found for table in tables if (found := as_symbols(table))), None)


def _tensors(value: Any, path: Path) -> dict[str, Tensor]:
    """Checked: a tensor may claim to be larger than the memory it is a view of."""
    if not isinstance(value, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in value.items()
    ):
        raise CorruptFile("this file's weights are not tensors by name", where=path)
    for name, tensor in value.items():
        whole = tensor.layout is torch.strided and tensor.device.type == "cpu" and not tensor.is_quantized
        if not whole or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise CorruptFile(
                f"a tensor of this file is none that weights are made of: {name[:100]}", where=path
            )
    return {name: tensor.detach().contiguous().clone() for name, tensor in value.items()}


PTH = Importer("pth", (".pth", ".pt"), read)
