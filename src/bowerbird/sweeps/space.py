"""What a sweep varies: lists of values and ranges of numbers, by setting. A point has one value of each."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel

from bowerbird.base.config import dotted_keys, no_such_setting
from bowerbird.base.errors import UsageError

Point = dict[str, Any]
HINT = "--vary batch_size=16,32,64 --vary model.dropout=0..0.5"
CELL, SIZE = "model.cell", "size"
"""Settings that fill in others: a point that names them has its other settings recommended anew."""
_NUMBER = r"[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?"
_RANGE = re.compile(rf"({_NUMBER})\.\.({_NUMBER})(?::(log|linear))?")
_LOG_FROM = 10.0
"""From which ratio of its ends a range is searched by its logarithm unless it says otherwise."""
_DIGITS = 4
"""Significant digits of a number drawn from a range: enough, and it can be read."""


@dataclass(frozen=True)
class Values:
    """These values and no others."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return ",".join(spell(value, listed=True) for value in self.values)


@dataclass(frozen=True)
class Range:
    """Every number from `low` to `high`, both included; whole ones where the setting is a whole number."""

    low: float
    high: float
    log: bool
    whole: bool

    def __str__(self) -> str:
        return f"{spell(self.low)}..{spell(self.high)}:{'log' if self.log else 'linear'}"

    def near(self, number: float) -> float:
        """The number of this range that is closest, with few digits."""
        if self.whole:
            return round(number)
        return min(max(float(f"{number:.{_DIGITS}g}"), self.low), self.high)


Space = dict[str, Values | Range]


def read_space(vary: Mapping[str, Any] | Iterable[str], record: type[BaseModel]) -> Space:
    """What `--vary` says, or a dict of lists, (low, high) tuples and the texts that `--vary` takes.

    Raises:
        UsageError: there is nothing to vary, or a key, a value or a range is wrong.
    """
    pairs = list(vary.items()) if isinstance(vary, Mapping) else [_split(text) for text in vary]
    if not pairs:
        raise UsageError("there is nothing to vary", hint=HINT)
    known = [SIZE, *dotted_keys(record)]
    space: Space = {}
    for given, what in pairs:
        key = CELL if given == "model" else given
        if key not in known:
            raise UsageError(f"--vary: {no_such_setting(key, known)}", hint=HINT)
        if key in space:
            raise UsageError(f"--vary {key} is given twice", hint="list all its values in one")
        space[key] = _read(key, what, record)
    return space


def grid(space: Space) -> Iterator[Point]:
    """Every point, the last setting changing fastest; a range of whole numbers counts as all of them."""
    sides = [
        side.values if isinstance(side, Values) else range(int(side.low), int(side.high) + 1)
        for side in space.values()
    ]
    return (dict(zip(space, values, strict=True)) for values in itertools.product(*sides))


def count(space: Space) -> int | None:
    """How many points there are; None where a range has no end of them."""
    if any(isinstance(side, Range) and not side.whole for side in space.values()):
        return None
    return math.prod(
        len(side.values) if isinstance(side, Values) else int(side.high - side.low) + 1
        for side in space.values()
    )


def ends(space: Space) -> Iterator[tuple[str, Any]]:
    """Each setting with each of its listed values, or both ends of its range."""
    for key, side in space.items():
        values = side.values if isinstance(side, Values) else (side.low, side.high)
        yield from ((key, value) for value in values)


def assignments(point: Point) -> list[str]:
    """A point as `--set` writes it."""
    return [f"{key}={spell(value)}" for key, value in point.items()]


def spell(value: Any, *, listed: bool = False) -> str:
    """A value as YAML that reads back as itself, also between the commas of a list."""
    import yaml

    if not isinstance(value, str):
        return json.dumps(list(value) if isinstance(value, tuple) else value)
    try:
        plain = yaml.safe_load(f"[{value}]") == [value] if listed else yaml.safe_load(value) == value
    except yaml.YAMLError:
        plain = False
    return value if plain else json.dumps(value)


def _split(text: str) -> tuple[str, str]:
    key, equals, values = text.partition("=")
    if not (equals and key.strip() and values.strip()):
        raise UsageError(f"--vary wants KEY=a,b,c or KEY=low..high, not `{text}`", hint=HINT)
    return key.strip(), values.strip()


def _read(key: str, what: Any, record: type[BaseModel]) -> Values | Range:
    if isinstance(what, str):
        found = _RANGE.fullmatch(what)
        if found:
            return _range(key, float(found[1]), float(found[2]), found[3], record)
        what = _listed(key, what)
    elif isinstance(what, tuple):
        if len(what) not in (2, 3) or not all(type(end) in (int, float) for end in what[:2]):
            raise UsageError(
                f"--vary {key}: a tuple is a range, (low, high) or (low, high, 'log'); list values in []"
            )
        return _range(key, float(what[0]), float(what[1]), what[2] if len(what) == 3 else None, record)
    if not isinstance(what, Sequence) or not what:
        raise UsageError(f"--vary {key}: there are no values", hint=HINT)
    return Values(tuple(what))


def _listed(key: str, text: str) -> list[Any]:
    import yaml

    try:
        return list(yaml.safe_load(f"[{text}]"))
    except yaml.YAMLError as error:
        raise UsageError(f"--vary {key}: the values cannot be read: {text!r}", hint=HINT) from error


def _range(key: str, low: float, high: float, scale: Any, record: type[BaseModel]) -> Range:
    kinds = _types(key, record)
    if not {int, float} & kinds:
        raise UsageError(f"--vary {key}: it is not a number, so it has no range", hint="list its values: a,b")
    whole = float not in kinds
    if whole and not (low.is_integer() and high.is_integer()):
        raise UsageError(f"--vary {key}: it is a whole number, so the ends of its range must be")
    if not (math.isfinite(low) and low < high < math.inf):
        raise UsageError(f"--vary {key}: {low:g}..{high:g} is no range: the first end must be the lower")
    if scale not in (None, "log", "linear"):
        raise UsageError(f"--vary {key}: a range is `log` or `linear`, not {scale!r}")
    if scale == "log" and low <= 0:
        raise UsageError(f"--vary {key}: a range by its logarithm must begin above 0")
    log = scale == "log" or (scale is None and low > 0 and high / low >= _LOG_FROM)
    return Range(int(low) if whole else low, int(high) if whole else high, log, whole)


def _types(key: str, record: type[BaseModel]) -> set[Any]:
    """What a setting may be: its type, or those that it is one of."""
    if key == SIZE:
        return {str}
    *tables, name = key.split(".")
    for table in tables:
        record = record.model_fields[table].annotation  # type: ignore[assignment]  # the key is known
    annotation = record.model_fields[name].annotation
    return set(get_args(annotation)) or {annotation}
