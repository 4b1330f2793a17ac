"""The shelf of registries: where published models are kept under names, numbered, with movable aliases."""

from collections.abc import Callable
from pathlib import Path

from bowerbird.base.shelf import Shelf
from bowerbird.store.registry.folder import open_folder
from bowerbird.store.registry.mlflow import open_mlflow
from bowerbird.store.registry.registry import Registry

REGISTRIES: Shelf[Callable[[str, Path], Registry]] = Shelf("registry", folder=open_folder, mlflow=open_mlflow)
"""Each opens one: (where it is, or an empty text for the usual place; the workspace's folder) -> Registry."""
