"""A rollout: the version of a name that is tried beside the live one. One small file a name, which servers watch.

    WORKSPACE/rollouts/NAME.json

It is written whole, and gone when the trial has ended.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from bowerbird.base.config import Config
from bowerbird.base.errors import CorruptFile, storage_errors
from bowerbird.base.files import check_format, private_folder, read_json, write_json
from bowerbird.store.registry.naming import check_name

FORMAT = 1
FOLDER = "rollouts"
Mode = Literal["shadow", "share"]


class Rollout(Config):
    """Which version is tried, and how."""

    format: int = FORMAT
    name: str
    version: int = Field(ge=1)
    """Of the challenger, in the registry."""
    digest: str
    live_version: int = Field(ge=1)
    """What was live when the trial began; it is tried against nothing else."""
    live_digest: str
    mode: Mode
    """`shadow`: it gets copies of requests, and nobody gets its answers. `share`: it answers a share of them."""
    share: float = Field(gt=0, le=1)
    """Of callers in `share`, of requests in `shadow`."""
    since: float = Field(default_factory=time.time)
    """Unix seconds."""

    def takes(self, key: str) -> bool:
        """Whether the challenger is for this caller, session or request: by a hash, so always the same."""
        found = hashlib.blake2b(f"{self.digest}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8)
        return int.from_bytes(found.digest(), "big") < self.share * 2.0**64


def read_rollout(root: Path, name: str) -> Rollout | None:
    """What is tried under a name in the workspace at `root`; None where nothing is.

    Raises:
        CorruptFile: the file is damaged or too new.
    """
    path = _place(root, name)
    if not path.exists():
        return None
    record = read_json(path, "rollout")
    if not isinstance(record, dict):
        raise CorruptFile("this rollout is damaged", where=path, hint=f"bowerbird update {name} --stop")
    check_format(record.get("format"), FORMAT, "rollout", path)
    try:
        found = Rollout.model_validate(record)
    except ValidationError as error:
        problem = error.errors()[0]
        raise CorruptFile(
            f"this rollout is damaged ({'.'.join(map(str, problem['loc']))}: {problem['msg'].lower()})",
            where=path,
            hint=f"bowerbird update {name} --stop",
        ) from None
    if found.name != name:
        raise CorruptFile(f"this rollout is of `{found.name}`", where=path)
    return found


def write_rollout(root: Path, rollout: Rollout) -> None:
    """Begin a trial, or change it. Servers see it at their next look, within a second or two."""
    path = _place(root, rollout.name)
    private_folder(path.parent)
    write_json(path, rollout.model_dump(mode="json"))


def end_rollout(root: Path, name: str) -> None:
    """Try nothing any more under a name; a second time does nothing."""
    path = _place(root, name)
    with storage_errors(path), suppress(FileNotFoundError):
        path.unlink()


def _place(root: Path, name: str) -> Path:
    check_name(name)
    return root / FOLDER / f"{name}.json"
