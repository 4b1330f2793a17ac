"""Texts that are not to be learnt from: patterns in a file of the operator's, one a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from bowerbird.base.errors import NotFound, UsageError


@dataclass(frozen=True)
class Patterns:
    """Regular expressions by the number of their line. Case does not count."""

    path: Path | None
    found: tuple[tuple[int, re.Pattern[str]], ...] = ()

    @classmethod
    def read(cls, path: Path | None) -> Patterns:
        """Blank lines, and those that begin with #, are left out. Without a file nothing is blocked.

        Raises:
            NotFound: there is no such file.
            UsageError: it cannot be read, or a line is no regular expression.
        """
        if path is None:
            return cls(None)
        try:
            lines = path.expanduser().read_text(encoding="utf-8").split("\n")
        except FileNotFoundError as error:
            raise NotFound("the file of blocked patterns is not there", where=path) from error
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"the file of blocked patterns cannot be read: {error}", where=path) from error
        found = []
        for number, line in enumerate(lines, 1):
            wanted = line.strip()
            if not wanted or wanted.startswith("#"):
                continue
            try:
                found.append((number, re.compile(wanted, re.IGNORECASE)))
            except re.error as error:
                raise UsageError(
                    f"line {number} is no regular expression: {error}",
                    where=path,
                    hint="put \\ before . ? * + ( ) [ ]",
                ) from error
        return cls(path, tuple(found))

    def match(self, text: str) -> int | None:
        """The number of the first line whose pattern is in the text; None where none is."""
        return next((number for number, pattern in self.found if pattern.search(text)), None)
