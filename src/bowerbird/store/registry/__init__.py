"""The shelf of registries: where published models are kept under names, numbered, with movable aliases."""

from bowerbird.base.shelf import Shelf
from bowerbird.store.registry.folder import FolderRegistry

REGISTRIES: Shelf[type[FolderRegistry]] = Shelf("registry", folder=FolderRegistry)
