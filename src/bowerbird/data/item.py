"""What sources yield and cleaning passes on: an item of content, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Item:
    """One document, or one piece of a document too long to hold at once.

    A long document comes as consecutive items of the same `origin` with `piece` 0, 1, 2 ...;
    only its final one has `last` set. Pieces are cut at a line end where there is one.
    """

    content: Any
    """A text, or a picture: (H, W, C) uint8."""
    origin: str
    """The path as the user gave it; a member or row follows `#`: `a.zip#b/c.txt`, `poems.csv#12`."""
    licence: str | None = None
    label: str | None = None
    """What marks a text as a chat; of a picture, its class where the source itself names it."""
    piece: int = 0
    last: bool = True


@dataclass(frozen=True, slots=True)
class Rejected:
    """A source item that is not used, and why, in words for the ledger."""

    origin: str
    reason: str
