"""The registry in a folder: names, versions numbered 1, 2, 3 ..., movable aliases, and a log of every move.

    NAME/1/bundle/            a copy of the bundle, byte for byte; never edited
    NAME/1/version.json       format, version, digest, created, scores, parent, origin
    NAME/log.jsonl            what was done, by whom, why; only ever appended to

The log is the only record of where aliases point, so a move and its entry can never disagree. Writers of a
name take turns by a lock; readers need none, for all they read appears whole.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bowerbird.base.errors import NotFound, Refused, storage_errors
from bowerbird.base.files import private_folder
from bowerbird.store.registry.log import PromotionLog
from bowerbird.store.registry.naming import LIVE, NAME, before, check_alias, check_name, choose, no_name
from bowerbird.store.registry.version import Version, read_version, write_version

WAIT_SECONDS = 120.0
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def open_folder(place: str, root: Path) -> FolderRegistry:
    """The registry in the folder `place`; by default in a workspace's folder `root`."""
    return FolderRegistry(Path(place).expanduser() if place else root / "registry")


class FolderRegistry:
    """A `Registry` under `root`, which is made when the first model is published."""

    def __init__(self, root: Path):
        self.root = root

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
        check_name(name)
        if alias is not None:
            check_alias(alias)
        if not bundle.is_dir():
            raise NotFound("there is no bundle to publish here", where=bundle)
        with self._turn(name, make=True) as log:
            self._sweep(name)
            found = next((one for one in self._of(name) if one.digest == digest), None)
            if found is None:
                number = 1 + max([0, *self._numbers(name), *log.numbers()])
                folder = self.root / name / str(number)
                write_version(folder, number, bundle, digest, scores or {}, parent, origin or {})
                log.append(name, "publish", version=number, why=why)
            else:
                number = found.version
            if alias is not None and log.aliases().get(alias) != number:
                log.append(name, "promote", alias=alias, version=number, why=why)
            return replace(self._read(name, number, log.aliases()), already=found is not None)

    def versions(self, name: str | None = None) -> list[Version]:
        if name is not None:
            self._check_known(name)
        return [
            version for one in ([name] if name is not None else self.names()) for version in self._of(one)
        ]

    def names(self) -> list[str]:
        """The names under which anything is published."""
        if not self.root.is_dir():
            return []
        names = sorted(path.name for path in self.root.iterdir() if NAME.fullmatch(path.name))
        return [name for name in names if self._numbers(name)]

    def find(self, name: str, selector: str | None = None) -> Version:
        self._check_known(name)
        aliases = self._log(name).aliases()
        number = choose(name, selector, self._numbers(name), aliases, self.root / name)
        return self._read(name, number, aliases)

    def fetch(self, version: Version) -> Path:
        return version.path

    def promote(self, name: str, version: int, alias: str = LIVE, why: str | None = None) -> Version:
        check_alias(alias)
        self._check_known(name)
        with self._turn(name) as log:
            self.find(name, str(version))
            log.append(name, "promote", alias=alias, version=version, why=why)
            return self._read(name, version, log.aliases())

    def rollback(self, name: str, alias: str = LIVE, why: str | None = None) -> Version:
        self._check_known(name)
        with self._turn(name) as log:
            number = before(name, alias, log.history(alias), log.aliases(), self.root / name)
            self.find(name, str(number))
            log.append(name, "rollback", alias=alias, version=number, why=why)
            return self._read(name, number, log.aliases())

    def log(self, name: str) -> list[dict[str, Any]]:
        self._check_known(name)
        return self._log(name).read()

    @contextmanager
    def _turn(self, name: str, *, make: bool = False) -> Iterator[PromotionLog]:
        """Hold the lock of a name."""
        folder = self.root / name
        with storage_errors(folder):
            if make:
                private_folder(folder)
            lock = FileLock(folder / ".lock", timeout=WAIT_SECONDS, mode=0o600)
            try:
                lock.acquire()
            except Timeout:
                raise Refused(
                    f"another process has been writing to `{name}` for {WAIT_SECONDS:.0f} s",
                    where=folder,
                    hint="wait for it to end, then run the same command again",
                ) from None
        try:
            yield self._log(name)
        finally:
            lock.release()

    def _log(self, name: str) -> PromotionLog:
        return PromotionLog(self.root / name / "log.jsonl")

    def _numbers(self, name: str) -> list[int]:
        folder = self.root / name
        if not folder.is_dir():
            return []
        return sorted(int(path.name) for path in folder.iterdir() if _NUMBER.fullmatch(path.name))

    def _of(self, name: str) -> list[Version]:
        aliases = self._log(name).aliases()
        return [self._read(name, number, aliases) for number in self._numbers(name)]

    def _sweep(self, name: str) -> None:
        """Remove what publishers that were killed have left; whoever holds the lock knows none is at work."""
        for unfinished in (self.root / name).glob(".[0-9]*"):
            shutil.rmtree(unfinished, ignore_errors=True)

    def _read(self, name: str, number: int, aliases: Mapping[str, int]) -> Version:
        return read_version(self.root / name / str(number), name, number, aliases)

    def _check_known(self, name: str) -> None:
        check_name(name)
        if not self._numbers(name):
            raise no_name(name, self.names(), self.root)
