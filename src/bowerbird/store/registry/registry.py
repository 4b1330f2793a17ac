"""What a registry is: names, versions numbered from 1, movable aliases, and a log of what was done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from bowerbird.store.registry.naming import LIVE
from bowerbird.store.registry.version import Version


class Registry(Protocol):
    """Where published models are kept. Versions never change; several processes may write at once."""

    def publish(
        self,
        name: str,
        bundle: Path,
        digest: str,
        *,
        scores: Mapping[str, float] | None = None,
        parent: str | None = None,
        origin: Mapping[str, str] | None = None,
        alias: str | None = None,
        why: str | None = None,
    ) -> Version:
        """Copy a bundle, and the signature beside it, in under the name's next number.

        A digest that the name has already is not copied again: that version is returned, with `already` set.

        Args:
            origin: digests of the `dataset` and the `run` that it came from, where they are known.
            alias: points at it then.

        Raises:
            UsageError: the name or the alias is not well formed.
            NotFound: there is no such bundle.
            StorageError: the registry could not be written; nothing half-written can be found.
        """
        ...

    def versions(self, name: str | None = None) -> list[Version]:
        """Every version of a name, or of all names in their order, oldest first.

        Raises:
            NotFound: nothing is published under the name.
        """
        ...

    def find(self, name: str, selector: str | None = None) -> Version:
        """The version of a name that a number or an alias means; without one the live one, else the newest.

        Raises:
            NotFound: there is no such name, number or alias.
        """
        ...

    def fetch(self, version: Version) -> Path:
        """The folder of a version's bundle on this machine, brought here if it was not.

        Raises:
            CorruptFile: what was brought does not have the version's digest.
        """
        ...

    def promote(self, name: str, version: int, alias: str = LIVE, why: str | None = None) -> Version:
        """Point an alias at a version.

        Raises:
            NotFound: there is no such name or version.
            UsageError: the alias is not well formed.
        """
        ...

    def rollback(self, name: str, alias: str = LIVE, why: str | None = None) -> Version:
        """Point an alias at what it pointed at before; again, at what came before that.

        Raises:
            NotFound: there is no such name or alias.
            Refused: the alias never pointed anywhere else.
        """
        ...

    def log(self, name: str) -> list[dict[str, Any]]:
        """What was done under a name, oldest first: `when, who, action, name, alias, version, previous, why`."""
        ...
