"""Tunes as the metrics of melody look at them: read from text, voice by voice, and where each note is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from bowerbird.data.markers import DOCUMENT
from bowerbird.data.tune import NotATune, Note, Tune, parse

_NOTE = re.compile(r"\d+:\S+")


def tune(text: str) -> Tune | None:
    """The tune a text stands for, if it is one and has a note."""
    try:
        found = parse(text)
    except NotATune:
        return None
    return found if found.notes else None


def tunes(texts: Iterable[str]) -> list[Tune]:
    """Of the texts that are tunes; the others are passed over."""
    return [found for found in map(tune, texts) if found is not None]


def documents(pieces: Iterable[str]) -> Iterator[str]:
    """The documents of a marked text, also those that run on from piece to piece."""
    held = ""
    for piece in pieces:
        *whole, held = (held + piece).split(DOCUMENT)
        yield from (document for document in whole if document)
    if held:
        yield held


def voices(found: Tune) -> list[list[int]]:
    """For each voice that sounds, which notes of the tune are its own, in their order."""
    parts: dict[int, list[int]] = {}
    for number, note in enumerate(found.notes):
        parts.setdefault(note.voice, []).append(number)
    return [parts[voice] for voice in sorted(parts)]


def bars(found: Tune) -> list[list[Note]]:
    """The notes that begin in each bar, their start counted from its bar line."""
    lines = found.bar_lines()
    parts: list[list[Note]] = [[] for _ in found.metres]
    bar = 0
    for note in found.notes:
        while note.start >= lines[bar + 1]:
            bar += 1
        parts[bar].append(note._replace(start=note.start - lines[bar]))
    return parts


def spans(text: str) -> list[tuple[int, int]]:
    """Where each note of a tune stands in its text, in characters."""
    return [(match.start(), match.end()) for match in re.finditer(r"\S+", text) if _NOTE.match(match.group())]


def passed_over(texts: Sequence[str], read: Sequence[Tune]) -> str:
    """Words for a note, if some texts are no tunes."""
    left = len(texts) - len(read)
    return (
        f"; {left:,} of {len(texts):,} generated texts are no tunes with notes and are left out"
        if left
        else ""
    )
