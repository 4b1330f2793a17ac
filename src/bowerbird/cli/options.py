"""Options that several commands share, each written once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


@Parameter(name="*")
@dataclass(frozen=True)
class Output:
    """What is printed, and where the workspace is."""

    json: Annotated[bool, Parameter(negative="")] = False
    """Print exactly one JSON object on stdout."""
    quiet: Annotated[bool, Parameter(negative="")] = False
    """Print no progress and no advice."""
    workspace: Path | None = None
    """Where names, versions and keys live; by default your user data folder."""
    registry: str | None = None
    """Where published models are: folder (in the workspace), mlflow, mlflow+sqlite:///FILE or mlflow+http://HOST:PORT."""


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """Settings beyond the named options; later wins."""

    config: Path | None = None
    """A YAML file of settings."""
    set: Annotated[tuple[str, ...], Parameter(name="--set", negative="")] = ()
    """One setting, as dotted.key=value; may be given many times."""


@Parameter(name="*")
@dataclass(frozen=True)
class Budget:
    """How long to train: minutes or steps, not both."""

    minutes: float | None = None
    """Wall-clock minutes for everything, evaluation and saving included."""
    steps: int | None = None
    """Training steps."""


OUTPUT = Output()
SETTINGS = Settings()
BUDGET = Budget()
