"""Which text each token of a foreign model is: a JSON list, a text of all characters, or a table either way round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bowerbird.base.errors import DataError
from bowerbird.base.files import read_json

Symbols = tuple[str | None, ...]
TEXT_BEGINS = "<s>"
"""The symbol of a token that begins and ends texts."""
TOLD = "bowerbird.json"
"""What our own exports call what they tell of their tokens."""
TOLD_NOTE = (
    "Of the export's own tokens those of speakers and of halves of bytes are made anew, for it tells no more."
)
_GAPS = 16
"""Numbers that a table may leave out: for padding, the unknown and the like."""


def read_symbols(path: Path) -> Symbols:
    """The symbols in a JSON file.

    Raises:
        NotFound: there is no such file.
        CorruptFile: it is not JSON.
        DataError: it is no list of symbols, and no table of them.
    """
    found = as_symbols(read_json(path, "list of symbols"))
    if found is None:
        raise DataError(
            "this is no list of symbols",
            where=path,
            hint='a JSON list in the order of the tokens: ["a", "b", null]',
        )
    return found


def beside(path: Path) -> Symbols | None:
    """The symbols in `vocab.json`, or in `x_vocab.json` for `x.h5` and `x_weights.h5`, if there is such a file."""
    stem = path.stem.removesuffix("_weights")
    for name in (f"{path.stem}_vocab.json", f"{stem}_vocab.json", "vocab.json"):
        if path.with_name(name).is_file():
            return read_symbols(path.with_name(name))
    return None


def told_symbols(text: str | bytes) -> Symbols | None:
    """The symbols that one of our own exports tells, the token that begins documents among them."""
    try:
        told = json.loads(text)
        symbols = as_symbols(told["symbols"])
        start = int(told["metadata"]["bowerbird.start_token"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if symbols is None or not 0 <= start < len(symbols):
        return None
    return (*symbols[:start], TEXT_BEGINS, *symbols[start + 1 :])


def as_symbols(value: Any) -> Symbols | None:
    """The text of each token, None where it has none; None if the value is no list or table of symbols."""
    if isinstance(value, str):
        return tuple(value)
    if isinstance(value, list | tuple):
        return tuple(name or None for name in value) if all(_symbol(name) for name in value) else None
    if isinstance(value, Mapping):
        return _of_table(value)
    return None


def _symbol(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _of_table(table: Mapping[Any, Any]) -> Symbols | None:
    """Of a table from symbol to number, or from number to symbol."""
    if table and all(type(number) is int and isinstance(name, str) for name, number in table.items()):
        pairs = [(number, name) for name, number in table.items()]
    elif table and all(_number(number) is not None and _symbol(name) for number, name in table.items()):
        pairs = [(_number(number) or 0, name) for number, name in table.items()]
    else:
        return None
    numbers = [number for number, _ in pairs]
    if min(numbers) < 0 or max(numbers) >= len(table) + _GAPS or len(set(numbers)) < len(numbers):
        return None
    found: list[str | None] = [None] * (max(numbers) + 1)
    for number, name in pairs:
        found[number] = name or None
    return tuple(found)


def _number(key: Any) -> int | None:
    if type(key) is int:
        return key
    return int(key) if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 10 else None
