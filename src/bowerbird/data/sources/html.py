"""Web pages: the main text by trafilatura, or all of the text where it finds none."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bowerbird.base.errors import MissingExtra
from bowerbird.data.item import Item
from bowerbird.data.sources.encoding import text_of
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

PAGE_BYTES = 32 << 20
"""The largest web page."""

_SILENT = {"script", "style", "head", "template", "noscript", "svg", "math", "object", "iframe", "title"}
_BLOCKS = {
    *("address", "article", "aside", "blockquote", "body", "dd", "details", "div", "dl", "dt", "fieldset"),
    *("figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li"),
    *("main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"),
}
_PARAGRAPHS = {"p", "h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "pre", "ul", "ol", "dl", "table"}
_DECLARED = re.compile(
    rb"""charset\s*=\s*["']?\s*([\w.:-]{2,40})|encoding\s*=\s*["']([\w.:-]{2,40})["']""", re.I
)


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    with opened.open() as stream:
        content = stream.read(PAGE_BYTES + 1)
    if not content:
        raise Unusable("empty file")
    if len(content) > PAGE_BYTES:
        raise Unusable(f"a web page of more than {PAGE_BYTES >> 20} MiB")
    markup = declared_text(content)
    text = _main_text(markup) or plain_text(markup)
    if not text.strip():
        raise Unusable("no text on this page")
    yield Item(text, opened.origin)


def declared_text(content: bytes) -> str:
    """Markup as text: byte order mark, UTF-8, the encoding it declares, or a guess, in this order."""
    declared = _DECLARED.search(content[:4096])
    if declared:
        name = (declared[1] or declared[2]).decode("ascii")
        for encoding in ("utf-8", name):
            try:
                return content.decode(encoding).removeprefix("\ufeff")
            except (UnicodeDecodeError, LookupError):
                continue
    return text_of(content)


def _main_text(markup: str) -> str | None:
    try:
        import trafilatura
    except ImportError:
        raise MissingExtra("reading web pages", "gather") from None
    found = trafilatura.extract(markup, include_comments=False, include_tables=True)
    return None if found is None else str(found)


def plain_text(markup: str) -> str:
    """All text of a page or a chapter: blocks on lines of their own, paragraphs apart, spaces collapsed."""
    try:
        from lxml import etree, html
    except ImportError:
        raise MissingExtra("reading web pages and electronic books", "gather") from None
    content = markup.encode("utf-8", "replace")
    if not content.strip():
        return ""
    root = html.document_fromstring(content, parser=html.HTMLParser(encoding="utf-8", no_network=True))
    parts: list[str] = []
    silent = kept_as_is = 0
    for event, node in etree.iterwalk(root, events=("start", "end", "comment", "pi")):
        if event in ("comment", "pi"):
            text = node.tail
        elif event == "start":
            silent += node.tag in _SILENT
            kept_as_is += node.tag == "pre"
            _break(parts, node.tag)
            text = node.text
        else:
            silent -= node.tag in _SILENT
            kept_as_is -= node.tag == "pre"
            if node.tag != "br":
                _break(parts, node.tag)
            text = node.tail
        if text and not silent:
            parts.append(text if kept_as_is else re.sub(r"\s+", " ", text))
    lines = [line.rstrip() if line.startswith("  ") else line.strip() for line in "".join(parts).split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip("\n")


def _break(parts: list[str], tag: object) -> None:
    """End the line before and after a block; `<br>` ends one each time, even twice in a row."""
    if tag == "br":
        parts.append("\n")
    elif tag in _BLOCKS and parts:
        wanted = 2 if tag in _PARAGRAPHS else 1
        while parts and not parts[-1].strip(" "):
            parts.pop()
        ended = "".join(parts[-2:])
        present = len(ended) - len(ended.rstrip("\n"))
        parts.append("\n" * max(0, wanted - present))


HTML = Source("a web page", (".html", ".htm", ".xhtml"), read)
