"""Remove characters that are no text: controls but line end and tab, byte order marks, noncharacters."""

from __future__ import annotations

import re
from dataclasses import replace

from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item
from bowerbird.data.markers import ROLES
from bowerbird.data.normaliser import Normaliser
from bowerbird.data.sources.chat import LABEL

# \r is kept here: the normaliser makes \n of it, and removing it would join two lines of an old file.
_ASCII = bytes(set(range(32)) - set(b"\t\n\r")) + b"\x7f"
_PLANES = "".join(f"{chr(plane + 0xFFFE)}-{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
_REST = f"\x7f-\x9f\ufeff\ud800-\udfff{_PLANES}"
_CONTROLS = "\x00-\x08\x0b\x0c\x0e-\x1f"
_ROLES = "".join(ROLES.values())
_OTHER_MARKERS = "".join(chr(code) for code in range(0xFDD0, 0xFDF0) if chr(code) not in _ROLES)

_NOT_TEXT = re.compile(f"[{_CONTROLS}{_REST}\ufdd0-\ufdef]+")
_NOT_TEXT_IN_CHAT = re.compile(f"[{_CONTROLS}{_REST}{_OTHER_MARKERS}]+")


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    return only_text


def only_text(item: Item) -> Item:
    """A chat keeps the markers of its turns: its reader took any others out of the words before."""
    text = item.content
    if text.isascii():
        content = text.encode("ascii").translate(None, _ASCII).decode("ascii")
    else:
        content = (_NOT_TEXT_IN_CHAT if item.label == LABEL else _NOT_TEXT).sub("", text)
    return item if len(content) == len(text) else replace(item, content=content)
