"""Leave out documents with nothing in them, or with less than asked for."""

from __future__ import annotations

from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item, Rejected
from bowerbird.data.markers import plain
from bowerbird.data.normaliser import Normaliser
from bowerbird.data.sources.chat import LABEL


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    def long_enough(item: Item) -> Item | Rejected:
        if item.piece or not item.last:  # a document of several pieces is long
            return item
        # Only a chat still holds markers here.
        words = (plain(item.content) if item.label == LABEL else item.content).strip()
        if not words:
            return Rejected(item.origin, "empty after cleaning")
        if len(words) < config.min_characters:
            return Rejected(item.origin, f"fewer than {config.min_characters} characters after cleaning")
        return item

    return long_enough
