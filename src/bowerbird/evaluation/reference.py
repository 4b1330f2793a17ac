"""Reference statistics: what a model's held-out data and its own samples are like, to compare live traffic with.

    BUNDLE.reference.json     beside the bundle, which is never edited; copied with it when it is published

The file is sealed by a digest of its own and names the bundle's, so it speaks of no other model. It holds no text:
of each passage only its numbers, at lengths that double, as a short prompt is harder to foresee than a long one.

P passages, L lengths of the ladder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.digest import seal_holds, sealed
from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.base.files import check_format, read_json, write_whole
from bowerbird.evaluation.evidence import Floats
from bowerbird.evaluation.traits import Traits
from bowerbird.store.beside import reference_of

FORMAT = 1
LADDER = (4, 8, 16, 32, 64, 128, 256, 512, 1024)
"""Lengths that passages are measured at: UTF-8 bytes of text, or notes."""
PASSAGES = 256
MOST_BYTES = 64_000
"""Of the file."""
_PLACES = 3
"""Decimal places of a number, and its digits."""
_LEAST_REACHING = 32
"""Passages that must be as long as a length for it to be compared at."""
_FEWEST_CLUSTERS = 8
_FEWEST = 64
"""Passages that are kept whatever room they take."""
_MOST_LENGTH = 1 << 30


@dataclass(frozen=True)
class Measured:
    """Passages, each measured at every length of the ladder that it has."""

    ladder: tuple[int, ...]
    """Lengths, rising; `(1,)` where things have none, as pictures."""
    clusters: NDArray[np.int64]
    """(P,) passages of one number are of one document, and so alike."""
    numbers: Mapping[str, Floats] = field(default_factory=dict)
    """(P, L) by statistic; NaN beyond a passage's end."""
    classes: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    """(P, L) by statistic, which of its names; -1 beyond the end."""
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the classes, by statistic."""

    def __len__(self) -> int:
        return len(self.clusters)

    @property
    def longest(self) -> int:
        """The greatest length that enough passages have; 0 where none has."""
        tables = [~np.isnan(table) for table in self.numbers.values()]
        tables += [table >= 0 for table in self.classes.values()]
        if not tables:
            return 0
        reaching = np.any(tables, axis=0).sum(0)
        enough = np.flatnonzero(reaching >= min(_LEAST_REACHING, max(len(self), 1)))
        return self.ladder[enough[-1]] if len(enough) else 0

    def at(self, name: str, length: float) -> Floats:
        """A number's values among the passages that are so long, between two lengths of the ladder in proportion."""
        table, where = self.numbers[name], self._step(length)
        low = int(where)
        found = table[:, low]
        if where > low:
            found = found + (where - low) * (table[:, low + 1] - found)
        return np.asarray(found[~np.isnan(found)], np.float64)

    def column(self, table: NDArray[Any], length: float) -> NDArray[Any]:
        """(P,) of a table, at the nearest length."""
        return np.asarray(table[:, round(self._step(length))])

    def shares(self, name: str, length: float) -> tuple[Floats, int]:
        """(classes,) shares of each class among the passages at the nearest length, and how many passages those are."""
        column = self.column(self.classes[name], length)
        counts = np.bincount(column[column >= 0], minlength=len(self.names[name])).astype(np.float64)
        total = int(counts.sum())
        return counts / max(total, 1), total

    def _step(self, length: float) -> float:
        """Where a length stands on the ladder, from 0 to L - 1."""
        steps = np.log2(np.asarray(self.ladder, np.float64))
        return float(np.interp(np.log2(max(length, 1)), steps, np.arange(len(steps))))

    def half(self) -> Measured:
        """Every other passage."""
        numbers = {name: table[::2] for name, table in self.numbers.items()}
        classes = {name: table[::2] for name, table in self.classes.items()}
        return replace(self, clusters=self.clusters[::2], numbers=numbers, classes=classes)

    def to_json(self) -> dict[str, Any]:
        return {
            "ladder": list(self.ladder),
            "clusters": self.clusters.tolist(),
            "numbers": {name: [_row(row) for row in table] for name, table in self.numbers.items()},
            "classes": {
                name: [[int(number) for number in row if number >= 0] for row in table]
                for name, table in self.classes.items()
            },
            "names": {name: list(names) for name, names in self.names.items()},
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Measured:
        """Raises KeyError, TypeError or ValueError where this is not what `to_json` gave."""
        ladder = tuple(int(step) for step in value["ladder"])
        if (
            not ladder
            or list(ladder) != sorted({*ladder})
            or not 1 <= ladder[0] <= ladder[-1] <= _MOST_LENGTH
        ):
            raise ValueError("these are no lengths that rise")
        clusters = np.array(value["clusters"], np.int64)
        if clusters.ndim != 1:
            raise ValueError("the documents of the passages are no list")
        names = {str(name): tuple(map(str, each)) for name, each in value["names"].items()}
        numbers = {
            str(name): _table(rows, len(clusters), len(ladder), np.nan)
            for name, rows in value["numbers"].items()
        }
        classes = {
            str(name): _table(rows, len(clusters), len(ladder), -1).astype(np.int64)
            for name, rows in value["classes"].items()
        }
        if any((table >= len(names[name])).any() for name, table in classes.items()):
            raise ValueError("a class has no name")
        return cls(ladder, clusters, numbers, classes, names)


@dataclass(frozen=True)
class Reference:
    """What is normal for a model."""

    model: str
    """The digest of its bundle."""
    kind: str
    dataset: str
    """The digest of the dataset."""
    split: str
    """What was held out: `test` or `valid`."""
    prompts: Measured | None = None
    """Held-out content, as prompts."""
    outputs: Measured | None = None
    """The model's own samples at temperature 1."""
    alphabet: Mapping[str, int] = field(default_factory=dict)
    """How often the training text has each character."""

    def to_json(self) -> dict[str, Any]:
        told = {
            "format": FORMAT,
            "model": self.model,
            "kind": self.kind,
            "dataset": self.dataset,
            "split": self.split,
            "prompts": self.prompts.to_json() if self.prompts else None,
            "outputs": self.outputs.to_json() if self.outputs else None,
            "alphabet": dict(self.alphabet),
        }
        return sealed(told)


Measure = Callable[[int, int], Traits | None]
"""(which item, length) -> its numbers and classes when cut to this length; None where it is shorter."""


def measured(
    count: int, clusters: Sequence[int], measure: Measure, ladder: tuple[int, ...] = LADDER
) -> Measured:
    """Items measured at every length that they have.

    Args:
        count: of items, P.
        clusters: (P,) which document each is of.
        measure: gives numbers (float) and classes (str) by name; a number may be NaN.
        ladder: the lengths.
    """
    found = [[measure(item, length) for length in ladder] for item in range(count)]
    first = next((one for row in found for one in row if one is not None), {})
    numbers: dict[str, Floats] = {}
    classes: dict[str, NDArray[np.int64]] = {}
    names: dict[str, tuple[str, ...]] = {}
    for name, value in first.items():
        cells = [[None if one is None else one[name] for one in row] for row in found]
        if isinstance(value, str):
            known = sorted({str(cell) for row in cells for cell in row if cell is not None})
            names[name] = tuple(known)
            classes[name] = np.array(
                [[-1 if cell is None else known.index(str(cell)) for cell in row] for row in cells], np.int64
            ).reshape(count, len(ladder))
        else:
            numbers[name] = np.array(
                [[np.nan if cell is None else float(cell) for cell in row] for row in cells], np.float64
            ).reshape(count, len(ladder))
    return Measured(ladder, np.array(_split(clusters), np.int64), numbers, classes, names)


def _split(clusters: Sequence[int]) -> list[int]:
    """Numbers of documents; where these are few, each is cut into runs of passages, so that likeness can be seen."""
    numbers = list(clusters)
    if not numbers or len(set(numbers)) >= _FEWEST_CLUSTERS:
        return numbers
    run = max(len(numbers) // (2 * _FEWEST_CLUSTERS), 1)
    return [at // run for at in range(len(numbers))]


def write_reference(reference: Reference, bundle: Path) -> Path:
    """Write it beside the bundle, in the place of an older one. Returns where.

    Of passages that take too much room, as in a script of many characters, every other one is left out.

    Raises:
        DataError: it is larger than it may be all the same.
    """
    path = reference_of(bundle)
    content = _content(reference)
    while len(content) > MOST_BYTES and reference.prompts is not None and len(reference.prompts) > _FEWEST:
        reference = replace(reference, prompts=reference.prompts.half())
        content = _content(reference)
    if len(content) > MOST_BYTES:
        raise DataError(f"these statistics take {len(content):,} bytes, more than they may", where=path)
    write_whole(path, content)
    return path


def _content(reference: Reference) -> bytes:
    text = json.dumps(reference.to_json(), ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode("utf-8", "surrogatepass")


def read_reference(bundle: Path, digest: str) -> Reference | None:
    """What lies beside a bundle with this digest; None where there is nothing.

    Raises:
        CorruptFile: it is damaged, too new, or of another model.
    """
    path = reference_of(bundle)
    if not path.exists():
        return None
    value = read_json(path, "reference")
    if not isinstance(value, dict) or path.stat().st_size > MOST_BYTES:
        raise CorruptFile("this reference is damaged", where=path, hint=_AGAIN)
    check_format(value.get("format"), FORMAT, "reference", path)
    if not seal_holds(value):
        raise CorruptFile("this reference was changed or damaged", where=path, hint=_AGAIN)
    if value.get("model") != digest:
        raise CorruptFile("this reference is of another model", where=path, hint=_AGAIN)
    try:
        return Reference(
            model=digest,
            kind=str(value["kind"]),
            dataset=str(value["dataset"]),
            split=str(value["split"]),
            prompts=None if value["prompts"] is None else Measured.from_json(value["prompts"]),
            outputs=None if value["outputs"] is None else Measured.from_json(value["outputs"]),
            alphabet={str(key): int(count) for key, count in value["alphabet"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptFile(f"this reference is damaged: {error}", where=path, hint=_AGAIN) from error


_AGAIN = "remove it, and write it again: bowerbird evaluate MODEL"


def _row(values: Floats) -> list[float | None]:
    """A row without the NaN at its end; as few digits as may be."""
    cells = [None if np.isnan(value) else round(float(f"{value:.{_PLACES}g}"), _PLACES) for value in values]
    while cells and cells[-1] is None:
        cells.pop()
    return [int(cell) if cell is not None and cell == int(cell) else cell for cell in cells]


def _table(rows: Iterable[Sequence[Any]], count: int, width: int, missing: float) -> Floats:
    """(count, width) of rows that may end early."""
    table = np.full((count, width), missing)
    given = list(rows)
    if len(given) != count or any(len(row) > width for row in given):
        raise ValueError("a table is not as long as its passages")
    for row, values in zip(table, given, strict=True):
        row[: len(values)] = [missing if value is None else float(value) for value in values]
    return table
