"""The opening of a melody as a user gives it: note names, ABC notation, MIDI, or the text of a `Tune`.

Note names are `C4 D4 E4:2 F#4 Bb3 r`: letter, `#` or `b`, octave (C4 is middle C), and after `:` a length in
quarter notes where it is not one; `r` is a rest. Text that is all note names is read as such, any other
text as ABC, of which `C2 D2 |` may lack the header.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from bowerbird.base.errors import DataError, MissingExtra
from bowerbird.data.keys import signed
from bowerbird.data.render.abc import key_field
from bowerbird.data.sources import abc, midi
from bowerbird.data.sources.bars import Measure, Music, Signature, tune_of
from bowerbird.data.sources.lines import Part, Sound
from bowerbird.data.sources.source import Unusable
from bowerbird.data.tune import NATURALS, TICKS, VOICES, Key, Metre, NotATune, Tune, parse

_WHERE = "the opening"
_HINT = "give note names (`C4 D4 E4:2 r`), ABC (`K:G` and `GABc d2`) or a MIDI file"
MOST_CHARACTERS = 4000
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


def read_opening(opening: str | bytes, *, key: Key | None = None, metre: Metre | None = None) -> Tune:
    """The tune, without empty bars at its ends, its last bar filled with silence.

    A key or metre given here holds whatever the opening says; what neither says is guessed from the notes
    (the key) or is 4/4. A chord keeps its highest note, as a voice sounds one at a time; of more parts than
    a tune has voices only the melody is kept.

    Raises:
        DataError: it is empty, cannot be read, or has notes that no tune may have.
        MissingExtra: the packages that read ABC or MIDI are not installed.
    """
    try:
        return _read(opening, key, metre)
    except Unusable as reason:
        raise _unreadable(f"the opening cannot be used: {reason}") from None
    except MissingExtra:
        raise MissingExtra(
            "reading ABC or MIDI", "music", instead="give note names, as `C4 D4 E4:2 r`"
        ) from None


def _read(opening: str | bytes, key: Key | None, metre: Metre | None) -> Tune:
    if isinstance(opening, bytes):
        if opening.startswith(b"MThd"):
            if len(opening) > _MOST_BYTES:
                raise _too_long()
            return _tune(midi.music_of(opening), key, metre)
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
    if len(opening) > MOST_CHARACTERS:
        raise _too_long()
    text = opening.strip().removeprefix("\ufeff")
    if not text:
        raise DataError("the opening is empty", where=_WHERE, hint=_HINT)
    words = text.replace(",", " ").split() if "\n" not in text or not _ABC_FIELD.search(text) else []
    if words and all(_NAME.fullmatch(word) for word in words):
        return _from_names(words, key, metre or _COMMON)
    return _from_abc(text, key, metre)


def _from_names(words: Sequence[str], key: Key | None, metre: Metre) -> Tune:
    at = Fraction(0)
    sounds: list[Sound] = []
    for number, word in enumerate(words, start=1):
        found = _NAME.fullmatch(word)
        assert found is not None
        where = f"{_WHERE}, note {number}: `{word}`"
        letter, accidentals, octave, length = found.groups()
        try:
            quarters = Fraction(length or 1)
        except ZeroDivisionError:
            quarters = Fraction(0)
        if quarters <= 0:
            raise _unreadable("a note has no length", where=where)
        start, at = at, at + quarters * TICKS
        if letter:
            raised = accidentals.count("#") - accidentals.count("b")
            pitch = 12 * (int(octave) + 1) + NATURALS[letter.upper()] + raised
            if not 0 <= pitch < 128:
                raise DataError(
                    "a note of the opening is too low or too high", where=where, hint="choose from C-1 to G9"
                )
            sounds.append(Sound(round(start), max(round(at), round(start) + 1), pitch))
    end = sounds[-1].end if sounds else 0
    return _tune(Music([Part("", sounds)], [Measure(0, end, metre)]), key, metre)


def _from_abc(text: str, key: Key | None, metre: Metre | None) -> Tune:
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
    lines = [line for line in text.splitlines() if line.strip()]
    if not any(line.startswith("X:") for line in lines):
        lines.insert(0, "X:1")
    tune = next(abc.tunes(lines))
    said = {line[0] for line in tune if _ABC_FIELD.match(line)}
    found = abc.music_of(_headed(tune, said, key or Key(0, "major"), metre or _COMMON))
    fifths, mode = found.signature
    if key is None and "K" in said and fifths is not None:
        key = signed(fifths, mode or "major")
    if metre is None and text.count("M:") < 2 and found.measures:
        # It never changes, so a bar that is too long is one without its bar line.
        metre = found.measures[0].metre
    return _tune(found._replace(signature=Signature()), key, metre)


def _headed(tune: list[str], said: set[str], key: Key, metre: Metre) -> list[str]:
    """A tune of ABC with the fields that it must have; `said` are those it has."""
    if "K" not in said:
        after = max(at for at, line in enumerate(tune) if re.match(r"[A-JL-UX-Z]:", line)) + 1
        tune = [*tune[:after], key_field(key), *tune[after:]]
    if "M" not in said:
        unit = [] if "L" in said else ["L:1/8"]
        tune = [tune[0], f"M:{metre.beats}/{metre.unit}", *unit, *tune[1:]]
    return tune


def _tune(music: Music, key: Key | None, metre: Metre | None) -> Tune:
    parts = [part for part in music.parts if part.sounds]
    if any(sound.end > _MOST_QUARTERS * TICKS for part in parts for sound in part.sounds):
        raise _too_long()
    voices = len(parts) if 1 <= len(parts) <= VOICES else 1
    return tune_of(music, voices, least=1, key=key, metre=metre)


def _unreadable(what: str, where: str = _WHERE) -> DataError:
    return DataError(what, where=where, hint=_HINT)


def _too_long() -> DataError:
    return DataError(
        "the opening is too long",
        where=_WHERE,
        hint=f"give at most {_MOST_QUARTERS} quarter notes, {_MOST_BARS} bars and {MOST_CHARACTERS} characters",
    )
