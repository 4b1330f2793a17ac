"""The codec of melodies: a tune's text as key, metre, bars, starts, pitches and lengths on a grid.

    tonic_7 mode_major metre_4/4 bar_16 at_0 pitch_0 length_2 at_2 pitch_2 length_2 bar_0 metre_3/4 at_0 ...

The first bar line, the last, and every one before a number of bars that four divides say how many bars are left,
their own included, so that a tune is shaped towards its end; the others are `bar_0`, for what is repeated should
look the same. In data of several voices a `voice_V` goes before each pitch.

What a codec cannot say is said as nearly as it can: a pitch moves by octaves, a length is cut to the next
shorter, a metre becomes one with bars as long or the whole tune is barred anew in the commonest metre, and notes
of unseen voices are left out.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.errors import CorruptFile
from bowerbird.data.codecs.codec import FIRST_PIECE, CodecConfig, Decoder, Texts, Tokens
from bowerbird.data.markers import MARKERS
from bowerbird.data.tune import MODES, TICKS, VOICES, Metre, NotATune

MARKER, TONIC, MODE, METRE, BAR, AT, VOICE, PITCH, LENGTH = range(9)
"""What a token is about."""
_NAMES = ("marker", "tonic", "mode", "metre", "bar", "at", "voice", "pitch", "length")
_GRIDS = (1, 2, 3, 4, 6, 8, 12, 24)
_ON_GRID = 0.99
"""The share of starts and lengths that a grid must hold."""
_WIDER = {"absolute": 12, "relative": 2}
_OCTAVE = 12
_PHRASE = 4
"""Bars."""
_MOST_BARS = 128
_RARE = 0.01
"""The share of tunes that may have more bars than a bar line can count."""
_MORE_BARS = 8
"""What an opening that is long already is continued by."""
_PARTS = re.compile(f"([{''.join(MARKERS)}])")
_KEY = re.compile(rf"K(\d\d?):({'|'.join(MODES)})")
_METRE = re.compile(r"M(\d\d?)/(\d\d?)")


def reference(tonic: int) -> int:
    """The pitch that relative pitches are counted from: the tonic nearest to middle C."""
    return 60 + tonic if tonic <= 6 else 48 + tonic


@dataclass
class _Bar:
    metre: Metre | None
    """None where it is not known, in a part without a head."""
    lined: bool = True
    """Whether a bar line begins it."""
    notes: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(start, pitch, length, voice), as in the text."""


@dataclass
class _Part:
    """A tune, or a part of one that may lack its head and whose last notes may sound on."""

    key: tuple[int, str] | None
    bars: list[_Bar]
    metre: Metre | None
    """Of the head."""


def _read(text: str) -> _Part:
    """Raises NotATune for a word that has no place in a tune."""
    words = text.split()
    key: tuple[int, str] | None = None
    if words and (found := _KEY.fullmatch(words[0])) is not None and int(found[1]) < _OCTAVE:
        key = (int(found[1]), found[2])
        words = words[1:]
    metre: Metre | None = None
    head: Metre | None = None
    bars: list[_Bar] = []
    for word in words:
        if word == "|":
            bars.append(_Bar(metre))
        elif word[0] == "M":
            metre = _metre(word)
            if bars:
                bars[-1].metre = metre
            else:
                head = metre
        else:
            if not bars:
                bars.append(_Bar(metre, lined=False))
            bars[-1].notes.append(_note(word))
    if key and bars and head is None:
        raise NotATune("its first bar has no metre, as M4/4")
    return _Part(key, bars, head)


def _metre(word: str) -> Metre:
    found = _METRE.fullmatch(word)
    if found is None:
        raise NotATune(f"`{word}` is no metre")
    metre = Metre(int(found[1]), int(found[2]))
    _check_metre(metre)
    return metre


def _check_metre(metre: Metre) -> None:
    if not metre.possible:
        raise NotATune(f"there is no metre {metre.beats}/{metre.unit}")


def _note(word: str) -> tuple[int, int, int, int]:
    numbers = word.split(":")
    if not 3 <= len(numbers) <= 4 or not all(part.isdecimal() and part.isascii() for part in numbers):
        raise NotATune(f"`{word}` is no word of a tune")
    start, pitch, length = map(int, numbers[:3])
    voice = int(numbers[3]) if len(numbers) == 4 else 1
    if pitch > 127 or not 1 <= voice <= VOICES or length < 1:
        raise NotATune(f"no note can be `{word}`")
    return start, pitch, length, voice


class Notes:
    """Learnt from tunes only. `byte_sizes` counts notes, so that what is measured per byte is per note."""

    name: ClassVar[str] = "notes"
    unit: ClassVar[str] = "note"

    def __init__(
        self,
        *,
        pitches: str = "relative",
        grid: int = 4,
        span: tuple[int, int] = (-12, 12),
        metres: Iterable[Metre] = (Metre(4, 4),),
        lengths: Iterable[int] = (),
        voices: Iterable[int] = (1,),
        most_bars: int = 32,
        usual_bars: int = 16,
    ):
        """`grid` is steps to a quarter; `span` the lowest and highest pitch; the first metre is the commonest.

        `lengths` in steps are taken beside all up to the longest bar. `most_bars`, a multiple of four, is the
        highest count a bar line has, and stands for more too; half of all tunes have `usual_bars` or fewer.
        """
        self.pitches, self.grid, self.span = pitches, grid, span
        self.most_bars, self.usual_bars = most_bars, usual_bars
        self.step = TICKS // grid
        """Ticks."""
        self.metres, self.voices = tuple(metres), tuple(sorted(voices))
        self.bar_steps = [metre.ticks // self.step for metre in self.metres]
        self.positions = max(self.bar_steps)
        """Steps of the longest bar."""
        self.lengths = sorted({*lengths, *range(1, self.positions + 1)})
        self.manifold = len(self.voices) > 1
        low, high = span
        values: list[tuple[int, list[int]]] = [
            (MARKER, list(range(FIRST_PIECE))),
            (TONIC, list(range(_OCTAVE))),
            (MODE, list(range(len(MODES)))),
            (METRE, list(range(len(self.metres)))),
            (BAR, list(range(most_bars + 1))),
            (AT, list(range(self.positions))),
            (VOICE, list(self.voices) if self.manifold else []),
            (PITCH, list(range(low, high + 1))),
            (LENGTH, self.lengths),
        ]
        self.kinds = [kind for kind, those in values for _ in those]
        """Of each token: what it is about."""
        self.values = [value for _, those in values for value in those]
        """Of each token: a tonic, the place of a mode or metre, bars, steps, a voice, a pitch."""
        self.token_of = {pair: token for token, pair in enumerate(zip(self.kinds, self.values, strict=True))}
        self.vocab_size = len(self.kinds)
        self.kind_of, self.value_of = np.array(self.kinds), np.array(self.values)
        """(V,) the same."""
        self.byte_sizes = (self.kind_of == PITCH).astype(np.float64)
        self.masks: dict[Any, NDArray[np.bool_]] = {}
        """Of `grammar`, which tokens are possible in which state; filled as they are met."""

    @classmethod
    def learn(cls, texts: Texts, config: CodecConfig) -> Self:
        times: Counter[int] = Counter()
        long: Counter[int] = Counter()
        metres: Counter[Metre] = Counter()
        voices: set[int] = set()
        pitches: set[int] = set()
        bars: list[int] = []
        for text in texts():
            for part in _parts(text):
                bars.append(len(part.bars))
                base = _base(part, config.pitches)
                for bar in part.bars:
                    if bar.metre is not None:
                        metres[bar.metre] += 1
                    for start, pitch, length, voice in bar.notes:
                        times[start] += 1
                        long[length] += 1
                        voices.add(voice)
                        pitches.add(pitch - base)
        common = [metre for metre, _ in sorted(metres.items(), key=lambda found: (-found[1], found[0]))]
        common = common or [Metre(4, 4)]
        lowest, highest = _range(pitches, config.pitches)
        while True:
            grid = _grid(times + long, common)
            step = TICKS // grid
            steps = {max(1, _round(length, step)) for length in long}
            codec = cls(
                pitches=config.pitches,
                grid=grid,
                span=(lowest, highest),
                metres=common,
                lengths=sorted(steps)[: max(0, config.vocab_size // 4)],
                voices=voices or {1},
                most_bars=_most(bars),
                usual_bars=sorted(bars)[len(bars) // 2] if bars else 16,
            )
            if codec.vocab_size <= config.vocab_size or len(common) == 1:
                return codec
            common.remove(max(common, key=lambda metre: (metre.ticks, common.index(metre))))

    @classmethod
    def load(cls, description: Mapping[str, Any], files: Mapping[str, bytes]) -> Self:
        try:
            pitches, grid = description["pitches"], description["grid"]
            low, high = map(_whole, description["span"])
            metres = [Metre(*map(_whole, pair)) for pair in description["metres"]]
            lengths = [_whole(length) for length in description["lengths"]]
            voices = {_whole(voice) for voice in description["voices"]}
            most_bars, usual_bars = _whole(description["most_bars"]), _whole(description["usual_bars"])
            for metre in metres:
                _check_metre(metre)
            whole = (
                pitches in _WIDER
                and grid in _GRIDS
                and -128 <= low < high <= 128
                and metres
                and not any(metre.ticks % (TICKS // grid) for metre in metres)
                and len(set(metres)) == len(metres)
                and all(length > 0 for length in lengths)
                and voices
                and voices <= set(range(1, VOICES + 1))
                and _PHRASE <= most_bars <= _MOST_BARS
                and most_bars % _PHRASE == 0
                and usual_bars >= 0
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptFile(f"the codec `{cls.name}` cannot be read: {error!r}") from error
        if not whole:
            raise CorruptFile(f"the codec `{cls.name}` cannot be read: its settings make none")
        return cls(
            pitches=pitches,
            grid=grid,
            span=(low, high),
            metres=metres,
            lengths=lengths,
            voices=voices,
            most_bars=most_bars,
            usual_bars=usual_bars,
        )

    def encode(self, text: str) -> Tokens:
        """Raises NotATune for words that no tune has."""
        tokens: list[int] = []
        for part in _PARTS.split(text):
            if part in MARKERS:
                tokens.append(MARKERS.index(part))
            elif part:
                tokens += self._encode(_read(part))
        return np.array(tokens, np.int32)

    def encode_opening(self, text: str, bars: int | None = None) -> Tokens:
        """The beginning of a tune of so many bars; without a number, of as many as tunes here usually have.

        Raises:
            NotATune: for words that no tune has.
            ValueError: the opening has more bars.
        """
        part = _read(text)
        here = len(part.bars)
        if bars is None:
            bars = max(self.usual_bars, here + _MORE_BARS)
        if bars < here:
            raise ValueError(f"bars = {bars} is too few: the opening has {here}")
        return np.array(list(self._encode(part, bars - here)), np.int32)

    def decode(self, tokens: Iterable[int]) -> str:
        decoder = self.decoder()
        return "".join([decoder.push(int(token)) for token in tokens]) + decoder.flush()

    def decoder(self) -> Decoder:
        from bowerbird.data.codecs.notes_decoder import NotesDecoder

        return NotesDecoder(self)

    def unseen(self, text: str) -> set[str]:
        return set()

    def describe(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "pitches": self.pitches,
            "grid": self.grid,
            "span": list(self.span),
            "metres": [list(metre) for metre in self.metres],
            "lengths": [length for length in self.lengths if length > self.positions],
            "voices": list(self.voices),
            "most_bars": self.most_bars,
            "usual_bars": self.usual_bars,
        }

    def files(self) -> dict[str, bytes]:
        return {}

    def word(self, token: int) -> str:
        """A token's name, as pitch_60."""
        kind, value = self.kinds[token], self.values[token]
        if kind == METRE:
            return f"metre_{self.metres[value].beats}/{self.metres[value].unit}"
        return f"{_NAMES[kind]}_{MODES[value] if kind == MODE else value}"

    def count(self, left: int, *, first: bool = False) -> int:
        """What a bar line says where so many bars are left, its own included."""
        said = first or left == 1 or left % _PHRASE == 0 or left > self.most_bars
        return min(left, self.most_bars) if said else 0

    def pitch(self, value: int, tonic: int) -> int:
        """MIDI's pitch of a pitch token's value in a key, moved by octaves into MIDI's range."""
        if self.pitches == "absolute":
            return min(max(value, 0), 127)
        return _fold(reference(tonic) + value, 0, 127)

    def transposition(self, semitones: int) -> NDArray[np.int32]:
        """(V,) the token that each becomes in a tune so much higher.

        Relative pitches stay: only the tonic is another. Absolute ones that leave the range move by octaves.
        """
        moved = np.arange(self.vocab_size, dtype=np.int32)
        for token, (kind, value) in enumerate(zip(self.kinds, self.values, strict=True)):
            if kind == TONIC:
                moved[token] = self.token_of[TONIC, (value + semitones) % _OCTAVE]
            elif kind == PITCH and self.pitches == "absolute":
                moved[token] = self.token_of[PITCH, _fold(value + semitones, *self.span)]
        return moved

    def _encode(self, part: _Part, more: int = 0) -> Iterator[int]:
        """`more` bars follow those of the part."""
        token_of = self.token_of
        if part.key is not None:
            yield token_of[TONIC, part.key[0]]
            yield token_of[MODE, MODES.index(part.key[1])]
        bars = self._barred(part)
        places = [place for _, place in bars]
        widths = [self.positions if place is None else self.bar_steps[place] for place in places]
        lines = [0]
        for width in widths:
            lines.append(lines[-1] + width)
        notes = self._placed(part, lines[-1])
        metre = places[0] if places else None
        if part.metre is not None and not places:
            metre = self._nearest(part.metre) or 0
        if part.metre is not None and metre is not None:
            yield token_of[METRE, metre]
        elif metre is not None:
            metre = None  # it was said after the first bar line
        base, at = _base(part, self.pitches), 0
        left, first = len(bars) + more, True
        for (lined, place), (line, end) in zip(bars, pairwise(lines), strict=True):
            if lined:
                yield token_of[BAR, self.count(left, first=first)]
                first = False
            left -= 1
            if place is not None and place != metre:
                yield token_of[METRE, place]
                metre = place
            before = -1
            while at < len(notes) and notes[at][0] < end:
                start, voice, pitch, stop = notes[at]
                at += 1
                if start != before:
                    yield token_of[AT, start - line]
                    before = start
                if self.manifold:
                    yield token_of[VOICE, voice]
                yield token_of[PITCH, _fold(pitch - base, *self.span)]
                yield token_of[LENGTH, self.lengths[bisect_right(self.lengths, stop - start) - 1]]

    def _nearest(self, metre: Metre) -> int | None:
        """The place of a metre, or of the commonest with bars as long."""
        if metre in self.metres:
            return self.metres.index(metre)
        return next((place for place, known in enumerate(self.metres) if known.ticks == metre.ticks), None)

    def _barred(self, part: _Part) -> list[tuple[bool, int | None]]:
        """Of each bar whether a line begins it, and its metre; in new bars if a metre cannot be said."""
        bars: list[tuple[bool, int | None]] = []
        for bar in part.bars:
            place = None if bar.metre is None else self._nearest(bar.metre)
            if bar.metre is not None and place is None:
                break
            bars.append((bar.lined, place))
        else:
            return bars
        ticks = sum(self._ticks(bar) for bar in part.bars)
        count = -(-ticks // self.metres[0].ticks)
        return [(part.bars[0].lined or bool(bar), 0) for bar in range(count)]

    def _ticks(self, bar: _Bar) -> int:
        return self.positions * self.step if bar.metre is None else bar.metre.ticks

    def _placed(self, part: _Part, end: int) -> list[tuple[int, int, int, int]]:
        """(start, voice, pitch, end) in steps, in order. A voice's later note ends its earlier one."""
        line, known = 0, set(self.voices)
        found = []
        for bar in part.bars:
            for start, pitch, length, voice in bar.notes:
                if voice in known:
                    begin = line + start
                    found.append((_round(begin, self.step), voice, pitch, _round(begin + length, self.step)))
            line += self._ticks(bar)
        found.sort(key=lambda note: note[:2])
        last: dict[int, int] = {}
        notes: list[tuple[int, int, int, int]] = []
        for wanted, voice, pitch, stop in found:
            start = wanted
            if voice in last:
                before = notes[last[voice]]
                start = max(start, before[0] + 1)
                notes[last[voice]] = (*before[:3], min(before[3], start))
            if start < end:
                last[voice] = len(notes)
                notes.append((start, voice, pitch, max(stop, start + 1)))
        return sorted(notes)


def _parts(text: str) -> Iterator[_Part]:
    return (_read(part) for part in _PARTS.split(text) if part and part not in MARKERS)


def _base(part: _Part, pitches: str) -> int:
    """What is taken from a pitch; a part without a key is read as in C."""
    return 0 if pitches == "absolute" else reference(part.key[0] if part.key else 0)


def _most(bars: Iterable[int]) -> int:
    longest_first = sorted(bars, reverse=True)
    most = longest_first[int(_RARE * len(longest_first))] if longest_first else 0
    return min(max(-(-most // _PHRASE), 1) * _PHRASE, _MOST_BARS)


def _grid(times: Mapping[int, int], metres: Iterable[Metre]) -> int:
    """The fewest steps to a quarter on which bars and nearly all starts and lengths fall."""
    total = sum(times.values())
    bars = [metre.ticks for metre in metres]
    for grid in _GRIDS[:-1]:
        step = TICKS // grid
        held = sum(count for time, count in times.items() if time % step == 0)
        if held >= _ON_GRID * total and not any(ticks % step for ticks in bars):
            return grid
    return _GRIDS[-1]


def _range(pitches: set[int], counted: str) -> tuple[int, int]:
    """An octave or more, so that octaves bring any pitch into it."""
    bottom, top = (0, 127) if counted == "absolute" else (-reference(6), 127 - reference(7))
    middle = 60 if counted == "absolute" else 0
    wider = _WIDER[counted]
    low = max(bottom, min(pitches, default=middle) - wider)
    high = min(top, max(pitches, default=middle) + wider)
    while high - low < _OCTAVE - 1:
        low, high = max(bottom, low - 1), min(top, high + 1)
    return low, high


def _fold(pitch: int, low: int, high: int) -> int:
    """Moved by octaves to between the two."""
    if pitch < low:
        return min(high, low + (pitch - low) % _OCTAVE)
    if pitch > high:
        return max(low, high - (high - pitch) % _OCTAVE)
    return pitch


def _round(ticks: int, step: int) -> int:
    return (2 * ticks + step) // (2 * step)


def _whole(value: object) -> int:
    if type(value) is not int:
        raise TypeError(f"{value!r} is no whole number")
    return value
