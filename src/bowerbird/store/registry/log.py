"""The promotion log of one name: JSON lines, appended and synced, never edited."""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bowerbird.base.errors import CorruptFile, storage_errors

_KEYS = {"when", "who", "action", "name", "alias", "version", "previous", "why"}
_ACTIONS = ("publish", "promote", "rollback")


class PromotionLog:
    """Where every alias of a name has pointed, in order. Appending needs the name's lock; reading does not."""

    def __init__(self, path: Path):
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """All entries, oldest first. A last line that a crash cut short never took effect and is left out.

        Raises:
            CorruptFile: a whole line is not an entry.
        """
        if self.path.is_symlink() or (self.path.exists() and not self.path.is_file()):
            raise CorruptFile("this log is a link, or no file", where=self.path)
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        entries = []
        for number, line in enumerate(content.split(b"\n")[:-1], start=1):
            try:
                entry = json.loads(line.decode("utf-8"))
            except (ValueError, RecursionError) as error:
                raise CorruptFile(
                    f"line {number} of this log is damaged: {error}", where=self.path
                ) from error
            if not well_formed(entry):
                raise CorruptFile(f"line {number} of this log is not an entry", where=self.path)
            entries.append(entry)
        return entries

    def append(
        self, name: str, action: str, *, version: int, alias: str | None = None, why: str | None = None
    ) -> None:
        """Add an entry that is on the disk when this returns, or not at all."""
        entry = {
            "when": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": who(),
            "action": action,
            "name": name,
            "alias": alias,
            "version": version,
            "previous": self.aliases().get(alias) if alias is not None else None,
            "why": why,
        }
        line = json.dumps(entry, ensure_ascii=True).encode() + b"\n"
        with storage_errors(self.path), os.fdopen(os.open(self.path, _FLAGS, 0o600), "r+b") as file:
            whole = self._whole_size()
            # What a crash or a full disk left of an unfinished line was never an entry.
            file.truncate(whole)
            file.seek(whole)
            try:
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                os.ftruncate(file.fileno(), whole)
                raise

    def _whole_size(self) -> int:
        return self.path.read_bytes().rfind(b"\n") + 1

    def numbers(self) -> set[int]:
        """Every version number ever used."""
        return {entry["version"] for entry in self.read()}

    def aliases(self) -> dict[str, int]:
        """Where each alias points now."""
        return positions(self.read())

    def history(self, alias: str) -> list[int]:
        """The versions an alias can be rolled back through, the present one last."""
        return history(self.read(), alias)


def positions(entries: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """Where each alias points after these entries."""
    return {entry["alias"]: entry["version"] for entry in entries if entry["alias"] is not None}


def history(entries: Iterable[Mapping[str, Any]], alias: str) -> list[int]:
    """The versions an alias can be rolled back through after these entries, the present one last.

    Two who roll back at the same time from the same version both mean the one before it, and get it once.
    """
    found: list[int] = []
    for entry in entries:
        if entry["alias"] != alias:
            continue
        if entry["action"] == "rollback":
            while found and found[-1] != entry["version"]:
                found.pop()
        if not found or found[-1] != entry["version"]:
            found.append(entry["version"])
    return found


_FLAGS = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0)


def well_formed(entry: Any) -> bool:
    """Whether this is an entry, as far as aliases and numbers depend on it."""
    if not isinstance(entry, dict) or set(entry) != _KEYS or entry["action"] not in _ACTIONS:
        return False
    version, alias = entry["version"], entry["alias"]
    return type(version) is int and version > 0 and isinstance(alias, str | None)


def who() -> str:
    """Who is asking, as `user@host`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container may run under a number that no account has.
        user = str(os.getuid()) if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"
