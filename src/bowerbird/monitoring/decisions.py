"""The log of updates of one name: a line for each decision, with all its numbers. Only ever appended to.

WORKSPACE/updates/NAME.jsonl
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from bowerbird.base.errors import storage_errors
from bowerbird.base.files import private, private_folder
from bowerbird.base.journal import Journal

FOLDER = "updates"
Verdict = Literal["planned", "refused", "on trial", "waiting", "promoted", "rolled back", "steady"]


@dataclass(frozen=True)
class Decision:
    """What was decided of an update, and by what."""

    name: str
    decision: Verdict
    """`planned`: nothing was done. `refused`: a gate held. `on trial`: a challenger is served beside the live version.
    `waiting`: the trial goes on. `steady`: there is no reason for an update."""
    why: str
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """As JSON values: `live`, `challenger`, `gathered`, `gates`, `comparison`, as far as it came."""

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "decision": self.decision, "why": self.why, **self.numbers}


def log_path(root: Path, name: str) -> Path:
    return root / FOLDER / f"{name}.jsonl"


def note(root: Path, decision: Decision) -> None:
    """Append a decision; it is on the disk when this returns.

    Raises:
        StorageError: the disk says no.
    """
    path = log_path(root, decision.name)
    private_folder(path.parent)
    line = {"when": datetime.now(UTC).isoformat(timespec="seconds"), **decision.to_json()}
    with storage_errors(path), open(path, "ab", opener=private) as file:
        file.write(json.dumps(line, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n")
        file.flush()
        os.fsync(file.fileno())


def decisions(root: Path, name: str) -> list[dict[str, Any]]:
    """All lines, oldest first; what a crash cut short is left out."""
    return Journal(log_path(root, name)).read()
