"""Arrays sent between two processes: a length in 8 bytes, then so many bytes of numpy's .npz format.

This file needs numpy alone, so that a process of another environment can load it too.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Arrays = Sequence[NDArray[Any]]


def send(stream: BinaryIO, arrays: Arrays) -> None:
    held = io.BytesIO()
    np.savez(held, *arrays)
    content = held.getvalue()
    stream.write(len(content).to_bytes(8, "big") + content)
    stream.flush()


def receive(stream: BinaryIO) -> list[NDArray[Any]] | None:
    """The arrays sent next, or None where the other side has ended."""
    length = int.from_bytes(stream.read(8), "big")
    content = stream.read(length)
    if not length or len(content) < length:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as held:
        return [held[name] for name in held.files]


def serve(load: Callable[[], Callable[[Arrays], Arrays]]) -> None:
    """Answer on standard output what comes on standard input, with the function that `load` gives.

    Whatever is printed meanwhile goes to standard error.
    """
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    function = load()
    while (given := receive(sys.stdin.buffer)) is not None:
        send(out, function(given))
