"""A tune as ABC notation 2.1 (abcnotation.com/wiki/abc:standard:v2.1), for programs and for people.

Readers differ in one thing: the standard lets an accidental hold for its letter in every octave until the
bar line, many programs only for its own octave. Whenever the two would disagree, the accidental is written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from bowerbird.data.render.spelling import altered, sharps, spelled, tonic
from bowerbird.data.render.tempo import check_tempo
from bowerbird.data.tune import TICKS, Key, Metre, Tune

VERSION = "%abc-2.1"
"""The first line. Without it music21 forgets an accidental before its bar has ended."""
_EIGHTH = TICKS // 2
_BARS_A_LINE = 4
_MODES = {
    "major": "",
    "minor": "m",
    "dorian": "dor",
    "phrygian": "phr",
    "lydian": "lyd",
    "mixolydian": "mix",
    "locrian": "loc",
}
_ACCIDENTALS = {-2: "__", -1: "_", 0: "=", 1: "^", 2: "^^"}
_DOUBLE = ("__", "^^")
"""Written each time: music21 does not let them hold."""
_WRITABLE = [length * 3 for length in (64, 48, 32, 24, 16, 12, 8, 6, 4, 3, 2, 1)]
"""Lengths of one plain or dotted note, from a thirty-second (3 ticks) to two whole notes, longest first."""
_TRIPLETS = (48, 24, 12, 6)
"""Lengths that three equal notes may share, as a quarter note does between a triplet of eighths."""
_TRIPLET_MOST = 6
_LOW = 57
"""Voices whose notes are on average below this, A3, stand in the bass clef."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """A note, part of a note, or a rest, within one bar."""

    pitch: int | None
    start: int
    """Ticks from the bar line."""
    length: int
    tied: bool = False
    """To the next."""
    continues: bool = False
    """A note of the bar before."""


def to_abc(tune: Tune, title: str = "", number: int = 1, tempo: float = 120) -> str:
    """The text, with `number` for its place in a collection. Tempo is in quarter notes a minute.

    Raises:
        UsageError: the tempo is beyond what can be played.
    """
    check_tempo(tempo)
    first = tune.metres[0]
    lines = [
        VERSION,
        f"X:{number}",
        f"T:{' '.join(title.split()).replace('%', chr(92) + '%') or 'Untitled'}",
        f"M:{first.beats}/{first.unit}",
        "L:1/8",
        f"Q:1/4={round(tempo)}",
        key_field(tune.key),
    ]
    for voice in range(1, tune.voices + 1):
        if tune.voices > 1:
            pitches = [note.pitch for note in tune.notes if note.voice == voice]
            low = bool(pitches) and sum(pitches) < _LOW * len(pitches)
            lines.append(f"V:{voice} clef={'bass' if low else 'treble'}")
        bars = list(_bars(tune, voice))
        for begin in range(0, len(bars), _BARS_A_LINE):
            end = begin + _BARS_A_LINE
            lines.append(" | ".join(bars[begin:end]) + (" |" if end < len(bars) else " |]"))
    return "\n".join(lines) + "\n"


def key_field(key: Key) -> str:
    """`K:F#m`."""
    return f"K:{tonic(key)}{_MODES[key.mode]}"


def _bars(tune: Tune, voice: int) -> Iterator[str]:
    notes = [note for note in tune.notes if note.voice == voice]
    lines, at = tune.bar_lines(), 0
    before, accidentals = tune.metres[0], _Accidentals(tune.key)
    for bar, metre in enumerate(tune.metres):
        begin, end = lines[bar], lines[bar + 1]
        pieces: list[_Piece] = []
        now = begin
        while at < len(notes) and notes[at].start < end:
            note = notes[at]
            start, stop = max(note.start, begin), min(note.end, end)
            if start > now:
                pieces.append(_Piece(None, now - begin, start - now))
            pieces.append(_Piece(note.pitch, start - begin, stop - start, note.end > end, note.start < begin))
            now = stop
            if note.end > end:
                break
            at += 1
        if now < end:
            pieces.append(_Piece(None, now - begin, end - now))
        accidentals = _Accidentals(tune.key, accidentals)
        yield (f"[M:{metre.beats}/{metre.unit}] " if metre != before else "") + _bar(
            pieces, metre, accidentals
        )
        before = metre


def _bar(pieces: list[_Piece], metre: Metre, accidentals: _Accidentals) -> str:
    beat = _beat(metre)
    text, at = "", 0
    while at < len(pieces):
        if text and pieces[at].start % beat == 0:
            text += " "
        if count := _triplet(pieces, at):
            text += "(3" if count == 3 else f"(3:2:{count}"
            for piece in pieces[at : at + count]:
                text += _written(piece, [piece.length * 3 // 2], accidentals)
            at += count
        else:
            text += _written(pieces[at], _parts(pieces[at].length, pieces[at].start % beat == 0), accidentals)
            at += 1
    return text


def _beat(metre: Metre) -> int:
    """Ticks of a beat; notes of one are written without a space between, so that beams join them."""
    compound = metre.unit >= 8 and metre.beats % 3 == 0
    return metre.ticks * (3 if compound else 1) // metre.beats


def _triplet(pieces: list[_Piece], at: int) -> int:
    """How many pieces from this one make a triplet; 0 when they make none."""
    total = 0
    for count, piece in enumerate(pieces[at : at + _TRIPLET_MOST], start=1):
        if piece.length % 3 == 0 or piece.length * 3 / 2 not in _WRITABLE:
            return 0
        total += piece.length
        if total in _TRIPLETS:
            return count
    return 0


def _parts(length: int, on_beat: bool) -> list[int]:
    """A length as those of notes to be tied, the longest on the beat.

    What is no multiple of a thirty-second is left in one.
    """
    if length % 3:
        return [length]
    parts = []
    while length:
        parts.append(next(part for part in _WRITABLE if part <= length))
        length -= parts[-1]
    return parts if on_beat else parts[::-1]


def _written(piece: _Piece, lengths: list[int], accidentals: _Accidentals) -> str:
    if piece.pitch is None:
        return "".join("z" + _length(length) for length in lengths)
    name = accidentals.name(piece.pitch, piece.continues)
    # Within the bar an accidental holds for what is tied to it.
    plain = name if name.startswith(_DOUBLE) else name.lstrip("^_=")
    names = [name] + [plain] * (len(lengths) - 1)
    ties = ["-"] * (len(lengths) - 1) + ["-" if piece.tied else ""]
    return "".join(n + _length(length) + tie for n, length, tie in zip(names, lengths, ties, strict=True))


def _length(ticks: int) -> str:
    """As a multiple of an eighth note: `2`, `/2`, `3/2`, and nothing for one."""
    eighths = Fraction(ticks, _EIGHTH)
    above = "" if eighths.numerator == 1 else str(eighths.numerator)
    return above if eighths.denominator == 1 else f"{above}/{eighths.denominator}"


class _Accidentals:
    """Those that hold in a bar, as each way to read them has it."""

    def __init__(self, key: Key, before: _Accidentals | None = None):
        """`before` are those of the bar before."""
        self._naturals = (
            {letter for letter, raised in before._letters.items() if not raised} if before else set()
        )
        self._signature = sharps(key)
        # music21 takes locrian for major; in so rare a mode all that the two read differently is written.
        self._signatures = {self._signature, self._signature + (5 if key.mode == "locrian" else 0)}
        self._letters: dict[str, int] = {}
        self._octaves: dict[tuple[str, int], int] = {}

    def name(self, pitch: int, continues: bool) -> str:
        """Accidental, where one is needed, letter and octave."""
        letter, accidental, octave = spelled(pitch, self._signature)
        readings: set[int] = set()
        for signature in self._signatures:
            readings.update(self._readings(letter, octave, signature))
        text = "" if readings == {accidental} and abs(accidental) < 2 else _ACCIDENTALS[accidental]
        if continues and not accidental and letter in self._naturals:
            text = "="  # music21 takes G natural and G for two notes, and would not join them.
        if text:
            self._letters[letter] = self._octaves[letter, octave] = accidental
        if octave > 4:
            return text + letter.lower() + "'" * (octave - 5)
        return text + letter + "," * (4 - octave)

    def _readings(self, letter: str, octave: int, signature: int) -> tuple[int, int]:
        plain = altered(letter, signature)
        return self._letters.get(letter, plain), self._octaves.get((letter, octave), plain)
