"""In-band structure of a text: where a document begins and who speaks.

Markers are Unicode noncharacters (U+FDD0 to U+FDEF), which no text meant for others may contain;
cleaning removes any that a source holds, so a person's text can never forge a speaker turn.
"""

from __future__ import annotations

import re

DOCUMENT = "\ufdd0"
"""Begins every document; generated, it means the document has ended."""

ROLES = {"system": "\ufdd1", "user": "\ufdd2", "assistant": "\ufdd3"}
"""Begins a turn of a chat: the marker, then the words, up to the next marker."""

MARKERS = (DOCUMENT, *ROLES.values())
NONCHARACTERS = re.compile("[\ufdd0-\ufdef]")
_ROLE_OF = {marker: role for role, marker in ROLES.items()}
_ANY_ROLE = re.compile(f"[{''.join(ROLES.values())}]")


def turn(role: str, words: str) -> str:
    """One speaker turn with its marker. `role` is a key of `ROLES`."""
    return ROLES[role] + words


def turns(text: str) -> list[tuple[str, str]]:
    """The (role, words) turns of a marked text; what stands before the first marker is left out."""
    found = list(_ANY_ROLE.finditer(text))
    ends = [*(match.start() for match in found[1:]), len(text)][: len(found)]
    return [
        (_ROLE_OF[match.group()], text[match.end() : end]) for match, end in zip(found, ends, strict=True)
    ]


def shown(text: str, *, begun: bool = False) -> str:
    """A marked text as a person reads it: each turn on its own line, led by its role.

    `begun` says that this goes on from text already shown, so a turn at its start needs a new line.
    """
    if text.isascii():
        return text
    text = text.replace(DOCUMENT, "")
    lines = _ANY_ROLE.sub(lambda match: f"\n{_ROLE_OF[match.group()]}: ", text)
    return lines if begun or text[:1] not in _ROLE_OF else lines[1:]


def plain(text: str) -> str:
    """A text without its markers: the bytes that a person wrote."""
    return text if text.isascii() else NONCHARACTERS.sub("", text)
