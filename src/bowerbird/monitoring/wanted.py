"""What an update is asked to do, and what it starts from: the live version, its data, and what is new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird import lifecycle
from bowerbird.base.errors import DataError, NotFound, UsageError
from bowerbird.base.files import held, private_folder
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import plain
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring import feedback
from bowerbird.monitoring.decisions import FOLDER
from bowerbird.monitoring.domains import essences, learnt_from
from bowerbird.monitoring.gather import gather
from bowerbird.monitoring.sieve import Gathered, essence
from bowerbird.monitoring.update_config import UPDATE_CONFIG, UpdateConfig
from bowerbird.store.registry.naming import LIVE
from bowerbird.store.registry.version import Version
from bowerbird.store.rollout import Mode
from bowerbird.workspace import Workspace


@dataclass(frozen=True)
class Wanted:
    """What an update is asked to do."""

    name: str
    sources: Sequence[str] = ()
    feedback: bool = False
    """Learn from approved feedback too."""
    minutes: float | None = None
    steps: int | None = None
    old: Sequence[Path] = ()
    """Datasets that the live version learnt from, where they are not known here."""
    mode: Mode | None = None
    """How the challenger is tried; None: as a shadow, unless `now`."""
    share: float = 0.1
    now: bool = False
    """A person's consent: what passes the gates becomes live without a trial, unless a `mode` is named."""
    key: Path | None = None
    """A private key to sign the challenger with; its public one lies beside it, as `KEY.pub`."""
    passphrase: str | None = None
    seed: int = 1
    config: UpdateConfig = UPDATE_CONFIG

    def check(self) -> None:
        """Raises UsageError: there is nothing to learn from, or the share is none."""
        if not self.sources and not self.feedback:
            raise UsageError(
                "an update needs something new to learn from",
                hint=f"bowerbird update {self.name} --data FOLDER, or --feedback",
            )
        if not 0 < self.share <= 1:
            raise UsageError(f"--share must be above 0 and at most 1, not {self.share:g}")


@contextmanager
def held_update(name: str, space: Workspace) -> Iterator[Path]:
    """The folder of a name's updates, held for one process.

    Raises:
        NotFound: nothing is published under the name.
        Refused: another process holds it.
    """
    space.registry.find(name)
    folder = space.root / FOLDER / name
    private_folder(folder)
    with held(folder, f"another update of `{name}` is under way"):
        yield folder


def live_version(name: str, space: Workspace) -> tuple[Model, Version]:
    """What is live under a name.

    Raises:
        NotFound: nothing is: without the alias, a new version would be what the bare name means at once.
    """
    try:
        version = space.registry.find(name, LIVE)
    except NotFound:
        newest = space.registry.find(name)  # raises where nothing is published at all
        hint = f"bowerbird promote {name}@{newest.version}"
        raise NotFound(f"no version of `{name}` is live", hint=hint) from None
    return lifecycle.load(f"{name}@{version.version}", workspace=space), version


def old_data(live: Model, space: Workspace, wanted: Wanted) -> list[Dataset]:
    """What the live version and its parents learnt from, as far as it is known.

    Raises:
        NotFound, CorruptFile: a dataset that was named cannot be opened.
        DataError: it is of another kind than the model.
    """
    found = learnt_from(live, space, wanted.old)
    other = next((dataset for dataset in found if dataset.kind != live.kind.name), None)
    if other is not None:
        raise DataError(f"a {live.kind.name} model did not learn from {other.kind} data", where=other.path)
    return found


def gathered_for(
    wanted: Wanted, live: Model, space: Workspace, old: Sequence[Dataset], work: Path
) -> Gathered | None:
    """What is new, through the sieve, in `work`; None for tunes and pictures, which `prepare` reads as they are.

    Raises:
        UsageError: feedback is to be learnt from by a model of tunes or pictures.
        NotFound, MissingExtra: of the sources.
    """
    if live.kind.name != "text":
        if wanted.feedback:
            raise UsageError(
                f"feedback is words, and a {live.kind.name} model does not learn from them",
                hint="give --data",
            )
        return None
    learnt = essences(old)
    given = feedback.read(space.root / "feedback", wanted.name) if wanted.feedback else ()
    return gather(
        work,
        wanted.config.gather,
        sources=wanted.sources,
        verdicts=given,
        chat=live.structure == "chat",
        known=lambda text: essence(plain(live.normaliser(text))) in learnt,
    )


def too_little(gathered: Gathered | None, config: UpdateConfig) -> str:
    """What new data lacks, and what became of the rest; empty where there is enough."""
    if gathered is None:
        return ""
    rules = config.gather
    if gathered.characters >= rules.least_characters and gathered.documents >= rules.least_documents:
        return ""
    left = ", ".join(f"{count:,} {reason}" for reason, count in gathered.refused.items())
    return (
        f"{gathered.documents:,} documents of {gathered.characters:,} characters are left, and "
        f"{rules.least_documents:,} of {rules.least_characters:,} are wanted; left out: {left or 'none'}"
    )


def of_version(version: Version) -> dict[str, Any]:
    """A version as a decision tells of it."""
    return {"version": version.version, "digest": version.digest}
