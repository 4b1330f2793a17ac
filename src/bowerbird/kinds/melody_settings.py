"""The settings of a melody run and of one request for melodies."""

from __future__ import annotations

import re

from pydantic import Field, field_validator

from bowerbird.data.tune import MODES, NATURALS, Key, Metre
from bowerbird.kinds.text_settings import SampledRequest, TextRun

_KEY = re.compile(r"\s*([A-Ga-g])([#b♯♭]?)\s*([A-Za-z]*)\s*")
_METRE = re.compile(r"\s*(\d+)\s*/\s*(\d+)\s*")
_SHORT = {"": "major", "maj": "major", "m": "minor", "min": "minor"} | {mode[:3]: mode for mode in MODES[2:]}
_BEGINNINGS = "|".join(
    "".join(f"[{letter}{letter.upper()}]" for letter in mode) for mode in _SHORT if len(mode) == 3
)
KEY_PATTERN = rf"^\s*[A-Ga-g][#b♯♭]?\s*([mM]|({_BEGINNINGS})[A-Za-z]*)?\s*$"
"""What `read_key` reads, for programs."""


class MelodyRun(TextRun):
    """The settings of a run: those of a text's, and one more."""

    transpose: int = Field(0, ge=0, le=11)
    """Each training tune is read up to so many semitones higher or lower, anew each time round."""


class MelodyRequest(SampledRequest):
    """One request for melodies."""

    prompt: str = ""
    """How the tune begins: ABC, or note names as `C4 D4 E4:2`."""
    length: int = Field(1200, ge=16, le=20_000)
    """The most tokens to make, about three a note; every tune is brought to its end before."""
    key: str | None = None
    """As `G`, `Em`, `D dorian`."""
    metre: str | None = None
    """As `4/4`, `6/8`."""
    bars: int | None = Field(None, ge=1, le=1000)
    """How many bars, the opening's included. Where it is not given, as the model likes; with an opening as many as
    the tunes it learnt from usually have, or eight more than the opening if that is more."""
    tempo: float = Field(120, ge=10, le=500)
    """Quarter notes a minute when it is played."""

    @property
    def lead(self) -> str:
        """What is shown before a sample: nothing, as the tune holds its opening."""
        return ""

    @field_validator("key")
    @classmethod
    def _a_key(cls, value: str | None) -> str | None:
        if value is not None:
            read_key(value)
        return value

    @field_validator("metre")
    @classmethod
    def _a_metre(cls, value: str | None) -> str | None:
        if value is not None:
            read_metre(value)
        return value


def read_key(text: str) -> Key:
    """A key from its name. Raises ValueError for what is none."""
    found = _KEY.fullmatch(text)
    mode = found and _SHORT.get("m" if found[3] == "m" else found[3].lower()[:3])
    if not found or not mode:
        raise ValueError(f"`{text}` is no key; write G, Em, F#m, Bb or D dorian")
    accidental = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}[found[2]]
    return Key((NATURALS[found[1].upper()] + accidental) % 12, mode)


def read_metre(text: str) -> Metre:
    """A metre from its name. Raises ValueError for what is none."""
    found = _METRE.fullmatch(text)
    metre = Metre(int(found[1]), int(found[2])) if found else None
    if metre is None or not metre.possible:
        raise ValueError(f"`{text}` is no metre; write 4/4, 3/4 or 6/8")
    return metre
