"""What every benchmark says of its machine and its finished cells, and how it sets tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bowerbird.base.errors import NotFound
from workplace import read_lines

Cell = Mapping[str, Any]


def show(line: str) -> None:
    print(line, flush=True)


def finished_cells(out: Path) -> list[dict[str, Any]]:
    """The cells of a benchmark's folder.

    Raises:
        NotFound: no cell is finished.
    """
    cells = read_lines(out / "cells.jsonl")
    if not cells:
        raise NotFound("there is no finished cell here", where=out, hint="leave --summary-only out")
    return cells


def by_contestant(cells: Sequence[Cell], names: Iterable[str], **about: str) -> dict[str, list[Cell]]:
    """The cells of one text or set, as in `text="names"`, by those of the contestants that have any."""
    alike = [cell for cell in cells if all(cell[key] == value for key, value in about.items())]
    found = {name: [cell for cell in alike if cell["contestant"] == name] for name in names}
    return {name: several for name, several in found.items() if several}


def written(out: Path, drawn: bool) -> str:
    """Where a summary lies."""
    picture = f"{out / 'curves.png'}" if drawn else "no picture: pip install 'bowerbird[eval]'"
    return f"{out / 'summary.json'}, {picture}"


def machine_lines(machine: Mapping[str, Any]) -> list[str]:
    peaks = ", ".join(
        f"{name} {peak / 1e9:.0f}" if peak else f"{name} none" for name, peak in machine["peak_flops"].items()
    )
    lines = [
        f"{machine['processor']}, {machine['threads']} of {machine['processors']} processors, "
        f"{' '.join(machine['flags'])}; torch {machine['torch']}; commit {machine['commit']}; {machine['date']}",
        f"products at best, Gflop/s: {peaks}",
    ]
    if (machine["load_at_start"] or 0) > 0.7:
        lines.append(
            f"warning: other programs were running (load {machine['load_at_start']}): trust ratios only"
        )
    return lines


def why(found: Mapping[str, Any]) -> str:
    return re.sub(r"\s+", " ", found.get("failed", "the loss is not finite"))[:120]


def table(rows: Iterable[Sequence[str]], head: Sequence[str]) -> list[str]:
    whole = [list(head), *map(list, rows)]
    widths = [max(len(row[column]) for row in whole) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in whole
    ]
