"""Tables of pictures (.parquet), as data sets of Hugging Face are kept: each row a picture with its label."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bowerbird.base.errors import MissingExtra
from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources.images import AS_IT_IS, MOST
from bowerbird.data.sources.parts import seekable
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

ROWS_AT_ONCE = 64


@dataclass(frozen=True)
class Columns:
    """Where in a table the pictures and their labels are."""

    picture: str
    label: str | None
    classes: Sequence[str]
    """What the numbers of the labels stand for; empty where the table does not say."""


def read(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    try:
        from pyarrow import parquet
    except ImportError:
        raise MissingExtra("reading tables of pictures", "image") from None
    with seekable(opened) as stream:
        table = parquet.ParquetFile(stream)
        columns = columns_of(table.schema_arrow, config.column)
        opened.tell(f"the pictures are taken from column `{columns.picture}`" + _told(columns.label))
        wanted = [name for name in (columns.picture, columns.label) if name is not None]
        number = 0
        for batch in table.iter_batches(batch_size=ROWS_AT_ONCE, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                origin = f"{opened.origin}#{number}"
                try:
                    yield _picture(row, columns, origin)
                except Unusable as reason:
                    yield Rejected(origin, str(reason))
        if not number:
            raise Unusable("a table without rows")


def _told(label: str | None) -> str:
    return "" if label is None else f", their labels from `{label}`"


def columns_of(schema: Any, wanted: str | None) -> Columns:
    """The columns of an Arrow schema that hold pictures and labels.

    Raises:
        Unusable: none holds pictures, or not the one that is wanted.
    """
    features = _features(schema.metadata or {})
    pictures = [field.name for field in schema if _holds_pictures(field.type)]
    if wanted is not None:
        if wanted not in pictures:
            raise Unusable(f"no column `{wanted}` of pictures; there is {', '.join(schema.names)}")
        picture = wanted
    else:
        if not pictures:
            raise Unusable(f"no column of pictures; there is {', '.join(schema.names)}")
        marked = [name for name in pictures if _kind(features.get(name)) == "Image"]
        picture = next(iter(marked), "image" if "image" in pictures else pictures[0])
    labels = [name for name in schema.names if _kind(features.get(name)) == "ClassLabel"]
    label = "label" if "label" in schema.names else next(iter(labels), None)
    names = features.get(label, {}).get("names") if label in labels else None
    return Columns(picture, label, names if isinstance(names, list) else [])


def _features(metadata: Mapping[bytes, bytes]) -> dict[Any, Any]:
    """What Hugging Face's `datasets` tells of the columns, if it made this table."""
    try:
        features = json.loads(metadata[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _kind(feature: Any) -> Any:
    return feature.get("_type") if isinstance(feature, dict) else None


def _holds_pictures(column: Any) -> bool:
    """Whether it holds bytes, or records with bytes."""
    if not str(column).startswith("struct"):
        return str(column) in ("binary", "large_binary")
    inner = {column.field(at).name: str(column.field(at).type) for at in range(column.num_fields)}
    return inner.get("bytes") in ("binary", "large_binary")


def _picture(row: Mapping[str, Any], columns: Columns, origin: str) -> Item:
    from bowerbird.data.picture import decode

    value = row[columns.picture]
    if isinstance(value, Mapping):
        if value["bytes"] is None and value.get("path"):
            raise Unusable("the table holds only the path of this picture, not the picture")
        value = value["bytes"]
    if not value:
        raise Unusable(f"no picture in column `{columns.picture}`")
    picture = decode(io.BytesIO(value), AS_IT_IS, most=MOST)
    return Item(picture, origin, label=None if columns.label is None else _name(row, columns))


def _name(row: Mapping[str, Any], columns: Columns) -> str | None:
    value = row[columns.label or ""]
    if value is None or value == -1:  # -1 is how `datasets` writes that there is none
        return None
    if isinstance(value, int) and 0 <= value < len(columns.classes):
        return str(columns.classes[value])
    return str(value)


IMAGE_TABLES = Source("a table of pictures", (".parquet",), read, "image")
