"""The files that a folder's record lists, checked against the record: each lies in the folder and is as it was."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bowerbird.base.digest import digest_file
from bowerbird.base.errors import CorruptFile

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""No separator of any system, nothing that begins with a dot, nothing too long for one."""


def check_listed(
    folder: Path, listed: Mapping[str, Any], record: Path, noun: str, hint: str, *, verify: bool = True
) -> None:
    """Check each listed file, by name and digest; without `verify` only that it is there.

    Raises:
        CorruptFile: a name leads out of the folder, or a file is a link, missing, or changed.
    """
    for name, digest in listed.items():
        file = folder / name
        if not NAME.fullmatch(name) or file.is_symlink():
            raise CorruptFile(f"this {noun} names a file outside its folder", where=record)
        if not file.is_file():
            raise CorruptFile(f"a file of this {noun} is missing", where=file, hint=hint)
        if verify and digest_file(file) != digest:
            raise changed(noun, file, hint)


def changed(noun: str, where: Path, hint: str) -> CorruptFile:
    """What is said of a file that is not as it was sealed."""
    return CorruptFile(
        f"this {noun} was changed or damaged: its digest does not match", where=where, hint=hint
    )
