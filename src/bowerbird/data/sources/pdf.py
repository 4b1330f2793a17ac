"""PDF: the text of the pages, as far as the file holds text and not pictures of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from bowerbird.base.errors import MissingExtra
from bowerbird.data.item import Item
from bowerbird.data.sources.parts import seekable
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    try:
        from pypdf import PdfReader
    except ImportError:
        raise MissingExtra("reading PDF", "gather") from None
    # It reports every oddity of a file; what matters ends in the ledger.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    with seekable(opened) as stream:
        document = PdfReader(stream)
        if document.is_encrypted and not document.decrypt(""):
            raise Unusable("this PDF is locked with a password")
        pages = [page.extract_text().strip() for page in document.pages]
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise Unusable("no text in this PDF: its pages may be pictures")
    yield Item(text + "\n", opened.origin)


PDF = Source("PDF", (".pdf",), read)
