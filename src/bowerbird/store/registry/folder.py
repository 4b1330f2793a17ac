"""The registry in a folder: names, versions numbered 1, 2, 3 ..., movable aliases, and a log of every move.

    NAME/1/bundle/            a copy of the bundle, byte for byte; never edited
    NAME/1/version.json       format, version, digest, created, scores, parent
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
from typing import Any, NoReturn

from filelock import FileLock, Timeout

from bowerbird.base.errors import NotFound, Refused, UsageError, nearest, storage_errors
from bowerbird.store.registry.log import PromotionLog
from bowerbird.store.registry.version import Version, read_version, write_version

LIVE = "live"
"""The alias that a bare name means."""
WAIT_SECONDS = 120.0
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class FolderRegistry:
    """A registry under `root`, which is made when the first model is published."""

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
        alias: str | None = None,
        why: str | None = None,
    ) -> Version:
        """Copy a bundle in under the name's next number, and point an alias at it if one is given.

        A digest that the name has already is not copied again: that version is returned, with `already` set.

        Raises:
            UsageError: the name or the alias is not well formed.
            NotFound: there is no such bundle.
            StorageError: the disk said no; nothing half-written is left.
        """
        _check_name(name)
        if alias is not None:
            _check_alias(alias)
        if not bundle.is_dir():
            raise NotFound("there is no bundle to publish here", where=bundle)
        with self._turn(name, make=True) as log:
            self._sweep(name)
            found = next((one for one in self._of(name) if one.digest == digest), None)
            if found is None:
                number = 1 + max([0, *self._numbers(name), *log.numbers()])
                write_version(self.root / name / str(number), number, bundle, digest, scores or {}, parent)
                log.append(name, "publish", version=number, why=why)
            else:
                number = found.version
            if alias is not None and log.aliases().get(alias) != number:
                log.append(name, "promote", alias=alias, version=number, why=why)
            return replace(self._read(name, number, log.aliases()), already=found is not None)

    def versions(self, name: str | None = None) -> list[Version]:
        """Every version of a name, or of all names, oldest first.

        Raises:
            NotFound: nothing is published under the name.
        """
        if name is not None:
            self._check_known(name)
        return [
            version for one in ([name] if name is not None else self.names()) for version in self._of(one)
        ]

    def names(self) -> list[str]:
        """The names under which anything is published."""
        if not self.root.is_dir():
            return []
        names = sorted(path.name for path in self.root.iterdir() if _NAME.fullmatch(path.name))
        return [name for name in names if self._numbers(name)]

    def find(self, name: str, selector: str | None = None) -> Version:
        """The version of a name that a number or an alias means; without one the live one, else the newest.

        Raises:
            NotFound: there is no such name, number or alias.
        """
        self._check_known(name)
        log, numbers = self._log(name), self._numbers(name)
        aliases = log.aliases()
        if selector is None:
            number = aliases.get(LIVE, max(numbers))
        elif selector.isdecimal():
            number = int(selector) if len(selector) < 10 else 0
        elif selector in aliases:
            number = aliases[selector]
        else:
            self._no_alias(name, selector, aliases)
        if number not in numbers:
            raise NotFound(
                f"`{name}` has no version {number}",
                where=self.root / name,
                hint=f"its versions: {', '.join(map(str, numbers))}",
            )
        return self._read(name, number, aliases)

    def promote(self, name: str, version: int, alias: str = LIVE, why: str | None = None) -> Version:
        """Point an alias at a version.

        Raises:
            NotFound: there is no such name or version.
            UsageError: the alias is not well formed.
        """
        _check_alias(alias)
        self._check_known(name)
        with self._turn(name) as log:
            self.find(name, str(version))
            log.append(name, "promote", alias=alias, version=version, why=why)
            return self._read(name, version, log.aliases())

    def rollback(self, name: str, alias: str = LIVE, why: str | None = None) -> Version:
        """Point an alias at what it pointed at before; again, at what came before that.

        Raises:
            NotFound: there is no such name or alias.
            Refused: the alias never pointed anywhere else.
        """
        self._check_known(name)
        with self._turn(name) as log:
            history = log.history(alias)
            if not history:
                self._no_alias(name, alias, log.aliases())
            if len(history) < 2:
                raise Refused(
                    f"`{name}@{alias}` has pointed at version {history[0]} only: there is nothing to go back to",
                    where=self.root / name,
                    hint=f"bowerbird promote {name}@VERSION --alias {alias}",
                )
            self.find(name, str(history[-2]))
            log.append(name, "rollback", alias=alias, version=history[-2], why=why)
            return self._read(name, history[-2], log.aliases())

    def log(self, name: str) -> list[dict[str, Any]]:
        """What was done under a name, oldest first: `when, who, action, name, alias, version, previous, why`."""
        self._check_known(name)
        return self._log(name).read()

    @contextmanager
    def _turn(self, name: str, *, make: bool = False) -> Iterator[PromotionLog]:
        """Hold the lock of a name."""
        folder = self.root / name
        with storage_errors(folder):
            if make:
                # Each by itself: `parents=True` gives the parents no mode.
                self.root.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self.root.mkdir(exist_ok=True, mode=0o700)
                folder.mkdir(exist_ok=True, mode=0o700)
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
        _check_name(name)
        if self._numbers(name):
            return
        known = self.names()
        near = nearest(name, known)
        hint = f"did you mean `{near}`? " if near else ""
        hint += (
            f"published: {', '.join(known)}"
            if known
            else "nothing is published yet: bowerbird publish MODEL NAME"
        )
        raise NotFound(f"nothing is published as `{name}`", where=self.root, hint=hint)

    def _no_alias(self, name: str, alias: str, aliases: Mapping[str, int]) -> NoReturn:
        near = nearest(alias, aliases)
        hint = f"did you mean `{name}@{near}`? " if near else ""
        hint += f"its aliases: {', '.join(sorted(aliases)) or 'none'}"
        raise NotFound(f"`{name}` has no alias `{alias}`", where=self.root / name, hint=hint)


def _check_name(name: str, noun: str = "a name") -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"`{name}` cannot be used as {noun}",
            hint="up to 64 of a-z, 0-9, dot, dash and underscore, beginning with a letter or a digit",
        )


def _check_alias(alias: str) -> None:
    _check_name(alias, "an alias")
    if alias.isdecimal():
        raise UsageError(f"`{alias}` cannot be an alias", hint="only digits mean a version number")
