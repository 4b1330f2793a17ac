"""From sounds and the bars of a score to a tune: pick-ups, short bars, metres, voices, key."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from bowerbird.data.keys import key_of
from bowerbird.data.sources.lines import Part, Sound, lines
from bowerbird.data.sources.source import Unusable, keep_silent
from bowerbird.data.tune import MOST_BEATS, TICKS, UNITS, Key, Metre, NotATune, Note, Tune

LEAST_NOTES = 4


class Measure(NamedTuple):
    """A bar as a score has it."""

    start: int
    length: int
    metre: Metre
    opens: bool = False
    """It stands behind the sign that begins a repeat: if it is short, it is a pick-up."""


class Signature(NamedTuple):
    fifths: int | None = None
    mode: str | None = None


class Music(NamedTuple):
    """What a file or an opening holds, before a tune is made of it."""

    parts: Sequence[Part]
    measures: Sequence[Measure]
    signature: Signature = Signature()


def tune_of(
    music: Music,
    voices: Literal["auto"] | int = "auto",
    note: Callable[[str], None] = keep_silent,
    *,
    least: int = LEAST_NOTES,
    key: Key | None = None,
    metre: Metre | None = None,
) -> Tune:
    """A tune of the melody or the voices in this music, without empty bars at its ends.

    A key or metre given here holds whatever the music says. Fewer notes than `least` are refused.

    Raises:
        Unusable: with why there is none.
    """
    metres, placed = grid(music.measures if metre is None else _held(music.measures, metre))
    moved = [
        Part(part.name, [_moved(sound, placed) for sound in part.sounds if sound.end > sound.start])
        for part in music.parts
    ]
    notes = sorted(
        (
            Note(sound.start, sound.end - sound.start, sound.pitch, voice)
            for voice, line in enumerate(lines(moved, voices, note), 1)
            for sound in line
        ),
        key=lambda note: (note.start, note.voice),
    )
    if len(notes) < least:
        raise Unusable(f"fewer than {least} notes")
    if not all(0 <= note.pitch < 128 for note in notes):
        raise Unusable("a note is too low or too high")
    metres, notes = _without_empty_ends(metres, notes)
    try:
        return Tune(key or key_of(notes, *music.signature), tuple(metres), tuple(notes))
    except NotATune as reason:
        raise Unusable(str(reason)) from None


def _held(measures: Sequence[Measure], metre: Metre) -> Sequence[Measure]:
    """The bars that a metre makes of those of a score, whatever theirs is. A pick-up stays one."""
    full = metre.ticks
    if all(measure.metre == metre and measure.length <= full for measure in measures):
        return measures
    first, last = measures[0], measures[-1]
    pick_up = first.length % full if len(measures) > 1 and first.length < first.metre.ticks else 0
    line = first.start + pick_up
    return [
        Measure(first.start, pick_up, metre),
        *(Measure(start, full, metre) for start in range(line, last.start + last.length, full)),
    ]


def _moved(sound: Sound, placed: Callable[[int], int]) -> Sound:
    start = placed(sound.start)
    # The end by the last moment within, so that a note to a bar line stays in its bar.
    return sound._replace(start=start, end=max(placed(sound.end - 1) + 1, start + 1))


def grid(measures: Sequence[Measure]) -> tuple[list[Metre], Callable[[int], int]]:
    """The metre of each bar, and where in them a time of the score falls.

    Short bars that fill one together (around a double bar or a repeat sign) become one. One that begins
    a piece of several or a repeat is silent before its notes, any other short one after them. A bar that
    is too long has a metre of its own. An eighth of a bar or less is taken for a mistake.

    Raises:
        Unusable: no metre fits a bar.
    """
    measures = [measure for measure in measures if measure.length > 0]
    if len(measures) > 1 and measures[0].length < measures[1].metre.ticks > measures[0].metre.ticks:
        measures[0] = measures[0]._replace(metre=measures[1].metre)  # a pick-up written as a metre
    metres: list[Metre] = []
    olds, news = [0], [0]
    at, line = 0, 0
    while at < len(measures):
        measure = measures[at]
        if (
            metres
            and 8 * measure.length <= metres[-1].ticks
            and _together(measures, at) == 1
            and not measure.opens
        ):
            # What a mistake in a bar left over: its notes fall on the bar line.
            olds.append(measure.start)
            news.append(line)
            at += 1
            continue
        full = measure.metre.ticks
        together = _together(measures, at)
        bars = [measure.metre]
        ahead = 0
        if measure.length > full:
            bars = _long(measure)
        elif together == 1 and (measure.opens or (at == 0 and len(measures) > 1)):
            ahead = full - measure.length
        for one in measures[at : at + together]:
            olds.append(one.start)
            news.append(line + ahead + one.start - measure.start)
        metres += bars
        line += sum(metre.ticks for metre in bars)
        at += together

    def placed(time: int) -> int:
        here = bisect_right(olds, time) - 1
        return news[here] + time - olds[here]

    return metres, placed


def _together(measures: Sequence[Measure], at: int) -> int:
    """How many measures from here make one bar."""
    full, total = measures[at].metre.ticks, 0
    for count, measure in enumerate(measures[at : at + 4], 1):
        total += measure.length
        if measure.metre != measures[at].metre or total > full:
            break
        if total == full:
            return count
    return 1


def _long(measure: Measure) -> list[Metre]:
    length, full = measure.length, measure.metre.ticks
    if length % full == 0:
        return [measure.metre] * (length // full)
    for unit in sorted(UNITS, key=lambda unit: (unit != measure.metre.unit, unit)):
        tick = 4 * TICKS // unit
        if length % tick == 0 and length // tick <= MOST_BEATS:
            return [Metre(length // tick, unit)]
    # Rounded up to whole bars where nothing fits, as bars without a written metre do.
    return [measure.metre] * -(-length // full)


def _without_empty_ends(metres: list[Metre], notes: list[Note]) -> tuple[list[Metre], list[Note]]:
    line_at = [0]
    for metre in metres:
        line_at.append(line_at[-1] + metre.ticks)
    last = max(note.end for note in notes)
    while metres and line_at[-1] < last:  # notes that ring beyond the last bar
        metres = [*metres, metres[-1]]
        line_at.append(line_at[-1] + metres[-1].ticks)
    first = bisect_right(line_at, notes[0].start) - 1
    beyond = next(bar for bar, line in enumerate(line_at) if line >= last)
    return metres[first:beyond], [note._replace(start=note.start - line_at[first]) for note in notes]
