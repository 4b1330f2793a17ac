"""Tune books in ABC notation (.abc): each tune from its X: to an empty line is an item. ABC standard 2.1.

Repeats and endings stay as they are written, unexpanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from bowerbird.data.item import Item, Rejected
from bowerbird.data.render.abc import VERSION
from bowerbird.data.sources.bars import Music, tune_of
from bowerbird.data.sources.encoding import decoded, encoding_of
from bowerbird.data.sources.encoding import lines as lines_of
from bowerbird.data.sources.music21_score import music_of as read_by_music21
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

MOST_CHARACTERS = 100_000
"""Of one tune."""

_FIELD = re.compile(r"([A-Za-z]):\s*(.*?)\s*(?:%.*)?$")
_METRE = re.compile(r"none|C\|?|\(?\d+(\s*\+\s*\d+)*\)?\s*/\s*\d+", re.IGNORECASE)
_LENGTH = re.compile(r"\d+(/\d+)?")
_KEY = re.compile(r"\s*[A-G][#b]?\s*([a-z].*)?$|none|HP|Hp", re.IGNORECASE)
_INLINE = re.compile(r"\[([KLM]:[^\]]*)\]")
# What does not sound in its own time: comments, chord names and fingers, grace notes, decorations, slurs.
_SILENT = re.compile(r'%.*$|"[^"]*"|\{[^}]*\}|![^!|]{1,20}!|\+[a-z]{2,12}\+|\((?!\d)|\)')


def read(opened: Opened, config: GatherConfig) -> Iterator[Item | Rejected]:
    any_tune = False
    with decoded(opened, encoding_of(opened, config)) as stream:
        for tune in tunes(lines_of(stream)):
            any_tune = True
            title = _field(tune, "T")
            origin = f"{opened.origin}#X:{_field(tune, 'X') or '?'}{' ' if title else ''}{title or ''}"
            try:
                told = replace(opened, origin=origin).tell
                content = tune_of(music_of(tune), config.voices, told).text()
            except Unusable as reason:
                yield Rejected(origin, str(reason))
            else:
                yield Item(content, origin)
    if not any_tune:
        raise Unusable("no tune in it: none begins with X:")


def tunes(lines: Iterable[str]) -> Iterator[list[str]]:
    """The lines of each tune. Metre and unit of length that stand before the first hold for all.

    A tune too long comes cut, to be refused.
    """
    shared: list[str] = []
    tune: list[str] | None = None
    size, ended, first = 0, False, True
    for line in lines:
        if line.startswith("X:"):
            if tune is not None:
                yield tune
            tune, size, ended, first = [line, *shared], 0, False, False
        elif tune is None:
            if first and line[:2] in ("M:", "L:"):
                shared.append(line)
        elif not line.strip():
            ended = ended or _field(tune, "K") is not None
        elif not ended and size <= MOST_CHARACTERS:
            size += len(line) + 1
            tune.append(line)
    if tune is not None:
        yield tune


def music_of(lines: list[str]) -> Music:
    """One tune.

    Raises:
        Unusable: with what is wrong in it.
        MissingExtra: music21 is not installed.
    """
    if sum(len(line) + 1 for line in lines) > MOST_CHARACTERS:
        raise Unusable(f"longer than {MOST_CHARACTERS} characters")
    _check_header(lines)
    if _field(lines, "M") is None and _field(lines, "L") is None:
        lines = [lines[0], "L:1/8", *lines[1:]]  # what the standard has where neither is said
    text = "\n".join([VERSION, *_plain(lines), ""])
    return read_by_music21(text, "ConverterABC", "ABC", "its ABC cannot be understood")


def _plain(lines: list[str]) -> Iterator[str]:
    """A tune without what does not sound, its inline fields on lines of their own."""
    body = False
    for line in lines:
        field = _FIELD.match(line)
        pieces = [line] if field else _INLINE.sub(r"\n\1\n", _SILENT.sub("", line)).split("\n")
        for piece in pieces:
            yield piece
            if body and piece.startswith(("K:", "M:")):
                yield piece  # music21 overlooks a change that stands alone, but not one said twice
        body = body or (field is not None and field[1] == "K")


def _check_header(lines: list[str]) -> None:
    key = _field(lines, "K")
    if key is None:
        raise Unusable("a broken header: no key (K:)")
    if not _KEY.match(key):
        raise Unusable(f"a broken header: no key is called `{key[:20]}`")
    metre, length = _field(lines, "M"), _field(lines, "L")
    if metre and not _METRE.fullmatch(metre):
        raise Unusable(f"a broken header: no metre is called `{metre[:20]}`")
    if length and not _LENGTH.fullmatch(length):
        raise Unusable(f"a broken header: no length of notes is called `{length[:20]}`")


def _field(lines: list[str], name: str) -> str | None:
    """What the header first says about a field."""
    found = (_FIELD.match(line) for line in lines)
    return next((field[2][:100] for field in found if field and field[1] == name), None)


ABC = Source("ABC", (".abc",), read, "melody")
