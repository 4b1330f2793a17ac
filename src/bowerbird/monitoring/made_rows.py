"""Which rows of a person's sources a model made: JSON lines may say so, as those of exported feedback do."""

from __future__ import annotations

import json
from pathlib import Path

from bowerbird.monitoring.feedback import MODEL

_SUFFIXES = (".jsonl", ".ndjson")


class MadeRows:
    """Looks the column `origin` up in the file that a row comes from; each file is read once."""

    def __init__(self) -> None:
        self._path = ""
        self._rows: frozenset[int] = frozenset()

    def __call__(self, origin: str) -> bool:
        """Whether what has this origin, as `feedback.jsonl#12`, was made by a model."""
        path, _, number = origin.rpartition("#")
        if not number.isdecimal() or not path.lower().endswith(_SUFFIXES):
            return False
        if path != self._path:
            self._path, self._rows = path, _read(Path(path).expanduser())
        return int(number) in self._rows


def _read(path: Path) -> frozenset[int]:
    """The numbers of the rows, counted from 1 as the reader does; none of a file inside an archive."""
    if not path.is_file():
        return frozenset()
    found = []
    with path.open(encoding="utf-8", errors="replace", newline="\n") as lines:
        for number, line in enumerate(lines, 1):
            if '"origin"' not in line:
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict) and row.get("origin") == MODEL:
                found.append(number)
    return frozenset(found)
