"""The workspace: where published models live, and what a MODEL on the command line means."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bowerbird.base.errors import (
    BowerbirdError,
    CorruptFile,
    DataError,
    MissingExtra,
    NotFound,
    UsageError,
    storage_errors,
)
from bowerbird.base.files import read_json, write_json
from bowerbird.store.registry import REGISTRIES
from bowerbird.store.registry.registry import Registry
from bowerbird.store.registry.version import Version

VARIABLE = "BOWERBIRD_WORKSPACE"
REGISTRY_VARIABLE = "BOWERBIRD_REGISTRY"
_BUNDLE, _RUN, _BEST = "bundle.json", "run.json", "best.json"
MOST_STEPS = 10**15
"""That a run can make: what a record says beyond it is no number of steps."""


@dataclass(frozen=True)
class Located:
    """A model that was found."""

    path: Path
    """The folder of its bundle."""
    name: str
    """The registry's name, or that of the run or bundle folder."""
    version: int | None
    """The registry's number; None outside of it."""
    published: Version | None = None
    """What the registry knows of it."""


class Workspace:
    """A person's published models, in one folder.

    Args:
        root: the folder; by default $BOWERBIRD_WORKSPACE, or else the user's data folder.
        registry: `folder` (in the workspace), `folder+PATH`, `mlflow` (a file in the workspace),
            `mlflow+sqlite:///FILE`, `mlflow+http://HOST:PORT`; by default $BOWERBIRD_REGISTRY, or else `folder`.
    """

    def __init__(self, root: Path | None = None, registry: str | None = None):
        self.root = (root or default_root()).expanduser()
        self._registry = registry or os.environ.get(REGISTRY_VARIABLE) or "folder"

    @cached_property
    def registry(self) -> Registry:
        """Where its published models are.

        Raises:
            UsageError: there is no registry of this name, or what follows the `+` is no place of one.
        """
        name, _, place = self._registry.partition("+")
        return REGISTRIES[name](place, self.root)

    def resolve(self, reference: str) -> Located:
        """The model that a run folder, a bundle folder, a checkpoint folder, or `name[@version|@alias]` means.

        A model at a path wins over one of that name; a folder that holds no model does not.

        Raises:
            NotFound: there is none.
            DataError: there is something at this path, but no model, and no model of this name.
        """
        path = Path(os.path.expanduser(reference))
        there = bool(reference) and os.path.exists(path)
        if there and (found := in_folder(path)):
            return found
        registry = self.registry
        name, at, selector = reference.partition("@")
        try:
            version = registry.find(name, selector if at else None)
        except MissingExtra:
            raise
        except (NotFound, UsageError) as error:
            if there:
                raise _no_model(path) from error
            raise _nothing(reference, error) from error
        return Located(registry.fetch(version), version.name, version.version, version)

    def remember_dataset(self, digest: str, path: Path) -> None:
        """Note where a dataset lies, so that a model can be judged on what it learnt from."""
        known = self._datasets()
        if known.get(digest) != str(path.absolute()):
            with storage_errors(self.root):
                self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_json(self.root / "datasets.json", {**known, digest: str(path.absolute())})

    def find_dataset(self, digest: str) -> Path | None:
        """Where the dataset with this digest was last seen, if it was."""
        found = self._datasets().get(digest)
        return Path(found) if found else None

    def _datasets(self) -> dict[str, str]:
        path = self.root / "datasets.json"
        known = read_json(path, "list of datasets") if path.exists() else {}
        if not isinstance(known, dict) or not all(isinstance(place, str) for place in known.values()):
            raise CorruptFile(
                "the list of datasets is damaged", where=path, hint="remove it; `prepare` starts anew"
            )
        return known


def default_root() -> Path:
    """$BOWERBIRD_WORKSPACE, or the folder that the platform has for a user's data."""
    chosen = os.environ.get(VARIABLE)
    if chosen:
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_data_dir("bowerbird", appauthor=False))


def in_folder(path: Path) -> Located | None:
    """The model in a run, bundle or checkpoint folder; None where the folder is none of these.

    Raises:
        NotFound: it is a run without a checkpoint yet.
        CorruptFile: it is a run whose record of the best checkpoint is damaged.
    """
    whole = path.resolve()
    if (path / _RUN).is_file():
        return Located(_best(path), whole.name, None)
    if (path / "bundle" / _BUNDLE).is_file():
        path, whole = path / "bundle", whole / "bundle"
    if (path / _BUNDLE).is_file():
        return Located(path, whole.parent.name if whole.name == "bundle" else whole.name, None)
    return None


def _best(run: Path) -> Path:
    """The bundle of a run's best checkpoint; of its newest while none has been judged."""
    checkpoints = run / "checkpoints"
    if (run / _BEST).is_file():
        best = read_json(run / _BEST, "record of the best checkpoint")
        step = best.get("step") if isinstance(best, dict) else None
        if type(step) is not int or not 0 <= step <= MOST_STEPS:
            raise CorruptFile("the record of the best checkpoint is damaged", where=run / _BEST)
        bundle = checkpoints / f"{step:08d}" / "bundle"
        if not (bundle / _BUNDLE).is_file():
            raise CorruptFile(f"the best checkpoint, of step {step}, is not there", where=bundle)
        return bundle
    bundles = [file.parent for file in checkpoints.glob(f"*/bundle/{_BUNDLE}") if file.parts[-3].isdecimal()]
    if not bundles:
        raise NotFound(
            "this run has no checkpoint yet", where=run, hint=f"train it further: bowerbird resume {run}"
        )
    return max(bundles, key=lambda bundle: int(bundle.parent.name))


def _no_model(path: Path) -> DataError:
    return DataError(
        "there is no model here",
        where=path,
        hint="a model is a run folder, a bundle folder, or a published name; `bowerbird train` makes one of a dataset",
    )


def _nothing(reference: str, cause: BowerbirdError) -> NotFound:
    if isinstance(cause, UsageError) or "/" in reference or os.sep in reference:
        hint = "a model is a run folder, a bundle folder, or a published name: bowerbird versions"
        return NotFound("there is no such model", where=reference or "(empty)", hint=hint)
    what = f"there is no model `{reference}`: no such folder, and {cause.what}"
    return NotFound(what, where=cause.where, hint=cause.hint)
