"""The tables of an event store, and rows of them. It imports SQLAlchemy at its top: the store asks for it late."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import BigInteger, Column, ColumnElement, Double, Index, Integer, MetaData, Table, Text, or_

from bowerbird.base.errors import UnknownName
from bowerbird.monitoring.events import Event

SCHEMA = 1
"""Of these tables. A store of a newer one is refused."""
_ROW_BYTES = 220
"""About what a row takes beside its texts, its place in the indices included."""
_NUMBER = BigInteger().with_variant(Integer, "sqlite")

METADATA = MetaData()
EVENTS = Table(
    "bowerbird_events",
    METADATA,
    Column("number", _NUMBER, primary_key=True, autoincrement=True),
    Column("id", Text, nullable=False),
    Column("time", Double, nullable=False),
    Column("model", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("arm", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("code", Text, nullable=False),
    Column("finish_reason", Text, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("first_token_seconds", Double),
    Column("size", BigInteger, nullable=False),  # before the texts, which need not be read for it
    Column("settings", Text, nullable=False),
    Column("prompt", Text),
    Column("output", Text),
    Index("bowerbird_events_by_time", "time"),
    Index("bowerbird_events_by_model", "model", "number"),
    sqlite_autoincrement=True,  # else SQLite gives the number of a row that was deleted to the next one
)
ABOUT = Table(
    "bowerbird_events_about",
    METADATA,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("schema_version", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
)
"""One row: the version of the schema, and how many bytes all events take."""
WRITERS = Table(
    "bowerbird_event_writers",
    METADATA,
    Column("writer", Text, primary_key=True),
    Column("written", BigInteger, nullable=False),
)
"""How many events each process has written, kept in the transaction that writes them."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_FIELDS = [field.name for field in fields(Event)]
COLUMNS = [EVENTS.c[name] for name in _FIELDS]
"""In the order of an event's fields."""
_TEXTS = [column.name for column in EVENTS.columns if isinstance(column.type, Text)]
GROUPS = ("model", "digest", "kind", "path", "owner", "session", "arm", "status", "code", "finish_reason")
"""Columns that events can be counted by."""


def row_of(event: Event) -> dict[str, Any]:
    """An event as a row, in characters that every database takes."""
    row = {name: getattr(event, name) for name in _FIELDS if name != "number"}
    row["settings"] = _JSON.encode(dict(event.settings))
    size = _ROW_BYTES
    for name in _TEXTS:
        if row[name]:
            row[name], taken = _plain(row[name])
            size += taken
    row["size"] = size
    return row


def event_of(row: Sequence[Any]) -> Event:
    """An event of a row of `COLUMNS`."""
    values = dict(zip(_FIELDS, row, strict=True))
    values["settings"] = json.loads(values["settings"])
    return Event(**values)


def matching(
    *,
    model: str | None = None,
    digest: str | None = None,
    owner: str | None = None,
    session: str | None = None,
    since: float | None = None,
    until: float | None = None,
    texts_only: bool = False,
) -> list[ColumnElement[bool]]:
    """Conditions on events; None demands nothing."""
    equal = {"model": model, "digest": digest, "owner": owner, "session": session}
    found = [EVENTS.c[name] == value for name, value in equal.items() if value is not None]
    if since is not None:
        found.append(EVENTS.c.time >= since)
    if until is not None:
        found.append(EVENTS.c.time < until)
    if texts_only:
        found.append(or_(EVENTS.c.prompt.is_not(None), EVENTS.c.output.is_not(None)))
    return found


def groups(names: Sequence[str]) -> list[Column[Any]]:
    """The columns of these names.

    Raises:
        UnknownName: events cannot be counted by one of them.
    """
    for name in names:
        if name not in GROUPS:
            raise UnknownName("column to count by", name, GROUPS)
    return [EVENTS.c[name] for name in names]


def _plain(text: str) -> tuple[str, int]:
    """A text without what PostgreSQL or UTF-8 cannot hold, and its bytes."""
    if text.isascii() and "\0" not in text:
        return text, len(text)
    data = text.replace("\0", "\ufffd").encode("utf-8", "replace")
    return data.decode("utf-8"), len(data)
