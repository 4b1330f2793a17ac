"""The shelf of sources: what can be read, and by which reader."""

from __future__ import annotations

from bowerbird.base.shelf import Shelf
from bowerbird.data.sources import (
    abc,
    archive,
    demo,
    demo_icons,
    demo_tunes,
    docx,
    epub,
    html,
    idx,
    image_tables,
    images,
    midi,
    pdf,
    rows,
    scores,
    table,
    text,
)
from bowerbird.data.sources.source import Source

SOURCES: Shelf[Source] = Shelf(
    "source",
    **{
        "text": text.TEXT,
        "html": html.HTML,
        "table": table.TABLE,
        "jsonl": rows.JSON_LINES,
        "json": rows.JSON,
        "epub": epub.EPUB,
        "pdf": pdf.PDF,
        "docx": docx.DOCX,
        "midi": midi.MIDI,
        "abc": abc.ABC,
        "scores": scores.SCORES,
        "images": images.IMAGES,
        "image_tables": image_tables.IMAGE_TABLES,
        "idx": idx.IDX,
        "archive": archive.ARCHIVE,
        "demo:chat": demo.CHAT,
        "demo:speeches": demo.SPEECHES,
        "demo:tunes": demo_tunes.TUNES,
        "demo:chorales": demo_tunes.CHORALES,
        "demo:icons": demo_icons.ICONS,
    },
)


def source_for(suffix: str, kind: str = "text") -> Source | None:
    """The source that reads files of a suffix such as `.txt` for a kind of model."""
    return next(
        (source for source in SOURCES.values() if suffix in source.suffixes and source.kind in (kind, None)),
        None,
    )


def kind_of(suffix: str) -> str | None:
    """The kind of model that files of a suffix are for, if any reader knows it."""
    return next((source.kind for source in SOURCES.values() if suffix in source.suffixes), None)
