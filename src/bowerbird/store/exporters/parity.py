"""The proof of an export: a file, run by its format's own loader, gives what our network gives.

B rows, V tokens. Both sides read the same tokens, each with its own state, and are compared after every one.
Some tokens are what the network expects, some repeat what was just read, some are any: so that counted
n-grams, a cache and the beginnings of documents all come into play.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bowerbird.base.errors import Refused
from bowerbird.store.exporters.exporter import Exported, Exporter, Port, Runner

LENGTHS = (1, 5, 32)
"""Tokens read in a case."""
STATES = ("start", "carried", "mixed")
"""Before any token; after `_BEFORE` of them; each second row so, the others so."""
LATENTS = {"normal": 1.0, "narrow": 0.5, "wide": 2.0}
"""Of pictures, in place of a state: how far the noise is spread."""
_BEFORE = 40
_REPEAT = 8
"""Each second run of so many tokens repeats the one before."""
_ANY = 0.2
"""Share of the other tokens that are any."""


def prove(exporter: Exporter, path: Path, exported: Exported) -> dict[str, Any]:
    """Run the file at `path` beside our own network, at several batch sizes, lengths and states.

    Returns:
        `max_abs_difference` over logits, states and pictures; `cases`, each with its own; `tolerance`,
        `seconds` and `size_bytes`.

    Raises:
        Refused: it is above the exporter's tolerance, or an output has another shape.
    """
    began = time.monotonic()
    with exporter.runner(path, exported) as run:
        cases = (
            _pictures(exporter, exported, run)
            if exported.kind == "image"
            else _texts(exporter, exported, run)
        )
    worst = max(cases, key=lambda case: float(case["max_abs_difference"]))
    if not worst["max_abs_difference"] <= exporter.tolerance:
        raise Refused(
            f"the {exporter.name} file does not give what the model gives: they differ by "
            f"{worst['max_abs_difference']:.2g}, and {exporter.tolerance:.2g} is let pass",
            where=f"batch {worst['batch']}, length {worst['length']}, state {worst['state']}",
            hint="nothing was written; please report this, or export to another format",
        )
    return {
        "max_abs_difference": worst["max_abs_difference"],
        "cases": cases,
        "tolerance": exporter.tolerance,
        "seconds": round(time.monotonic() - began, 3),
        "size_bytes": size_of(path),
    }


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _case(rows: int, length: int, state: str, difference: float) -> dict[str, Any]:
    return {"batch": rows, "length": length, "state": state, "max_abs_difference": difference}


def _pictures(exporter: Exporter, exported: Exported, run: Runner) -> list[dict[str, Any]]:
    cases = []
    for number, (name, spread) in enumerate(LATENTS.items()):
        for rows in exporter.batches:
            noise = np.random.default_rng([rows, number])
            given = [
                _drawn(port, rows, spread, int(exported.config["classes"]), noise) for port in exported.inputs
            ]
            difference = _difference(exported.outputs, rows, _ours(exported, given), run(given))
            cases.append(_case(rows, 1, name, difference))
    return cases


def _drawn(port: Port, rows: int, spread: float, classes: int, noise: np.random.Generator) -> NDArray[Any]:
    """Latent numbers, or labels, among them that of no class."""
    if port.dtype == "int64":
        return noise.integers(-1, classes, (rows, *port.shape))
    return (noise.standard_normal((rows, *port.shape)) * spread).astype(np.float32)


def _texts(exporter: Exporter, exported: Exported, run: Runner) -> list[dict[str, Any]]:
    cases = []
    for rows in exporter.batches:
        for number, state in enumerate(STATES):
            if rows == 1 and state == "mixed":
                continue
            for length in LENGTHS:
                reader = _Reader(exported, rows, np.random.default_rng([rows, number, length]))
                if state != "start":
                    for _ in range(_BEFORE):
                        reader.read()
                if state == "mixed":
                    reader.restart(slice(0, rows, 2))
                cases.append(_case(rows, length, state, reader.compare(run, length)))
    return cases


class _Reader:
    """Reads rows of tokens with our own network, from its start; and, to compare, with the file beside it."""

    def __init__(self, exported: Exported, rows: int, noise: np.random.Generator):
        self.exported, self.rows, self.noise = exported, rows, noise
        self.first = int(exported.metadata.get("bowerbird.start_token", 0))
        self.history: list[NDArray[np.int64]] = [np.full(rows, self.first, np.int64)]
        self.fresh = [
            np.repeat(exported.start[port.name].numpy(), rows, axis=0) for port in exported.inputs[1:]
        ]
        self.state = [part.copy() for part in self.fresh]

    def restart(self, rows: slice) -> None:
        """Let some rows begin again."""
        for part, fresh in zip(self.state, self.fresh, strict=True):
            part[rows] = fresh[rows]
        self.history[-1][rows] = self.first

    def read(self) -> list[NDArray[Any]]:
        """Read the token that is due, and choose the next. Returns the outputs."""
        outputs = _ours(self.exported, [self.history[-1], *self.state])
        # Copies: a network may give out a view of what it was given.
        self.state = [np.array(part) for part in outputs[1:]]
        self.history.append(self._next(outputs[0]))
        return outputs

    def compare(self, run: Runner, length: int) -> float:
        """The largest difference while both read on from the same state, each with its own."""
        theirs, worst = [part.copy() for part in self.state], 0.0
        for _ in range(length):
            found = run([self.history[-1], *theirs])
            worst = max(worst, _difference(self.exported.outputs, self.rows, self.read(), found))
            theirs = [np.array(part) for part in found[1:]]
        return worst

    def _next(self, logits_BV: NDArray[np.float32]) -> NDArray[np.int64]:
        step = len(self.history)
        if step // _REPEAT % 2:
            return self.history[step - _REPEAT].copy()
        likely = (logits_BV + self.noise.gumbel(size=logits_BV.shape)).argmax(1)
        drawn = self.noise.integers(0, logits_BV.shape[1], self.rows)
        return np.where(self.noise.random(self.rows) < _ANY, drawn, likely).astype(np.int64)


def _ours(exported: Exported, given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    with torch.no_grad():
        made: Sequence[Tensor] = exported.reference([torch.from_numpy(part) for part in given])
    return [part.numpy() for part in made]


def _difference(
    ports: Sequence[Port], rows: int, ours: Sequence[NDArray[Any]], theirs: Sequence[NDArray[Any]]
) -> float:
    """The largest between two sets of outputs; infinite where either is not a number.

    Raises:
        Refused: an output is missing or has another shape.
    """
    if len(theirs) != len(ports):
        raise Refused(f"the exported model has {len(theirs)} outputs, not {len(ports)}")
    worst = 0.0
    for port, one, other in zip(ports, ours, theirs, strict=True):
        wanted = (rows, *port.shape)
        if other.shape != wanted:
            raise Refused(f"the exported model's output {port.name} is {other.shape}, not {wanted}")
        if one.size:
            apart = np.abs(one.astype(np.float64) - other.astype(np.float64))
            worst = max(worst, float(np.where(np.isnan(apart), np.inf, apart).max()))
    return worst
