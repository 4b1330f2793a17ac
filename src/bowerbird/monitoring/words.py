"""What a change is called in plain words, by the statistic that shows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """How to speak of one statistic."""

    name: str
    """A short name, for a table or an axis."""
    more: str
    """What is said where it has risen."""
    less: str
    """What is said where it has fallen."""
    unit: str
    """`share` is shown in per cent."""


_NOTES = {"bits per byte": "bits per note"}
WORDS: dict[str, Wording] = {
    "prompts.surprise": Wording(
        "surprise of prompts",
        "prompts surprise the model more",
        "prompts surprise the model less",
        "bits per byte",
    ),
    "prompts.alphabet": Wording(
        "alphabet of prompts",
        "prompts are written in rarer characters",
        "prompts are written in commoner characters",
        "bits per character",
    ),
    "prompts.unseen": Wording(
        "unknown characters in prompts",
        "prompts have more characters that the training text has not",
        "prompts have fewer characters that the training text has not",
        "share",
    ),
    "prompts.repetition": Wording(
        "repetition in prompts", "prompts repeat themselves more", "prompts repeat themselves less", "share"
    ),
    "outputs.repetition": Wording(
        "repetition in answers", "answers repeat themselves more", "answers repeat themselves less", "share"
    ),
    "outputs.novelty": Wording(
        "novelty of answers",
        "answers hold less that stands in the training text",
        "answers hold more that stands in the training text",
        "share",
    ),
    "outputs.alphabet": Wording(
        "alphabet of answers",
        "answers are written in rarer characters",
        "answers are written in commoner characters",
        "bits per character",
    ),
    "outputs.unseen": Wording(
        "unknown characters in answers",
        "answers have more characters that the training text has not",
        "answers have fewer characters that the training text has not",
        "share",
    ),
    "prompts.step": Wording(
        "steps in openings", "openings move in wider steps", "openings move in smaller steps", "semitones"
    ),
    "outputs.step": Wording(
        "steps in tunes", "tunes move in wider steps", "tunes move in smaller steps", "semitones"
    ),
    "prompts.note_length": Wording(
        "note lengths in openings",
        "notes of openings are longer",
        "notes of openings are shorter",
        "quarter notes",
    ),
    "outputs.note_length": Wording(
        "note lengths in tunes", "notes of tunes are longer", "notes of tunes are shorter", "quarter notes"
    ),
    "prompts.in_key": Wording(
        "openings in key", "openings keep to their key more", "openings keep to their key less", "share"
    ),
    "outputs.in_key": Wording(
        "tunes in key", "tunes keep to their key more", "tunes keep to their key less", "share"
    ),
    "outputs.brightness": Wording(
        "brightness of pictures", "pictures are brighter", "pictures are darker", "share"
    ),
    "outputs.colour": Wording(
        "colour of pictures", "pictures are more colourful", "pictures are less colourful", "share"
    ),
    "outputs.edges": Wording(
        "edges in pictures", "edges in pictures stand out more", "edges in pictures stand out less", "share"
    ),
    "traffic.prompt_length": Wording(
        "length of prompts", "prompts are longer", "prompts are shorter", "bytes"
    ),
    "traffic.output_length": Wording(
        "length of answers", "answers are longer", "answers are shorter", "tokens"
    ),
    "prompts.language": Wording(
        "language of prompts", "more prompts are {}", "fewer prompts are {}", "share"
    ),
    "outputs.language": Wording(
        "language of answers", "more answers are {}", "fewer answers are {}", "share"
    ),
    "prompts.class": Wording("classes asked for", "{} is asked for more", "{} is asked for less", "share"),
    "prompts.mode": Wording("modes of openings", "more openings are {}", "fewer openings are {}", "share"),
    "outputs.mode": Wording("modes of tunes", "more tunes are {}", "fewer tunes are {}", "share"),
    "prompts.metre": Wording(
        "metres of openings", "more openings are in {}", "fewer openings are in {}", "share"
    ),
    "outputs.metre": Wording("metres of tunes", "more tunes are in {}", "fewer tunes are in {}", "share"),
    "traffic.failures": Wording("failures", "more requests have {}", "fewer requests have {}", "share"),
}
"""By statistic. In those of classes `{}` stands for the class."""
_CLASSES = {
    "unclear": "in no language that could be told",
    "no letters": "without letters",
    "failed": "failed",
    "answered": "been answered",
}


def wording(statistic: str, kind: str) -> Wording:
    """How to speak of a statistic of a kind of model."""
    found = WORDS[statistic]
    if kind == "melody" and found.unit in _NOTES:
        return Wording(found.name, found.more, found.less, _NOTES[found.unit])
    return found


def sentence(statistic: str, kind: str, before: float, after: float, name: str = "") -> str:
    """What has changed, from what to what."""
    found = wording(statistic, kind)
    words = (found.more if after >= before else found.less).format(_class_in_words(statistic, name))
    return f"{words}: from {number(before, found.unit)} to {amount(after, found.unit)}"


def number(value: float, unit: str) -> str:
    """A value in so many digits as tell."""
    if unit == "share":
        return f"{100 * value:.1f} %"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def amount(value: float, unit: str) -> str:
    """A value with its unit."""
    return number(value, unit) if unit == "share" else f"{number(value, unit)} {unit}"


def _class_in_words(statistic: str, name: str) -> str:
    if name in _CLASSES:
        return _CLASSES[name]
    return f"in {name}" if statistic.endswith(".language") else name
