"""`demo:tunes` and `demo:chorales`: music that music21 carries, read where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import abc, scores
from bowerbird.data.sources.demo import place
from bowerbird.data.sources.source import GatherConfig, Opened, Reader, Source, Unusable, on_disk
from bowerbird.data.tune import NotATune, parse

LICENCE = "public domain"


def read_tunes(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    """Ryan's Mammoth Collection (Boston, 1883): 1,059 fiddle tunes, written as ABC by Ray Davies."""
    for path in sorted(place("demo:tunes").glob("*.abc")):
        yield from _each(abc.read, path, opened, config)


def read_chorales(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    """Chorales of Johann Sebastian Bach, those for four voices."""
    four = config.model_copy(update={"voices": 4}) if config.voices == "auto" else config
    for path in sorted(place("demo:chorales").glob("*.mxl")):
        for found in _each(scores.read, path, opened, four):
            if config.voices == "auto" and isinstance(found, Item) and _voices(found) != 4:
                yield Rejected(found.origin, "not for four voices")
            else:
                yield found


def _voices(item: Item) -> int:
    try:
        return parse(item.content).voices
    except NotATune:
        return 0


def _each(reader: Reader, path: Path, opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    one = Opened(f"{opened.origin}#{path.name}", path.name, on_disk(path), note=opened.note)
    try:
        for found in reader(one, config):
            if isinstance(found, Item):
                yield replace(found, licence=LICENCE)
            elif isinstance(found, Rejected):
                yield found
    except Unusable as reason:
        yield Rejected(one.origin, str(reason))


TUNES = Source("the demo tunes", (), read_tunes, "melody")
CHORALES = Source("the demo chorales", (), read_chorales, "melody")
