"""Electronic books (.epub): the chapters in reading order, a document per book. EPUB 3.3."""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from bowerbird.data.item import Item
from bowerbird.data.sources.html import declared_text, plain_text
from bowerbird.data.sources.parts import PART_BYTES, open_part, seekable, xml
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

_CHAPTERS = ("application/xhtml+xml", "text/html")


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    etree = xml("electronic books")
    with seekable(opened) as stream, zipfile.ZipFile(stream) as book:
        if "META-INF/encryption.xml" in book.namelist() and "META-INF/rights.xml" in book.namelist():
            raise Unusable("this book is locked (DRM)")
        chapters = []
        size = 0
        for name in _reading_order(etree, book):
            with open_part(book, name) as part:
                content = part.read()
            size += len(content)
            if size > PART_BYTES:
                raise Unusable(f"its chapters unpack to more than {PART_BYTES >> 20} MiB")
            chapters.append(plain_text(declared_text(content)))
    text = "\n\n".join(chapter for chapter in chapters if chapter.strip())
    if not text:
        raise Unusable("no text in this book")
    yield Item(text + "\n", opened.origin)


def _reading_order(etree: Any, book: zipfile.ZipFile) -> list[str]:
    """The paths of the chapters in the order of the spine; the table of contents is no chapter."""
    container = _tree(etree, book, "META-INF/container.xml")
    roots = container.xpath("//*[local-name()='rootfile']/@full-path")
    if not roots:
        raise Unusable("damaged: it does not say where its contents are listed")
    package = _tree(etree, book, roots[0])
    folder = posixpath.dirname(roots[0])
    listed = {
        item.get("id"): item.get("href", "")
        for item in package.xpath("//*[local-name()='manifest']/*[local-name()='item']")
        if item.get("media-type") in _CHAPTERS and "nav" not in (item.get("properties") or "").split()
    }
    spine = package.xpath("//*[local-name()='spine']/*[local-name()='itemref']/@idref")
    paths = [
        posixpath.normpath(posixpath.join(folder, unquote(listed[name]))) for name in spine if name in listed
    ]
    return list(dict.fromkeys(paths))


def _tree(etree: Any, book: zipfile.ZipFile, name: str) -> Any:
    with open_part(book, name) as part:
        return etree.parse(part, etree.XMLParser(resolve_entities=False, no_network=True))


EPUB = Source("an electronic book", (".epub",), read)
