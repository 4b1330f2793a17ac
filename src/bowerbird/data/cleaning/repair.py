"""Mend mojibake: text that was decoded with the wrong encoding once, by ftfy, line by line."""

from __future__ import annotations

import re
from dataclasses import replace

from bowerbird.base.errors import MissingExtra
from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item
from bowerbird.data.normaliser import Normaliser

_SUSPECT = re.compile(r"[^\x00-\x7f]{2}|[\x80-\x9f\u0152\u0153\u00c2\u00c3]")
"""What every line has that ftfy finds bad, by its own table, found some ten times faster: two characters
beyond ASCII together, or one of the few (a C1 control, Œ œ Â Ã) that can be bad alone."""


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    return mend if config.repair else None


def mend(item: Item) -> Item:
    text = item.content
    if text.isascii():
        return item
    try:
        from ftfy import fix_encoding
        from ftfy.badness import is_bad
    except ImportError:
        raise MissingExtra(
            "repairing text with letters beyond ASCII", "gather", instead="--set clean.repair=false"
        ) from None

    if not _SUSPECT.search(text):
        return item
    # Line by line: a whole text can be mended only if all of it was spoilt in the same way.
    lines = text.split("\n")
    mended = [fix_encoding(line) if _SUSPECT.search(line) and is_bad(line) else line for line in lines]
    return item if mended == lines else replace(item, content="\n".join(mended))
