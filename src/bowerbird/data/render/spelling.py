"""The names of notes: a key's signature, and the letter and accidental of a pitch in it.

Names are counted on the line of fifths: F -1, C 0, G 1, ... B 5, F sharp 6; B flat -2.
"""

from __future__ import annotations

from bowerbird.data.tune import NATURALS, SHARPENED, Key

_LETTERS = "FCGDAEB"


def sharps(key: Key) -> int:
    """Of the signature with the fewest accidentals; flats are below nought. Six are written as flats."""
    major = (key.tonic * 7 + SHARPENED[key.mode]) % 12
    return major if major < 6 else major - 12


def tonic(key: Key) -> str:
    """`F#`, `Bb`."""
    fifth = sharps(key) - SHARPENED[key.mode]
    accidental = (fifth + 1) // 7
    return _LETTERS[(fifth + 1) % 7] + ("#" * accidental if accidental > 0 else "b" * -accidental)


def altered(letter: str, signature: int) -> int:
    """Semitones by which a signature raises a letter."""
    return (signature - _LETTERS.index(letter) + 6) // 7


def spelled(pitch: int, signature: int) -> tuple[str, int, int]:
    """Letter, semitones that it is raised by, and its octave: 60 is ("C", 0, 4).

    A pitch that is not of the scale takes the name nearest to it, from three fifths below the signature's
    major to eight above: in C major E flat and B flat, but F, C and G sharp.
    """
    low = signature - 3
    fifth = low + (pitch * 7 - low) % 12
    letter, accidental = _LETTERS[(fifth + 1) % 7], (fifth + 1) // 7
    return letter, accidental, (pitch - accidental - NATURALS[letter]) // 12 - 1
