"""The shelf of sources: what can be read, and by which reader."""

from __future__ import annotations

from bowerbird.base.shelf import Shelf
from bowerbird.data.sources import archive, demo, docx, epub, html, pdf, rows, table, text
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
        "archive": archive.ARCHIVE,
        "demo:chat": demo.CHAT,
        "demo:speeches": demo.SPEECHES,
    },
)


def source_for(suffix: str) -> Source | None:
    """The source that reads files of a suffix such as `.txt`."""
    return next((source for source in SOURCES.values() if suffix in source.suffixes), None)
