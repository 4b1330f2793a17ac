"""Bring a text into the model's normal form: line ends, Unicode form, case. The same is done to prompts."""

from __future__ import annotations

from dataclasses import replace

from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item
from bowerbird.data.normaliser import Normaliser


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    def normalise(item: Item) -> Item:
        content = normaliser(item.content)
        return item if content == item.content else replace(item, content=content)

    return normalise
