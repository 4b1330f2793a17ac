"""A tune as a picture: time from left to right, pitch upwards, a colour a voice, long tunes in rows."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

from bowerbird.data.tune import TICKS, Metre, Tune

WIDTH = 1200
"""The most, in pixels; a short tune's picture is narrower."""
_MOST_HEIGHT = 16000
_MARGIN = 24
_NAMES = 44
"""Room for the names of pitches, left of a row."""
_NUMBERS = 20
"""Room for the number of the first bar, above a row."""
_GAP = 18
_QUARTER = 34
"""Pixels wide, when no bar is wider than a row."""
_ROOM = WIDTH - 2 * _MARGIN - _NAMES - 1
"""The most that a row may be wide; a pixel is the last bar line's."""
_LEAST_SEMITONES = 17

_PAPER = "#fbfaf7"
_BLACK_KEYS = "#f1efe9"
_OCTAVE = "#cfcabd"
_BEAT = "#e6e2d8"
_BAR = "#8d877a"
_INK = "#4a463e"
_VOICES = ("#2f6db5", "#d1603d", "#3f8f63", "#8a58a8")


@dataclass(frozen=True, slots=True)
class _Row:
    first: int
    """The bar that it begins with, from 0."""
    bars: int
    begin: int
    """Ticks."""
    end: int


def to_png(tune: Tune) -> bytes:
    """At most `WIDTH` pixels wide; of a tune too long for one picture, its beginning."""
    low, high = _range(tune)
    scale = min(_QUARTER / TICKS, _ROOM / max(metre.ticks for metre in tune.metres))
    rows = _rows(tune, scale)
    semitone = 8 if len(rows) <= 8 else 6 if len(rows) <= 16 else 5
    row_height = (high - low + 1) * semitone
    step = row_height + _NUMBERS + _GAP
    shown = rows[: max(1, (_MOST_HEIGHT - 2 * _MARGIN) // step)]
    height = 2 * _MARGIN + step * len(shown) - _GAP
    width = 2 * _MARGIN + _NAMES + round(scale * max(row.end - row.begin for row in shown)) + 1
    image = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(image)
    for number, row in enumerate(shown):
        top = _MARGIN + _NUMBERS + number * step
        _Drawn(draw, tune, row, low, high, scale, semitone, _MARGIN + _NAMES, top).all()
    stream = io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return stream.getvalue()


def _range(tune: Tune) -> tuple[int, int]:
    """The lowest and highest pitch drawn: those of the tune, one to spare, and not too few."""
    pitches = [note.pitch for note in tune.notes] or [60, 72]
    low, high = min(pitches) - 1, max(pitches) + 1
    short = max(0, _LEAST_SEMITONES - (high - low + 1))
    return low - short // 2, high + (short + 1) // 2


def _rows(tune: Tune, scale: float) -> list[_Row]:
    room = _ROOM / scale
    lines, rows, first = tune.bar_lines(), [], 0
    for bar in range(1, len(tune.metres) + 1):
        if bar == len(tune.metres) or lines[bar + 1] - lines[first] > room + 1e-6:
            rows.append(_Row(first, bar - first, lines[first], lines[bar]))
            first = bar
    return rows


@dataclass(frozen=True, slots=True)
class _Drawn:
    """A row, and where it is drawn."""

    draw: ImageDraw.ImageDraw
    tune: Tune
    row: _Row
    low: int
    high: int
    scale: float
    semitone: int
    left: int
    top: int

    def all(self) -> None:
        self._pitches()
        self._bars()
        self._notes()

    def _x(self, tick: int) -> int:
        return self.left + round((tick - self.row.begin) * self.scale)

    def _y(self, pitch: int) -> int:
        """The upper edge of a pitch's lane."""
        return self.top + (self.high - pitch) * self.semitone

    def _pitches(self) -> None:
        right = self._x(self.row.end)
        for pitch in range(self.low, self.high + 1):
            upper, lower = self._y(pitch), self._y(pitch - 1)
            if pitch % 12 in (1, 3, 6, 8, 10):
                self.draw.rectangle((self.left, upper, right, lower - 1), fill=_BLACK_KEYS)
            if pitch % 12 == 0:
                self.draw.line((self.left, lower, right, lower), fill=_OCTAVE)
                middle = (upper + lower) / 2
                self.draw.text((self.left - 8, middle), f"C{pitch // 12 - 1}", _INK, _font(12), anchor="rm")

    def _bars(self) -> None:
        bottom = self._y(self.low - 1)
        lines = self.tune.bar_lines()
        for bar in range(self.row.first, self.row.first + self.row.bars):
            metre = self.tune.metres[bar]
            beat = metre.ticks // metre.beats
            if beat * self.scale >= 8:
                for tick in range(lines[bar] + beat, lines[bar + 1], beat):
                    self.draw.line((self._x(tick), self.top, self._x(tick), bottom), fill=_BEAT)
        for bar in range(self.row.first, self.row.first + self.row.bars + 1):
            last = bar == len(self.tune.metres)
            x = self._x(lines[bar])
            self.draw.line((x, self.top, x, bottom), fill=_INK if last else _BAR, width=3 if last else 1)
            if not last and bar < self.row.first + self.row.bars:
                self._label(bar, x)

    def _label(self, bar: int, x: int) -> None:
        """The number of a row's first bar, and a metre where it begins."""
        before: Metre | None = self.tune.metres[bar - 1] if bar else None
        metre = self.tune.metres[bar]
        words = [str(bar + 1)] if bar == self.row.first else []
        if metre != before:
            words.append(f"{metre.beats}/{metre.unit}")
        if words:
            self.draw.text((x + 1, self.top - 4), "   ".join(words), _INK, _font(12), anchor="ls")

    def _notes(self) -> None:
        # The first voice last: where voices meet it stays in sight.
        for note in sorted(self.tune.notes, key=lambda note: -note.voice):
            begin, end = max(note.start, self.row.begin), min(note.end, self.row.end)
            if begin < end:
                # A pixel between a note and the next shows where one ends.
                right = max(self._x(begin) + 1, self._x(end) - 2)
                box = (self._x(begin), self._y(note.pitch), right, self._y(note.pitch - 1) - 1)
                self.draw.rounded_rectangle(box, radius=2, fill=_VOICES[note.voice - 1])


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
