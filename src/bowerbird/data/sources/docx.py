"""Word documents (.docx): the paragraphs of the body, one a line. ECMA-376 part 1, section 17."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator

from bowerbird.data.item import Item
from bowerbird.data.sources.parts import open_part, seekable, xml
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
# A drawing that old readers do not know is stored twice; the second copy would double its text.
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_CHARACTERS = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "\u2011"}


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    etree = xml("Word documents")
    with (
        seekable(opened) as stream,
        zipfile.ZipFile(stream) as document,
        open_part(document, "word/document.xml") as part,
    ):
        events = etree.iterparse(part, events=("start", "end"), resolve_entities=False, no_network=True)
        text = "\n".join(_paragraphs(events))
    if not text.strip():
        raise Unusable("no text in this document")
    yield Item(text + "\n", opened.origin)


def _paragraphs(events: Iterator[tuple[str, object]]) -> Iterator[str]:
    """Paragraphs in the order in which they end; those of a text box come before the one it hangs in."""
    open_paragraphs: list[list[str]] = []
    skipped = 0
    for event, node in events:
        tag: str = node.tag  # type: ignore[attr-defined]
        if tag == _FALLBACK:
            skipped += 1 if event == "start" else -1
        if skipped or not tag.startswith(_WORDS):
            continue
        name = tag.removeprefix(_WORDS)
        if name == "p" and event == "start":
            open_paragraphs.append([])
        elif event == "end" and open_paragraphs:
            if name == "p":
                yield "".join(open_paragraphs.pop())
                if not open_paragraphs:
                    node.clear()  # type: ignore[attr-defined]
            elif name == "t":
                open_paragraphs[-1].append(node.text or "")  # type: ignore[attr-defined]
            elif name in _CHARACTERS and node.getparent().tag == f"{_WORDS}r":  # type: ignore[attr-defined]
                open_paragraphs[-1].append(_CHARACTERS[name])


DOCX = Source("a Word document", (".docx",), read)
