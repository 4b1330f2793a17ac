"""Squeeze white space, where asked for: one space of several, one empty line of several, no ends of lines."""

from __future__ import annotations

import re
from dataclasses import replace

from bowerbird.data.cleaning.step import CleanConfig, Step
from bowerbird.data.item import Item
from bowerbird.data.normaliser import Normaliser

_SPACES = re.compile(r"[^\S\n]+")
_EMPTY_LINES = re.compile(r"\n{3,}")


def build(config: CleanConfig, normaliser: Normaliser) -> Step | None:
    return squeeze if config.squeeze else None


def squeeze(item: Item) -> Item:
    text = _SPACES.sub(" ", item.content).replace(" \n", "\n").replace("\n ", "\n")
    return replace(item, content=_EMPTY_LINES.sub("\n\n", text))
