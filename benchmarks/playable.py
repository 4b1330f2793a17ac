"""Are generated melodies playable? Others read them: music21 the ABC and the MIDI, symusic the MIDI.

Of each tune: does it have notes, the same ones in all three readings, and is every bar whole? The bars of a tune
are those of the MIDI file's metres, of which the last ends where its tracks end; each bar of the ABC must last as
long. (music21's scores of ABC know only the metre that a tune begins in, and bar and tie what follows a change
anew. So they are only asked for; notes and bars are added up from the words that music21 finds in ABC.)

    bowerbird generate demo-melody -n 1000 --seed 1 --out made
    python benchmarks/playable.py made
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

Notes = list[tuple[Fraction, int]]
"""Onsets in quarter notes from the first note's, and pitches."""


def faults(path: Path) -> list[str]:
    """What is wrong with the tune `path`, a MIDI file with an ABC file of the same name beside it."""
    found: list[str] = []
    read: dict[str, Notes] = {}
    for name, notes in (
        ("symusic, MIDI", lambda: by_symusic(path)),
        ("music21, MIDI", lambda: sounded(by_music21(path))),
        ("music21, ABC", lambda: of_words(path.with_suffix(".abc"))[0]),
    ):
        try:
            read[name] = notes()
        except Exception as error:  # whatever a reader fails with is what is asked
            found.append(f"{name}: not readable ({type(error).__name__}: {error})")
            continue
        if not read[name]:
            found.append(f"{name}: no notes")
    if len(read) == 3 and len({tuple(notes) for notes in read.values()}) > 1:
        found.append("the readings differ in their notes")
    if not found:
        found += broken_bars(path)
    return found


def by_music21(path: Path) -> Any:
    from music21 import converter

    return converter.parse(path, forceSource=True, quantizePost=False)


def sounded(score: Any) -> Notes:
    flat = score.stripTies().flatten()
    notes = [
        (Fraction(note.offset).limit_denominator(96), int(pitch.midi))
        for note in flat.notes
        if "Harmony" not in note.classes
        for pitch in note.pitches
    ]
    return _from_first(notes)


def by_symusic(path: Path) -> Notes:
    from symusic import Score

    score = Score(str(path))
    return _from_first(
        [
            (Fraction(note.time, score.ticks_per_quarter), note.pitch)
            for track in score.tracks
            for note in track.notes
        ]
    )


def _from_first(notes: Notes) -> Notes:
    first = min((at for at, _ in notes), default=Fraction(0))
    return sorted((at - first, pitch) for at, pitch in notes)


def broken_bars(path: Path) -> list[str]:
    from symusic import Score

    score = Score(str(path))
    quarter, end = score.ticks_per_quarter, _end(path)
    metres = {each.time: 4 * quarter * each.numerator // each.denominator for each in score.time_signatures}
    bars: list[int] = []
    while sum(bars) < end:
        bars.append(metres.get(sum(bars), bars[-1] if bars else metres[0]))
    if sum(bars) != end or any(note.end > end for track in score.tracks for note in track.notes):
        return [f"MIDI: ends at tick {end}, the bar at {sum(bars)}"]
    found = []
    for voice in of_words(path.with_suffix(".abc"))[1]:
        if (lengths := [length * quarter for length in voice]) != bars:
            found.append(f"ABC: bars of {lengths} ticks, in MIDI {bars}")
    return found


def of_words(path: Path) -> tuple[Notes, list[list[Fraction]]]:
    """The notes of an ABC file, ties joined, and the lengths of each voice's bars in quarter notes."""
    from music21.abcFormat import ABCHandler, ABCNote
    from music21.pitch import Pitch

    if not by_music21(path).recurse().notes:
        return [], []
    head, *voices = re.split(r"^V:.*\n", path.read_text(), flags=re.MULTILINE)
    notes: Notes = []
    bars: list[list[Fraction]] = []
    for voice in voices or [""]:
        handler = ABCHandler(abcVersion=(2, 1, 0))
        handler.process(head + voice)
        # `[M:2/4]` is a note without a name to it.
        split = [
            [word for word in bar.tokens if isinstance(word, ABCNote) and (word.isRest or word.pitchName)]
            for bar in handler.splitByMeasure()
        ]
        bars.append([sum(map(_length, bar), Fraction(0)) for bar in split if bar])
        now, tied = Fraction(0), False
        for word in (word for bar in split for word in bar):
            if not word.isRest and not tied:
                notes.append((now, int(Pitch(word.pitchName).midi)))
            now += _length(word)
            tied = word.tie in ("start", "continue")
    return _from_first(notes), bars


def _length(word: Any) -> Fraction:
    length = Fraction(word.quarterLength).limit_denominator(96)
    return length * Fraction(word.activeTuplet.tupletMultiplier()) if word.activeTuplet else length


def _end(path: Path) -> int:
    """The tick at which the last track of a MIDI file ends, which symusic does not tell."""
    from music21.midi import MidiFile

    file = MidiFile()
    file.open(path)
    file.read()
    file.close()
    return max(sum(event.time for event in track.events if event.isDeltaTime()) for track in file.tracks)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, help="MIDI and ABC files, as `bowerbird generate --out` writes them"
    )
    folder = parser.parse_args().folder
    paths = sorted(folder.glob("*.mid"))
    with ProcessPoolExecutor() as pool:
        all_faults = list(pool.map(faults, paths, chunksize=8))
    for path, found in zip(paths, all_faults, strict=True):
        for fault in found:
            print(f"{path.name}: {fault}")
    kinds = Counter(fault.split(":")[0] for found in all_faults for fault in found)
    print(json.dumps({"tunes": len(paths), "without_fault": sum(not found for found in all_faults), **kinds}))


if __name__ == "__main__":
    main()
