"""Scores (.musicxml, .xml, .mxl, .krn): the parts are voices, where there are few; else the melody."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import PurePosixPath

from bowerbird.data.item import Item
from bowerbird.data.sources.bars import tune_of
from bowerbird.data.sources.encoding import text_of
from bowerbird.data.sources.music21_score import music_of
from bowerbird.data.sources.parts import whole
from bowerbird.data.sources.source import GatherConfig, Opened, Source, Unusable

MOST_BYTES = 32 << 20


def read(opened: Opened, config: GatherConfig) -> Iterator[Item]:
    content = whole(opened, MOST_BYTES)
    suffix = opened.suffix
    if suffix == ".mxl":
        content = unpacked(content)
    text = text_of(content)
    if "\0" in text:
        raise Unusable("binary data, not a score")
    if suffix == ".krn":
        if "**kern" not in text:
            raise Unusable("not a score in Humdrum: it has no **kern")
    elif "<score-partwise" not in text and "<score-timewise" not in text:
        raise Unusable("not a score in MusicXML")
    reader = "ConverterHumdrum" if suffix == ".krn" else "ConverterMusicXML"
    music = music_of(text, reader, "scores", "a damaged score")
    yield Item(tune_of(music, config.voices, opened.tell).text(), opened.origin)


def unpacked(content: bytes) -> bytes:
    """The first score among the files of a packed one.

    Raises:
        Unusable: there is none, or it is damaged or too large.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            scores = [
                member
                for member in packed.infolist()
                if PurePosixPath(member.filename).suffix.lower() in (".xml", ".musicxml")
                and not member.filename.startswith("META-INF/")
            ]
            if not scores:
                raise Unusable("damaged: there is no score in it")
            if scores[0].file_size > MOST_BYTES:
                raise Unusable(f"it unpacks to more than {MOST_BYTES >> 20} MiB")
            return packed.read(scores[0])
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise Unusable(f"a damaged packed score: {error}") from None


SCORES = Source("a score", (".musicxml", ".xml", ".mxl", ".krn"), read, "melody")
