"""Weights kept in fewer bits: large matrices as bfloat16, float16 or int8; they are read as float32 again.

A row is what lies along a matrix' first axis. int8 keeps one scale a row beside the matrix, as `NAME/scale`:
a weight is its whole number from -127 to 127 times the scale of its row, so it is off by half a scale at most.
Vectors, small matrices and counted tables stay as they are: they are few bytes, or must be exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.base.shelf import Shelf

FULL = "float32"
SMALL = 1024
"""Numbers from which a matrix is large."""
_SCALE = "/scale"
_MOST = 127

Stored = dict[str, Tensor]


def narrowed(weights: Mapping[str, Tensor], precision: str) -> Stored:
    """Weights as they are kept in a precision.

    Raises:
        UnknownName: there is no such precision.
        DataError: a weight does not fit into it, or is no finite number.
    """
    narrow = PRECISIONS[precision]
    if precision == FULL:
        return dict(weights)
    stored: Stored = {}
    for name, value in weights.items():
        stored |= narrow(name, value) if _is_large_matrix(value) else {name: value}
    lost = [name for name, value in widened(stored).items() if not _finite(value, weights[name])]
    if lost:
        raise DataError(
            f"the weights `{lost[0]}` do not fit into {precision}",
            hint=f"--precision {'bfloat16' if precision == 'float16' else FULL}",
        )
    return stored


def widened(stored: Mapping[str, Tensor], where: Path | None = None) -> Stored:
    """What `narrowed` kept, as float32.

    Raises:
        CorruptFile: a scale is missing, has no matrix, or does not fit it.
    """
    scales = {name.removesuffix(_SCALE): value for name, value in stored.items() if name.endswith(_SCALE)}
    weights: Stored = {}
    for name, value in stored.items():
        if name.endswith(_SCALE):
            continue
        scale = scales.pop(name, None)
        if (scale is None) == (value.dtype == torch.int8):
            raise CorruptFile(f"the weights `{name}` have no scale, or one too many", where=where)
        if scale is not None:
            weights[name] = _scaled(name, value, scale, where)
        else:
            weights[name] = value.float() if value.is_floating_point() else value
    if scales:
        raise CorruptFile(f"there are no weights `{next(iter(scales))}` for their scale", where=where)
    return weights


def as_float32(stored: Stored, told: Any, where: Path) -> Stored:
    """The weights of a bundle whose manifest tells this of their precision; None is nothing.

    Raises:
        CorruptFile: it tells of no precision, or the weights are not in it.
    """
    if told is None:
        return stored
    if not isinstance(told, dict) or told.get("weights") not in list(PRECISIONS):
        raise CorruptFile("this bundle's weights are in a precision that is not known", where=where)
    return widened(stored, where)


def _scaled(name: str, value: Tensor, scale: Tensor, where: Path | None) -> Tensor:
    if value.ndim < 2 or scale.dtype != torch.float32 or scale.shape != value.shape[:1]:
        raise CorruptFile(f"the scale of the weights `{name}` does not fit them", where=where)
    return value.float() * scale.view(-1, *[1] * (value.ndim - 1))


def _is_large_matrix(value: Tensor) -> bool:
    return value.is_floating_point() and value.ndim >= 2 and value.numel() >= SMALL


def _finite(*values: Tensor) -> bool:
    return all(bool(value.isfinite().all()) for value in values)


def _as_they_are(name: str, value: Tensor) -> Stored:
    return {name: value}


def _cast(kind: torch.dtype) -> Callable[[str, Tensor], Stored]:
    return lambda name, value: {name: value.to(kind)}


def _int8(name: str, value: Tensor) -> Stored:
    rows = value.float().flatten(1)
    scale = rows.abs().amax(1) / _MOST
    scale = torch.where(scale > 0, scale, 1.0)  # a row of zeros
    whole = (rows / scale[:, None]).round().clamp(-_MOST, _MOST).to(torch.int8)
    return {name: whole.view(value.shape), name + _SCALE: scale}


PRECISIONS: Shelf[Callable[[str, Tensor], Stored]] = Shelf(
    "precision",
    float32=_as_they_are,
    bfloat16=_cast(torch.bfloat16),
    float16=_cast(torch.float16),
    int8=_int8,
)
