"""Remove what Project Gutenberg puts around a book: header and licence, in their present and older forms."""

from __future__ import annotations

import re
from dataclasses import replace

from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item
from bowerbird.data.normaliser import Normaliser
from bowerbird.data.sources.text import TAIL_CHARACTERS

HEAD_CHARACTERS = 100_000
"""How far into a book its header may reach; the longest small print was about 15,000 characters."""

_START = re.compile(
    r"^[ \t]*\*\*\*[ \t]*START OF (?:THE|THIS) PROJECT GUTENBERG E(?:BOOK|TEXT)[^*]{0,500}\*\*\*[^\n]*$"
    r"|^[ \t]*\*END\*?[ \t]*THE SMALL PRINT![^\n]*$",
    re.MULTILINE | re.IGNORECASE,
)
_END = re.compile(
    r"^[ \t]*\*\*\*[ \t]*END OF (?:THE|THIS) PROJECT GUTENBERG E(?:BOOK|TEXT)"
    r"|^[ \t]*End of (?:the |this )?Project Gutenberg(?:'s|’s)? ",
    re.MULTILINE | re.IGNORECASE,
)


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    return strip if config.gutenberg else None


def strip(item: Item) -> Item:
    """The header can stand only in the first piece of a long book, the licence only in the last."""
    text = item.content
    if item.last and _is_named(text[-TAIL_CHARACTERS:]):
        # First, as some books have their small print at the end, where its last line must not be
        # taken for the end of a header.
        text = without_licence(text)
    if item.piece == 0 and _is_named(text[:HEAD_CHARACTERS]):
        text = without_header(text)
    return item if text is item.content or not text.strip() else replace(item, content=text)


def _is_named(part: str) -> bool:
    """A quick look that spares nearly all texts the searches."""
    return "utenberg" in part or "UTENBERG" in part or "SMALL PRINT!" in part


def without_header(text: str) -> str:
    head = text[:HEAD_CHARACTERS]
    starts = list(_START.finditer(head))
    if not starts:
        return text
    # The small print comes after the START line where a book has both.
    return text[starts[-1].end() :].lstrip("\r\n")


def without_licence(text: str) -> str:
    """Up to the first of the lines that end the book; the licence itself names others."""
    from_here = max(0, len(text) - TAIL_CHARACTERS)
    end = _END.search(text, from_here)
    if end is None:
        return text
    return text[: end.start()].rstrip() + "\n"
