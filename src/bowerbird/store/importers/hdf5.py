"""HDF5 files that strangers made: only plain arrays in the file itself are read, never what one links to."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bowerbird.base.errors import BowerbirdError, CorruptFile, MissingExtra, NotFound, Refused

_MOST_EXPANSION = 100
_FREE = 1 << 20
"""Bytes that any array may have, however little of it is stored."""
_FILTERS = {1, 2, 3}
"""Deflate, shuffle and checksums. For any other the library would look for a plugin, which is code."""


@contextmanager
def opened(source: Path | bytes, where: Path) -> Iterator[Any]:
    """The root group of a file, or of a file's content.

    Raises:
        NotFound: there is no such file.
        CorruptFile: it cannot be read as HDF5; also for whatever fails while it is open.
        MissingExtra: h5py is not installed.
    """
    try:
        import h5py
    except ImportError as error:
        raise MissingExtra("reading Keras' files", "export", instead="convert it to .safetensors") from error
    if isinstance(source, Path) and not source.is_file():
        raise NotFound("this file is not there", where=where)
    try:
        with h5py.File(source if isinstance(source, Path) else io.BytesIO(source), "r") as root:
            yield root
    except BowerbirdError:
        raise
    except (
        Exception
    ) as error:  # the library raises whatever its parts do: OSError, KeyError, RuntimeError ...
        raise CorruptFile(f"this file's arrays cannot be read: {error}", where=where) from error


def group(parent: Any, path: str, where: Path) -> Any | None:
    """The group at a path below another; None where there is none."""
    import h5py

    for part in path.split("/"):
        if part not in parent:
            return None
        parent = _own(parent, part, where)
        if not isinstance(parent, h5py.Group):
            return None
    return parent


def array(parent: Any, path: str, where: Path) -> Tensor:
    """The array of floating-point numbers at a path, as float32.

    Raises:
        CorruptFile: there is none.
        Refused: it lies outside of the file, needs a plugin to be read, or would be far larger than what is stored.
    """
    import h5py

    *groups, name = path.split("/")
    holder = group(parent, "/".join(groups), where) if groups else parent
    found = _own(holder, name, where) if holder is not None and name in holder else None
    if not isinstance(found, h5py.Dataset) or found.dtype.kind != "f" or found.shape is None:
        raise CorruptFile(f"there are no weights {path!r} in this file", where=where)
    plan = found.id.get_create_plist()
    if found.external or found.is_virtual:
        raise Refused(
            f"this file tries to read other files: the numbers of {path!r} are elsewhere", where=where
        )
    if any(plan.get_filter(index)[0] not in _FILTERS for index in range(plan.get_nfilters())):
        raise Refused(
            f"this file tries to load a plugin: {path!r} is packed in a way of its own", where=where
        )
    size = int(np.prod(found.shape, dtype=object)) * found.dtype.itemsize
    if size > _FREE + _MOST_EXPANSION * found.id.get_storage_size():
        raise Refused(
            f"this file is a bomb: {path!r} would be {size:,} bytes, and few of them are here", where=where
        )
    return torch.from_numpy(np.asarray(found[()], np.float32).copy())


def texts(parent: Any, name: str) -> list[str]:
    """An attribute that is a list of texts, which Keras cuts into several where it is long; empty without one."""
    if name in parent.attrs:
        return [text(value) for value in parent.attrs[name]]
    found: list[str] = []
    index = 0
    while f"{name}{index}" in parent.attrs:
        found += [text(value) for value in parent.attrs[f"{name}{index}"]]
        index += 1
    return found


def text(value: Any) -> str:
    """A text that HDF5 may give as bytes."""
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)


def _own(parent: Any, name: str, where: Path) -> Any:
    """A member of a group that is in this very file.

    Raises:
        Refused: it is a link to elsewhere.
    """
    import h5py

    link = parent.get(name, getclass=True, getlink=True)
    if link is not h5py.HardLink:
        raise Refused(f"this file tries to read other places: {name!r} is a link", where=where)
    return parent[name]
