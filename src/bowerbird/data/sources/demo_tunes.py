"""`demo:tunes` and `demo:chorales`: music that music21 carries, read where it lies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import abc, scores
from bowerbird.data.sources.demo import place
from bowerbird.data.sources.source import GatherConfig, Opened, Reader, Source, Unusable, on_disk
from bowerbird.data.tune import VOICES

LICENCE = "public domain"


def read_tunes(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    """Ryan's Mammoth Collection (Boston, 1883): 1,059 fiddle tunes, written as ABC by Ray Davies."""
    for path in sorted(place("demo:tunes").glob("*.abc")):
        yield from _each(abc.read, path, opened, config)


def read_chorales(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    """Chorales of Johann Sebastian Bach, those for four voices."""
    for path in sorted(place("demo:chorales").glob("*.mxl")):
        if scores.unpacked(path.read_bytes()).count(b"<score-part ") == VOICES:
            yield from _each(scores.read, path, opened, config)
        else:
            yield Rejected(f"{opened.origin}#{path.name}", "not for four voices")


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
