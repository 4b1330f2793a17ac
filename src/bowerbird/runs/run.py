"""A run: one training in a folder of its own, resumable to the bit.

run.json              settings, dataset and its digest, lineage; written once
metrics.jsonl         the journal
checkpoints/00000400/ the best and the newest: a bundle with its resume state
best.json             which checkpoint is the best, and its scores
loss.png              the curves, where matplotlib is installed
samples/00000400.png  of pictures: what it made at an evaluation, always from the same noise
timelapse.webp        of pictures: these one after another
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any

from torch import Tensor

from bowerbird.base.config import Config
from bowerbird.base.digest import seal_holds, sealed
from bowerbird.base.errors import CorruptFile, DataError, NotFound, UsageError
from bowerbird.base.files import check_format, held, read_json, whole_folder, write_json
from bowerbird.base.listed import changed
from bowerbird.data.dataset import Dataset
from bowerbird.kinds import KINDS
from bowerbird.kinds.kind import Kind
from bowerbird.store.bundle import Bundle, open_bundle, open_checkpoint
from bowerbird.workspace import MOST_STEPS

FORMAT = 1
_TYPES: dict[str, type | UnionType] = {
    "kind": str,
    "settings": dict,
    "budget": dict,
    "dataset": dict,
    "parent": str | None,
    "parameters": int,
}


@dataclass(frozen=True)
class Run:
    """An opened run folder."""

    path: Path
    record: dict[str, Any]
    kind: Kind
    config: Config
    outcome: dict[str, Any] = field(default_factory=dict)
    """How the training went that has just ended: steps, seconds, why it stopped, the best scores."""

    @classmethod
    def create(cls, out: Path, record: dict[str, Any], first: Callable[[Path], object]) -> Run:
        """A new run folder that appears with its first checkpoint in it, written by `first(folder)`."""
        with whole_folder(out) as building:
            write_json(building / "run.json", sealed({"format": FORMAT, **record}))
            first(building / "checkpoints" / checkpoint_name(0))
        return cls.open(out)

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run folder.

        Raises:
            NotFound: there is none here.
            CorruptFile: its record is damaged or newer than this version.
        """
        if not (path / "run.json").exists():
            raise NotFound("there is no run here", where=path, hint="bowerbird train DATASET --out RUN")
        record = read_json(path / "run.json", "run")
        if not isinstance(record, dict):
            raise CorruptFile("this run is damaged", where=path / "run.json")
        check_format(record.get("format"), FORMAT, "run", path)
        if not seal_holds(record):
            raise changed("run", path / "run.json", "settings of a run never change; start a new one")
        wrong = [key for key, wanted in _TYPES.items() if not isinstance(record.get(key), wanted)]
        place = record["dataset"] if "dataset" not in wrong else {}
        if wrong or not all(isinstance(place.get(key), str) for key in ("path", "digest")):
            raise CorruptFile(
                f"this is not the record of a run: {', '.join(wrong) or 'dataset'} wrong",
                where=path / "run.json",
            )
        try:
            kind = KINDS[record["kind"]]
            return cls(path, record, kind, kind.run_config.model_validate(record["settings"]))
        except (UsageError, ValueError) as error:
            where = path / "run.json"
            raise CorruptFile(f"these are not the settings of a run: {error}", where=where) from error

    def dataset(self) -> Dataset:
        """The dataset this run learns from, unchanged since it began.

        Raises:
            DataError: another dataset now lies in its place.
        """
        found = Dataset.open(self.record["dataset"]["path"])
        if found.digest != self.record["dataset"]["digest"]:
            raise DataError(
                "the dataset is not the one this run began with",
                where=found.path,
                hint="put the old one back, or start a new run",
            )
        return found

    @property
    def journal_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def checkpoints(self) -> list[Path]:
        """Whole checkpoints, oldest first."""
        found = (self.path / "checkpoints").glob("[0-9]*")
        return sorted(path for path in found if path.name.isdecimal() and path.is_dir())

    def newest(self) -> tuple[Bundle, dict[str, Tensor], dict[str, Any]]:
        """The newest checkpoint, opened and verified.

        Raises:
            NotFound: the run has none.
            CorruptFile: it is damaged.
        """
        found = self.checkpoints()
        if not found:
            raise NotFound("this run has no checkpoint", where=self.path)
        return open_checkpoint(found[-1])

    def best(self) -> dict[str, Any]:
        """`{step, scores}` of the best checkpoint."""
        found = read_json(self.path / "best.json", "record of the best checkpoint")
        told = found if isinstance(found, dict) else {}
        step, scores = told.get("step"), told.get("scores")
        if not (type(step) is int and 0 <= step <= MOST_STEPS and isinstance(scores, dict)):
            raise CorruptFile("the record of the best checkpoint is damaged", where=self.path / "best.json")
        return told

    def best_bundle(self) -> Bundle:
        return open_bundle(self.path / "checkpoints" / checkpoint_name(self.best()["step"]) / "bundle")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold this run for one process. The system lets go of it if the process dies.

        Raises:
            Refused: another process holds it.
        """
        with held(self.path, "another process is training this run"):
            yield


def checkpoint_name(step: int) -> str:
    return f"{step:08d}"
