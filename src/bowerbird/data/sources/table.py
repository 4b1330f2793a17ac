"""Tables with separators (.csv, .tsv): each row a document, read one at a time."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import chain

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources.columns import SAMPLE_CHARACTERS, SAMPLE_ROWS, text_column
from bowerbird.data.sources.encoding import decoded, encoding_of
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

FIELD_CHARACTERS = 64 << 20
"""The longest field; a quote that is never closed ends here instead of filling the memory."""

HEADER_CHARACTERS = 80
"""A first row with a longer cell is no header: the columns are then called 1, 2, 3 ..."""


def read(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    if csv.field_size_limit() < FIELD_CHARACTERS:
        csv.field_size_limit(FIELD_CHARACTERS)
    encoding = encoding_of(opened, config)
    delimiter = "\t" if opened.suffix == ".tsv" else _delimiter(opened, encoding)
    with decoded(opened, encoding, newline="") as text:
        rows = csv.reader(text, delimiter=delimiter)
        header, rest = _header(rows)
        sample, rest = _sample(rest)
        named = [dict(zip(header, row, strict=False)) for row in sample]
        column = text_column(named, config.column)
        if config.column is None:
            opened.tell(f"the text is taken from column `{column}`")
        at = header.index(column)
        for number, row in enumerate(chain(sample, rest), 1):
            origin = f"{opened.origin}#{number}"
            if at < len(row) and row[at].strip():
                yield Item(row[at], origin)
            elif any(cell.strip() for cell in row):
                yield Rejected(origin, f"no text in column `{column}`")


def _delimiter(opened: Opened, encoding: str) -> str:
    """The separator that the first line has most of."""
    with decoded(opened, encoding) as text:
        return max(",;\t|", key=text.readline(SAMPLE_CHARACTERS).count)


def _header(rows: Iterator[list[str]]) -> tuple[list[str], Iterator[list[str]]]:
    first = next((row for row in rows if any(cell.strip() for cell in row)), None)
    if first is None:
        raise Unusable("a table without rows")
    if any(len(cell) > HEADER_CHARACTERS or "\n" in cell for cell in first):
        return [str(number) for number in range(1, len(first) + 1)], chain([first], rows)
    return [cell.strip() for cell in first], rows


def _sample(rows: Iterator[list[str]]) -> tuple[list[list[str]], Iterator[list[str]]]:
    sample: list[list[str]] = []
    size = 0
    for row in rows:
        sample.append(row)
        size += sum(map(len, row))
        if len(sample) >= SAMPLE_ROWS or size >= SAMPLE_CHARACTERS:
            break
    return sample, rows


TABLE = Source("a table", (".csv", ".tsv"), read)
