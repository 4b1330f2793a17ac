"""Novelty of melodies: how much of the generated tunes stands in no training tune, under any transposition.

Notes are compared by their lengths and by the steps between them, voice by voice; rests and bar lines are
looked past. Every voice becomes a string, a length and a step in turn, and equal runs are equal slices of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from bowerbird.data.tune import Tune
from bowerbird.evaluation.bootstrap import interval
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.melodies import documents, passed_over, spans, tune, voices
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Passage, Score
from bowerbird.evaluation.shares import wilson

RUN = 16
"""Notes in a row that count as copied."""
_CONTEXT = 120
_KEPT_PASSAGES = 5
_MIDDLE = 0x200
_LENGTHS = 0x400
_LONGEST = 0xF0000
"""Ticks above which lengths count as equal; a character stands for each."""


@dataclass(frozen=True)
class Voice:
    """One voice of a tune as a string, and which notes of the tune it has."""

    tune: int
    notes: Sequence[int]
    shape: str


@dataclass(frozen=True)
class Copied:
    """`length` notes from the note `start` of a voice on, as they stand from the note `there` of another."""

    ours: Voice
    start: int
    length: int
    theirs: Voice
    there: int
    source: str
    """The training tune, as text."""


class Search:
    """What of some tunes stands in training tunes, as far as these have been read."""

    def __init__(self, found: Sequence[Tune]):
        self.tunes = found
        self.voices = [voice for number, one in enumerate(found) for voice in shapes(number, one)]
        self._runs = _places(self.voices, RUN)
        self._known: set[str] = set()
        self._longer = _places(self.voices, 1)
        self.longest: Copied | None = None
        self.shown: dict[int, Copied] = {}
        """A copy in some of the tunes that have one of `RUN` notes or more: where each run was first met."""

    def read(self, voice: Voice, source: str) -> None:
        """One voice of a training tune."""
        self._grow(voice, source)
        for at in range(len(voice.notes) - RUN + 1):
            run = _slice(voice, at, RUN)
            if run in self._runs and run not in self._known:
                self._known.add(run)
                copy = self._copy(self._runs[run][0], RUN, voice, at, source)
                held = self.shown.get(copy.ours.tune)
                if held is None or copy.length > held.length:
                    self.shown[copy.ours.tune] = copy

    def _grow(self, voice: Voice, source: str) -> None:
        """Look for runs longer than the longest so far, of which all tunes' runs one note longer are known."""
        at, size = 0, self.longest.length + 1 if self.longest else 1
        while at + size <= len(voice.notes):
            places = self._longer.get(_slice(voice, at, size))
            if places:
                self.longest = self._copy(places[0], size, voice, at, source)
                size = self.longest.length + 1
                self._longer = _places(self.voices, size)
            else:
                at += 1

    def _copy(self, place: tuple[int, int], size: int, voice: Voice, at: int, source: str) -> Copied:
        """The run of `size` notes or more at a place of ours and at a note of theirs."""
        ours, start = self.voices[place[0]], place[1]
        more = _same(ours.shape[2 * (start + size) - 1 :], voice.shape[2 * (at + size) - 1 :])
        return Copied(ours, start, size + more, voice, at, source)

    def copied(self) -> list[tuple[int, int]]:
        """For each tune, how many of its notes stand in a copied run, and how many it has."""
        flags = [bytearray(len(one.notes)) for one in self.tunes]
        for run in self._known:
            for number, start in self._runs[run]:
                voice = self.voices[number]
                for note in voice.notes[start : start + RUN]:
                    flags[voice.tune][note] = 1
        return [(sum(marks), len(marks)) for marks in flags]


def shapes(number: int, found: Tune) -> list[Voice]:
    """The voices of a tune: length, step to the next note, its length, and so on."""
    made = []
    for own in voices(found):
        parts: list[str] = []
        before: int | None = None
        for note in (found.notes[at] for at in own):
            if before is not None:
                parts.append(chr(_MIDDLE + note.pitch - before))
            parts.append(chr(_LENGTHS + min(note.length, _LONGEST)))
            before = note.pitch
        made.append(Voice(number, own, "".join(parts)))
    return made


def _slice(voice: Voice, start: int, notes: int) -> str:
    return voice.shape[2 * start : 2 * (start + notes) - 1]


def _places(read: Sequence[Voice], notes: int) -> dict[str, list[tuple[int, int]]]:
    """Every run of so many notes, and where it stands: which voice, from which note on."""
    places: dict[str, list[tuple[int, int]]] = {}
    for number, voice in enumerate(read):
        for start in range(len(voice.notes) - notes + 1):
            places.setdefault(_slice(voice, start, notes), []).append((number, start))
    return places


def _same(one: str, other: str) -> int:
    """How many more notes, a step and a length each, two strings begin with alike."""
    most = min(len(one), len(other))
    at = 0
    while at + 1 < most and one[at : at + 2] == other[at : at + 2]:
        at += 2
    return at // 2


def melody_novelty(evidence: Evidence) -> list[Score]:
    """`novelty`, the share of notes in no copied run; `longest_copy`, in notes; `copied_tunes`, the share with one.

    Over the whole training text. As many held-out tunes are searched too, for people repeat each other.
    """
    texts = {text: found for text in evidence.samples if (found := tune(text)) is not None}
    numbers = [number for number, text in enumerate(evidence.samples) if text in texts]
    made = Search([texts[evidence.samples[number]] for number in numbers])
    total = sum(len(found.notes) for found in made.tunes)
    if not total:
        note = "there were no generated notes to search for"
        return [
            Score("novelty", None, "share", "higher", 0, note=note),
            Score("longest_copy", None, "notes", "lower", 0, note=note),
            Score("copied_tunes", None, "share", "lower", 0, note=note),
        ]
    kept = [found for found in map(tune, evidence.held_out) if found is not None][: len(numbers)]
    real = Search(kept)
    _read_all((made, real), documents(evidence.training()))
    left_out = passed_over(evidence.samples, made.tunes)
    return [
        _share(evidence, made, real, left_out),
        _longest(evidence, made, real, numbers),
        _tunes(evidence, made, real),
    ]


def _read_all(searches: Sequence[Search], training: Iterable[str]) -> None:
    for number, text in enumerate(training):
        found = tune(text)
        if found is None:
            continue
        for voice in shapes(number, found):
            for search in searches:
                search.read(voice, text)


def _share(evidence: Evidence, made: Search, real: Search, left_out: str) -> Score:
    value, total, counts = _outside(made)
    reference, size, _ = _outside(real)
    note = (
        f"share of {total:,} generated notes in no run of {RUN} notes or more that stands in one training tune,"
        " steps and lengths alike, in whatever key"
    )
    if reference is not None:
        note += f"; of {size:,} notes of the {evidence.split} split: {reference:.3f}"
    ends = interval([notes - part for part, notes in counts], [notes for _, notes in counts], evidence.seed)
    return Score("novelty", value, "share", "higher", total, ends, note + left_out, reference)


def _outside(search: Search) -> tuple[float | None, int, list[tuple[int, int]]]:
    counts = search.copied()
    total = sum(notes for _, notes in counts)
    return (1 - sum(part for part, _ in counts) / total if total else None), total, counts


def _longest(evidence: Evidence, made: Search, real: Search, numbers: Sequence[int]) -> Score:
    total = sum(len(found.notes) for found in made.tunes)
    best = made.longest
    note = (
        f"most notes in a row, of {total:,} in {len(made.tunes):,} generated tunes, that stand in one training"
        " tune, in whatever key"
    )
    reference = None
    if real.tunes:
        reference = float(real.longest.length if real.longest else 0)
        note += f"; in {len(real.tunes):,} tunes of the {evidence.split} split: {reference:,.0f}"
    copies = [best] if best else []
    others = (copy for copy in made.shown.values() if best is None or copy.ours.tune != best.ours.tune)
    copies += sorted(others, key=lambda copy: -copy.length)[: _KEPT_PASSAGES - 1]
    passages = tuple(_passage(copy, numbers, evidence.samples) for copy in copies)
    return Score(
        "longest_copy",
        float(best.length if best else 0),
        "notes",
        "lower",
        total,
        note=note,
        reference=reference,
        passages=passages,
    )


def _tunes(evidence: Evidence, made: Search, real: Search) -> Score:
    total, copied = len(made.tunes), _with_copies(made)
    note = f"{copied:,} of {total:,} generated tunes have {RUN} notes or more in a row from one training tune"
    reference = None
    if real.tunes:
        held_out = _with_copies(real)
        reference = held_out / len(real.tunes)
        note += f"; of {len(real.tunes):,} tunes of the {evidence.split} split, {held_out:,}"
    note += "; interval: Wilson's"
    return Score(
        "copied_tunes", copied / total, "share", "lower", total, wilson(copied, total), note, reference
    )


def _with_copies(search: Search) -> int:
    return sum(part > 0 for part, _ in search.copied())


def _passage(copy: Copied, numbers: Sequence[int], samples: Sequence[str]) -> Passage:
    """The copy from its first note to its last as both texts write it, other voices and bar lines between."""
    number = numbers[copy.ours.tune]
    begin, end = _stretch(samples[number], copy.ours, copy.start, copy.length)
    first, last = _stretch(copy.source, copy.theirs, copy.there, copy.length)
    return Passage(
        number,
        begin,
        samples[number][begin:end],
        copy.source[max(0, first - _CONTEXT) : first],
        copy.source[last : last + _CONTEXT],
        theirs=copy.source[first:last],
    )


def _stretch(text: str, voice: Voice, start: int, notes: int) -> tuple[int, int]:
    written = spans(text)
    return written[voice.notes[start]][0], written[voice.notes[start + notes - 1]][1]


MELODY_NOVELTY = Metric(
    melody_novelty, ("melody",), "how much of the generated tunes stands in no training tune, in any key"
)
