"""The side of `hdf5` that opens files, a process of its own: HDF5's library can crash and hang on a broken one.

Run as a script, with h5py and numpy alone. To each line on stdin, a path in JSON, it answers on stdout with the
length of a header (8 bytes, little-endian), the header in JSON, and the arrays' numbers as float32 one after the
other, in the header's order.
"""

from __future__ import annotations

import json
import math
import os
import sys
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

ATTRIBUTES = ("layer_names", "weight_names", "model_config")
TOLD = "bowerbird.json"
_SKIPPED = ("optimizer_weights", "optimizer")
_MOST_ATTRIBUTE = 1 << 24
_MOST_EXPANSION = 100
"""By how much an array may be larger than what is stored of it."""
_MOST_OF_FILE = 16
"""By how much all arrays may be larger than the file."""
_FREE = 1 << 20
"""Bytes that an array may have however little of it is stored."""
_MEMORY = 8 << 30
_SECONDS, _BYTES_A_SECOND = 2, 10_000_000
"""Of the processor's time: so many, and one more for so many bytes."""
_FILTERS = {1, 2, 3}
"""Deflate, shuffle and checksums. For any other the library would look for a plugin, which is code."""


class Hostile(Exception):
    """The file tries something that numbers do not need."""


def read(path: str) -> tuple[dict[str, dict[str, list[str]]], dict[str, NDArray[np.float32]]]:
    """The attributes of each group that tell of a Keras model, and every array of floating-point numbers, by path."""
    room = _FREE + _MOST_OF_FILE * os.path.getsize(path)
    attributes: dict[str, dict[str, list[str]]] = {}
    arrays: dict[str, NDArray[np.float32]] = {}
    seen: set[int] = set()
    with h5py.File(path, "r") as root:
        waiting: list[tuple[str, Any]] = [("", root)]
        while waiting:
            place, holder = waiting.pop()
            attributes[place] = {
                name: _texts(holder, name) for name in holder.attrs if name.startswith(ATTRIBUTES)
            }
            for name in holder:
                if place or name not in _SKIPPED:
                    where = f"{place}/{name}" if place else name
                    found = _member(holder, name, where, seen)
                    if isinstance(found, h5py.Group):
                        waiting.append((where, found))
                    elif where == TOLD and found.shape == ():
                        attributes[""][TOLD] = [found.asstr()[()]]
                    elif (
                        isinstance(found, h5py.Dataset)
                        and found.dtype.kind == "f"
                        and found.shape is not None
                    ):
                        arrays[where] = _array(found, where)
                        room -= arrays[where].nbytes
                        if room < 0:
                            raise Hostile("its arrays are far more than the file is large: it is a bomb")
    return attributes, arrays


def _member(holder: Any, name: str, where: str, seen: set[int]) -> Any:
    if holder.get(name, getclass=True, getlink=True) is not h5py.HardLink:
        raise Hostile(f"it tries to read other places: {where!r} is a link")
    found = holder[name]
    address = h5py.h5o.get_info(found.id).addr
    if address in seen:
        raise Hostile(f"it is a bomb: {where!r} stands in it under many names")
    seen.add(address)
    return found


def _array(found: Any, where: str) -> NDArray[np.float32]:
    plan = found.id.get_create_plist()
    if found.external or found.is_virtual:
        raise Hostile(f"it tries to read other files: the numbers of {where!r} are elsewhere")
    if any(plan.get_filter(index)[0] not in _FILTERS for index in range(plan.get_nfilters())):
        raise Hostile(f"it tries to load a plugin: {where!r} is packed in a way of its own")
    size = math.prod(found.shape) * max(found.dtype.itemsize, 4)
    if size > _FREE + _MOST_EXPANSION * found.id.get_storage_size():
        raise Hostile(f"it is a bomb: {where!r} would be {size:,} bytes, and few of them are here")
    return np.ascontiguousarray(found[()], np.float32)


def _texts(holder: Any, name: str) -> list[str]:
    """An attribute's texts. Raises ValueError for one that claims to be larger than attributes are."""
    held = holder.attrs.get_id(name)
    if math.prod(held.shape) * held.dtype.itemsize > _MOST_ATTRIBUTE:
        raise ValueError(f"the attribute {name!r} claims to be too large")
    value = holder.attrs[name]
    texts = [value] if isinstance(value, bytes | str) else np.asarray(value).reshape(-1).tolist()
    return [text.decode("utf-8") if isinstance(text, bytes) else str(text) for text in texts]


def _limit(path: str) -> None:
    """Where the system can: more memory than `_MEMORY` is an error, more time than a file needs is the end."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = used.ru_utime + used.ru_stime + _SECONDS + os.path.getsize(path) / _BYTES_A_SECOND
    for what, amount in ((resource.RLIMIT_AS, _MEMORY), (resource.RLIMIT_CPU, math.ceil(seconds))):
        _, most = resource.getrlimit(what)
        resource.setrlimit(what, (amount if most < 0 else min(amount, most), most))


def main() -> None:
    for line in sys.stdin.buffer:
        arrays: dict[str, NDArray[np.float32]] = {}
        try:
            path = json.loads(line)
            _limit(path)
            attributes, arrays = read(path)
            answer: dict[str, Any] = {
                "attributes": attributes,
                "arrays": {n: a.shape for n, a in arrays.items()},
            }
        except Hostile as error:
            answer = {"hostile": str(error)}
        except (
            Exception
        ) as error:  # the library raises whatever its parts do: OSError, KeyError, RuntimeError ...
            arrays, answer = {}, {"damaged": str(error)[:300]}
        header = json.dumps(answer).encode()
        sys.stdout.buffer.write(len(header).to_bytes(8, "little") + header)
        if "arrays" in answer:
            for array in arrays.values():
                sys.stdout.buffer.write(array.tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
