"""Chats: a row with `messages` (role, content) or `conversations` (from, value) becomes marked turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bowerbird.data import markers
from bowerbird.data.item import Item
from bowerbird.data.sources.source import Unusable

LABEL = "chat"
"""The label of items whose turn markers a reader has put in; cleaning takes markers out of all others."""

_ROLES = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "bot": "assistant",
}
# list of turns, role of a turn, words of a turn
_SHAPES = (("messages", "role", "content"), ("conversations", "from", "value"))


def is_chat(row: Any) -> bool:
    """Whether a JSON row holds a chat rather than a text."""
    return isinstance(row, Mapping) and any(isinstance(row.get(key), list) for key, _, _ in _SHAPES)


def turns_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The (role, words) turns of a chat row; turns without words are left out.

    Raises:
        Unusable: a role is unknown, or a turn is not in the form expected.
    """
    key, role_key, words_key = next(shape for shape in _SHAPES if isinstance(row.get(shape[0]), list))
    found = []
    for number, message in enumerate(row[key], 1):
        if not isinstance(message, Mapping) or not isinstance(message.get(role_key), str):
            raise Unusable(f"turn {number} of the chat has no `{role_key}`")
        role = _ROLES.get(message[role_key].strip().lower())
        if role is None:
            raise Unusable(f"turn {number} of the chat has the unknown role `{message[role_key][:40]}`")
        words = _words(message.get(words_key), number)
        if words.strip():
            found.append((role, words))
    return found


def _words(content: Any, number: int) -> str:
    if content is None:
        return ""
    if isinstance(content, list):  # the form with parts, of which only text is words
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, Mapping))
    if not isinstance(content, str):
        raise Unusable(f"turn {number} of the chat holds no text")
    return content


def chat_item(turns: list[tuple[str, str]], origin: str, licence: str | None = None) -> Item:
    """Turns as an item. Markers inside the words are removed, so that words cannot forge a turn.

    Raises:
        Unusable: there are no words at all.
    """
    content = "".join(markers.turn(role, markers.plain(words)) for role, words in turns)
    if not content:
        raise Unusable("a chat without words")
    return Item(content, origin, licence=licence, label=LABEL)
