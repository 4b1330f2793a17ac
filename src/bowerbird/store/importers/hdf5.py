"""HDF5 files that strangers made, read by a process of its own which may crash or hang without harm to this one."""

from __future__ import annotations

import atexit
import json
import math
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from bowerbird.base.errors import CorruptFile, MissingExtra, NotFound, Refused

_SECONDS, _BYTES_A_SECOND = 60.0, 1_000_000.0
"""How long an answer may take: so long, and for so many bytes of the file a second more. By the processor's time the
other process allows itself far less."""


@dataclass(frozen=True)
class Stored:
    """What a file holds of a Keras model, by the path of group or array, which begins without a slash."""

    attributes: Mapping[str, Mapping[str, list[str]]]
    arrays: Mapping[str, Tensor]
    """float32."""

    def texts(self, group: str, name: str) -> list[str]:
        """An attribute that is a list of texts, which Keras cuts into several where it is long; empty without one."""
        held = self.attributes.get(group, {})
        parts, number = list(held.get(name, [])), 0
        while f"{name}{number}" in held:
            parts += held[f"{name}{number}"]
            number += 1
        return parts


def read(path: Path, where: Path) -> Stored:
    """What a file holds; `where` is named in errors.

    Raises:
        NotFound: there is no such file.
        Refused: it tries to read other files, to load a plugin, or to fill the memory.
        CorruptFile: it cannot be read, or the library crashed or hung over it.
        MissingExtra: h5py is not installed.
    """
    if find_spec("h5py") is None:
        raise MissingExtra("reading Keras' files", "export", instead="convert it to .safetensors")
    if not path.is_file():
        raise NotFound("this file is not there", where=where)
    header, numbers = _READER.ask(path)
    if "hostile" in header:
        raise Refused(f"this file is not one of weights alone: {header['hostile']}", where=where)
    if "damaged" in header:
        raise CorruptFile(f"this file's arrays cannot be read: {header['damaged']}", where=where)
    arrays, at = {}, 0
    for name, shape in header["arrays"].items():
        count = math.prod(shape)
        arrays[name] = torch.from_numpy(np.frombuffer(numbers, np.float32, count, at).reshape(shape).copy())
        at += 4 * count
    return Stored(header["attributes"], arrays)


class _Reader:
    """The other process: started when it is first needed, and again after it has died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._turn = threading.Lock()

    def ask(self, path: Path) -> tuple[dict[str, Any], bytes]:
        """The header and the numbers of its answer; `damaged` where it gave none."""
        with self._turn:
            process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            limit = _SECONDS + path.stat().st_size / _BYTES_A_SECOND
            clock = threading.Timer(limit, process.kill)
            clock.start()
            try:
                process.stdin.write(json.dumps(str(path.absolute())).encode() + b"\n")
                process.stdin.flush()
                return _answer(process.stdout)
            except (OSError, EOFError, ValueError):
                process.kill()
                process.wait()
                return {"damaged": "HDF5's library crashed or hung over it"}, b""
            finally:
                clock.cancel()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # a question that it died before it had read
                        pipe.close()
            self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            script = Path(__file__).with_name("hdf5_process.py")
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-P",
                    "-W",
                    "ignore",
                    str(script),
                ],  # -P: the files beside it are no packages
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OMP_NUM_THREADS": "1"},  # no plugins
            )
        return self._process


def _answer(pipe: IO[bytes]) -> tuple[dict[str, Any], bytes]:
    header: dict[str, Any] = json.loads(_exactly(pipe, int.from_bytes(_exactly(pipe, 8), "little")))
    sizes = [math.prod(shape) for shape in header.get("arrays", {}).values()]
    return header, _exactly(pipe, 4 * sum(sizes))


def _exactly(pipe: IO[bytes], count: int) -> bytes:
    content = pipe.read(count)
    if len(content) < count:
        raise EOFError("the process has died")
    return content


_READER = _Reader()
atexit.register(_READER.close)
