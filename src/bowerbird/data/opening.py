"""The opening of a melody as a user gives it: note names, ABC notation, MIDI, or the text of a `Tune`.

Note names are `C4 D4 E4:2 F#4 Bb3 r`: letter, `#` or `b`, octave (C4 is middle C), and after `:` a length in
quarter notes where it is not one; `r` is a rest. Text that is all note names is read as such, any other
text as ABC, of which `C2 D2 |` may lack the header.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from bowerbird.base.errors import BowerbirdError, DataError, MissingExtra
from bowerbird.data.keys import key_of, signed
from bowerbird.data.render.abc import VERSION, key_field
from bowerbird.data.tune import NATURALS, TICKS, VOICES, Key, Metre, NotATune, Note, Tune, parse

_WHERE = "the opening"
_HINT = "give note names (`C4 D4 E4:2 r`), ABC (`K:G` and `GABc d2`) or a MIDI file"
_MOST_CHARACTERS = 4000
_MOST_BARS = 200
"""Of ABC: the time that music21 takes grows with their square."""
_MOST_BYTES = 1 << 20
_MOST_QUARTERS = 4096
_NAME = re.compile(r"(?:([A-Ga-g])([#b]{0,2})(-?\d{1,2})|[rR])(?::(\d{1,4}(?:\.\d{1,6}|/\d{1,4})?))?")
_ABC_FIELD = re.compile(r"^([A-Za-z]):", re.MULTILINE)
_NO_MUSIC = re.compile(r'^[A-Za-z+]:.*$|%.*$|\[[A-Za-z]:[^\]]*\]|"[^"]*"|![^!\s]*!|\+[^+\s]*\+', re.MULTILINE)
"""In ABC: fields, remarks, chord names and other words between signs."""
_MUSIC = re.compile(r"[A-Ga-gzxyZXuvHJLMOPRST\d\s,'/^_=|:;\[\](){}<>~.\-\\&*$`]*")
_COMMON = Metre(4, 4)
_OWN = re.compile(r"K\d+:[a-z]+ M\d")
"""How the text of a `Tune` begins."""

Sounded = tuple[int, int, int]
"""Start, end and pitch, the first two in ticks."""


def read_opening(opening: str | bytes, *, key: Key | None = None, metre: Metre | None = None) -> Tune:
    """The tune, its last bar filled with silence.

    A key or metre given here holds whatever the opening says; what neither says is guessed from the notes
    (the key) or is 4/4. A chord keeps its highest note, as a voice sounds one at a time.

    Raises:
        DataError: it is empty, cannot be read, or has notes that no tune may have.
        MissingExtra: the packages that read ABC or MIDI are not installed.
    """
    if isinstance(opening, bytes):
        if opening.startswith(b"MThd"):
            return _from_midi(opening, key, metre)
        try:
            opening = opening.decode()
        except UnicodeDecodeError:
            raise _unreadable("the opening is neither text in UTF-8 nor MIDI") from None
    if _OWN.match(opening):
        try:
            tune = parse(opening)
        except NotATune as error:
            raise _unreadable(f"the opening is no tune: {error}") from None
        return tune if key is None else replace(tune, key=key)
    if len(opening) > _MOST_CHARACTERS:
        raise _too_long()
    text = opening.strip().removeprefix("\ufeff")
    if not text:
        raise DataError("the opening is empty", where=_WHERE, hint=_HINT)
    words = text.replace(",", " ").split() if "\n" not in text or not _ABC_FIELD.search(text) else []
    if words and all(_NAME.fullmatch(word) for word in words):
        return _from_names(words, key, metre)
    return _from_abc(text, key, metre)


def _from_names(words: Sequence[str], key: Key | None, metre: Metre | None) -> Tune:
    at = Fraction(0)
    voice: list[Sounded] = []
    for number, word in enumerate(words, start=1):
        found = _NAME.fullmatch(word)
        assert found is not None
        letter, accidentals, octave, length = found.groups()
        try:
            quarters = Fraction(length or 1)
        except ZeroDivisionError:
            quarters = Fraction(0)
        if quarters <= 0:
            raise _unreadable("a note has no length", where=f"{_WHERE}, note {number}: `{word}`")
        end = at + quarters * TICKS
        if letter:
            raised = accidentals.count("#") - accidentals.count("b")
            pitch = 12 * (int(octave) + 1) + NATURALS[letter.upper()] + raised
            voice.append((round(at), round(end), _in_range(pitch, f"note {number}: `{word}`")))
        at = end
    return _tune([voice], key, [(0, metre or _COMMON)])


def _from_abc(text: str, key: Key | None, metre: Metre | None) -> Tune:
    try:
        from music21 import converter
    except ImportError:
        raise MissingExtra("reading ABC", "music", instead="give note names, as `C4 D4 E4:2 r`") from None
    if re.search(r"\d{4}", text):
        raise _unreadable("the opening has a number that no tune has")
    music = _NO_MUSIC.sub("", text)
    unit = re.search(r"L:\s*(\d+)/([1-9]\d*)", text)
    eighths = 8 * int(unit[1]) / int(unit[2]) if unit else 1
    if text.count("|") > _MOST_BARS or eighths * sum(map(int, re.findall(r"\d+", music))) > 16 * _MOST_BARS:
        raise _too_long()
    # music21 would find notes in any words.
    if strange := re.sub(_MUSIC, "", music):
        raise _unreadable(f"the opening is not ABC: it has `{strange[:20]}`")
    try:
        # Not `parse`, which would open a text that is a path or an address.
        score: Any = converter.parseData(f"{VERSION}\n{_headed(text, key, metre)}", format="abc")
        if "Opus" in score.classes:
            score = score.scores.first()
        parts = [part for part in score.parts if part.recurse().notes]
        voices = [_voice_of(part) for part in parts[:VOICES]]
        stated = score.recurse().getElementsByClass("KeySignature").first()
        measured = score.recurse().getElementsByClass("TimeSignature").first()
        if measured is not None and metre is None:
            metre = Metre(int(measured.numerator), int(measured.denominator))
        if key is None and stated is not None and "K" in _ABC_FIELD.findall(text):
            key = signed(stated.sharps, getattr(stated, "mode", None) or "major")
        pick_up = _pick_up(parts[0], metre or _COMMON) if parts else 0
    except BowerbirdError:
        raise
    except Exception as error:  # music21 fails in as many ways as there are mistakes in ABC.
        raise _unreadable(
            f"the opening is not ABC that can be read: {error or type(error).__name__}"
        ) from error
    voices = [[(start + pick_up, end + pick_up, pitch) for start, end, pitch in voice] for voice in voices]
    return _tune(voices, key, [(0, metre or _COMMON)])


def _headed(text: str, key: Key | None, metre: Metre | None) -> str:
    """With the fields that ABC must have: music21 needs all four."""
    fields = set(_ABC_FIELD.findall(text))
    head = "" if "X" in fields else "X:1\n"
    if not fields:
        metre = metre or _COMMON
        return f"{head}M:{metre.beats}/{metre.unit}\nL:1/8\n{key_field(key or Key(0, 'major'))}\n{text}\n"
    if "M" not in fields:
        head += "M:{}/{}\n".format(*(metre or _COMMON))
    if "L" not in fields:
        head += "L:1/8\n"
    if "K" not in fields:
        lines = text.splitlines()
        after = max((i for i, line in enumerate(lines) if re.match(r"[A-JL-UX-Z]:", line)), default=-1) + 1
        text = "\n".join([*lines[:after], key_field(key or Key(0, "major")), *lines[after:]])
    if "X" in fields:
        first, rest = re.split(r"(?<=\n)", text[text.index("X:") :] + "\n", maxsplit=1)
        return first + head + rest
    return f"{head}{text}\n"


def _voice_of(part: Any) -> list[Sounded]:
    """The notes of a music21 part; those tied are one. Grace notes have no length and are left out."""
    part = part.stripTies()
    voice = []
    for note in part.recurse().notes:
        quarters = Fraction(note.quarterLength)
        pitches = [round(pitch.ps) for pitch in getattr(note, "pitches", ())]
        if not quarters or not pitches or "ChordSymbol" in note.classes:
            continue
        start = Fraction(note.getOffsetInHierarchy(part)) * TICKS
        pitch = _in_range(max(pitches), f"`{note.pitches[-1].nameWithOctave}`")
        voice.append((round(start), round(start + quarters * TICKS), pitch))
    return voice


def _pick_up(part: Any, metre: Metre) -> int:
    """Ticks of silence before a first bar that is not whole, if others follow."""
    measures = list(part.getElementsByClass("Measure"))
    if len(measures) < 2:
        return 0
    missing = metre.ticks - round(Fraction(measures[0].duration.quarterLength) * TICKS)
    return missing if 0 < missing < metre.ticks else 0


def _from_midi(data: bytes, key: Key | None, metre: Metre | None) -> Tune:
    try:
        from symusic import Score
    except ImportError:
        raise MissingExtra("reading MIDI", "music", instead="give note names, as `C4 D4 E4:2 r`") from None
    if len(data) > _MOST_BYTES:
        raise _too_long()
    try:
        score: Any = Score.from_midi(data)
        score = score.resample(TICKS, min_dur=1)
    except Exception as error:  # It is C++, and raises what its parts raise.
        raise _unreadable(f"the opening is not MIDI that can be read: {error}") from error
    tracks = [track for track in score.tracks if not track.is_drum and len(track.notes)]
    voices = [[(n.time, n.time + n.duration, n.pitch) for n in track.notes] for track in tracks[:VOICES]]
    if key is None and len(score.key_signatures):
        signature = score.key_signatures[0]
        # The signature names a major or a minor key: of other modes MIDI cannot say more.
        key = signed(signature.key, "minor" if signature.tonality else "major")
    metres = [(each.time, Metre(each.numerator, each.denominator)) for each in score.time_signatures]
    if metre is not None or not metres or metres[0][0] > 0:
        metres = [(0, metre or _COMMON), *([] if metre else metres)]
    return _tune(voices, key, metres)


def _tune(voices: Sequence[Iterable[Sounded]], key: Key | None, metres: list[tuple[int, Metre]]) -> Tune:
    """Metres hold from the first bar line at or after the tick they stand at."""
    notes = [note for number, voice in enumerate(voices, start=1) for note in _one_at_a_time(voice, number)]
    if not notes:
        raise DataError("the opening has no notes", where=_WHERE, hint=_HINT)
    end = max(note.end for note in notes)
    if end > _MOST_QUARTERS * TICKS:
        raise _too_long()
    bars: list[Metre] = []
    line = 0
    while line < end:
        metre = [metre for tick, metre in metres if tick <= line][-1]
        if not metre.beats or metre.ticks <= 0:
            raise _unreadable(f"there is no metre {metre.beats}/{metre.unit}")
        bars.append(metre)
        line += metre.ticks
    notes.sort(key=lambda note: (note.start, note.voice))
    try:
        return Tune(key or key_of(notes), tuple(bars), tuple(notes))
    except NotATune as error:
        raise _unreadable(f"the opening is no tune: {error}") from error


def _one_at_a_time(voice: Iterable[Sounded], number: int) -> Iterable[Note]:
    """Of notes that begin together the highest; each ends where the next begins."""
    highest: dict[int, Sounded] = {}
    for start, end, pitch in sorted(voice):
        if start not in highest or pitch > highest[start][2]:
            highest[start] = (start, end, pitch)
    starts = [*highest, math.inf]
    for (start, end, pitch), following in zip(highest.values(), starts[1:], strict=True):
        yield Note(start, int(max(1, min(end, following) - start)), pitch, number)


def _in_range(pitch: int, where: str) -> int:
    if 0 <= pitch < 128:
        return pitch
    raise DataError(
        "a note of the opening is too low or too high",
        where=f"{_WHERE}, {where}",
        hint="choose from C-1 to G9",
    )


def _unreadable(what: str, where: str = _WHERE) -> DataError:
    return DataError(what, where=where, hint=_HINT)


def _too_long() -> DataError:
    return DataError(
        "the opening is too long",
        where=_WHERE,
        hint=f"give at most {_MOST_QUARTERS} quarter notes, {_MOST_BARS} bars and {_MOST_CHARACTERS} characters",
    )
