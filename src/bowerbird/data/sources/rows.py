"""JSON: one row a line (.jsonl, .ndjson) or one value a file (.json); a row is a text or a chat."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import chat
from bowerbird.data.sources.columns import SAMPLE_CHARACTERS, SAMPLE_ROWS, text_column
from bowerbird.data.sources.encoding import decoded, encoding_of, lines
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

WHOLE_BYTES = 256 << 20
"""The largest .json file: it is held in memory whole, as its form gives no place to stop."""

Row = tuple[str, Any]
"""The origin of a row, and its value or an `Unusable` that says why there is none."""


def read_lines(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    with decoded(opened, encoding_of(opened, config), newline="\n") as text:
        yield from _documents(opened, config, _rows_of_lines(opened, lines(text)))


def _rows_of_lines(opened: Opened, found: Iterable[str]) -> Iterator[Row]:
    for number, line in enumerate(found, 1):
        if line.strip():
            yield f"{opened.origin}#{number}", _parsed(line)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        return Unusable("JSON nested too deeply")
    except ValueError as error:
        return Unusable(f"not JSON: {error}")


def read_whole(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    with opened.open() as stream:
        size = 0
        while block := stream.read(1 << 20):
            size += len(block)
            if size > WHOLE_BYTES:
                raise Unusable(
                    f"a .json file of more than {WHOLE_BYTES >> 20} MiB: use .jsonl, one row a line"
                )
    with decoded(opened, encoding_of(opened, config)) as text:
        value = _parsed(text.read())
    if isinstance(value, Unusable):
        raise value
    yield from _documents(opened, config, _rows_of_value(opened, config, value))


def _rows_of_value(opened: Opened, config: GatherConfig, value: Any) -> Iterator[Row]:
    """The rows of a list, of the one list inside an object, or of an object of objects; else one row."""
    if isinstance(value, Mapping) and not chat.is_chat(value) and config.column not in value:
        lists = [inner for inner in value.values() if isinstance(inner, list) and inner]
        if len(lists) == 1:
            value = lists[0]
        elif len(value) > 1 and all(isinstance(inner, Mapping) for inner in value.values()):
            value = list(value.values())
    if isinstance(value, list):
        for number, row in enumerate(value, 1):
            yield f"{opened.origin}#{number}", row
    else:
        yield opened.origin, value


def _documents(opened: Opened, config: GatherConfig, rows: Iterator[Row]) -> Iterator[Item | Rejected]:
    sample: list[Row] = []
    size = 0
    for origin, row in rows:
        sample.append((origin, row))
        if isinstance(row, Mapping):
            size += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(sample) >= SAMPLE_ROWS or size >= SAMPLE_CHARACTERS:
            break
    if not sample:
        raise Unusable("no rows")
    tables = [row for _, row in sample if isinstance(row, Mapping) and not chat.is_chat(row)]
    column = config.column
    if tables:
        column = text_column(tables, config.column)
        if config.column is None:
            opened.tell(f"the text is taken from `{column}`")
    for origin, row in chain(sample, rows):
        try:
            yield _document(row, column, origin)
        except Unusable as reason:
            yield Rejected(origin, str(reason))


def _document(row: Any, column: str | None, origin: str) -> Item:
    if isinstance(row, Unusable):
        raise row
    if isinstance(row, str):
        return Item(row, origin)
    if not isinstance(row, Mapping):
        raise Unusable("neither a text nor a row with a text")
    licence = next((row[key] for key in ("licence", "license") if isinstance(row.get(key), str)), None)
    if chat.is_chat(row):
        return chat.chat_item(chat.turns_of(row), origin, licence)
    column = column or text_column([row], None)
    words = row.get(column)
    if not isinstance(words, str):
        raise Unusable(f"no text in `{column}`")
    return Item(words, origin, licence=licence)


JSON_LINES = Source("JSON lines", (".jsonl", ".ndjson"), read_lines)
JSON = Source("JSON", (".json",), read_whole)
