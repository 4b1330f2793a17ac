"""The report of one evaluation: which model, which data, each score with its sample size and interval."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from bowerbird.evaluation.evidence import Floats

FORMAT = 1


@dataclass(frozen=True)
class Passage:
    """A stretch of generated content that stands in the training text: of text word for word."""

    sample: int
    """Which sample, counted from 0."""
    start: int
    """Where in the sample it begins, in characters."""
    text: str
    """The stretch itself."""
    before: str
    """What stands before it in the training text (up to 120 characters)."""
    after: str
    """What stands after it in the training text (up to 120 characters)."""
    theirs: str | None = None
    """The stretch as the training text has it, where that may differ: of a melody, in another key."""


@dataclass(frozen=True)
class Pair:
    """A generated picture beside the training picture nearest to it."""

    sample: int
    """Which sample, counted from 0."""
    training: int
    """Which training picture, counted from 0."""
    distance: float
    """Between their features."""
    typical: float
    """The median distance of a held-out picture to the training picture nearest to it."""
    made: NDArray[np.uint8] = field(compare=False, repr=False)
    """(H, W, C), the sample."""
    learnt: NDArray[np.uint8] = field(compare=False, repr=False)
    """(H, W, C), the training picture."""


@dataclass(frozen=True)
class Score:
    """One number about a model, with what is needed to trust it."""

    name: str
    value: float | None
    """None where there was nothing to measure; the note says what was missing."""
    unit: str
    better: Literal["lower", "higher"]
    n: int
    """How many observations stand behind the value; the note says of what."""
    interval: tuple[float, float] | None = None
    """95 % interval, where one can be given."""
    note: str = ""
    """How the number was computed."""
    reference: float | None = None
    """The same measure on held-out text of the same length, or on training pictures in the samples' place."""
    passages: tuple[Passage, ...] = ()
    """Copied stretches behind the number; they go into the report, not into the score's JSON."""
    pairs: tuple[Pair, ...] = ()
    """Pictures behind the number, the nearest first; they go onto the page alone."""

    def to_json(self) -> dict[str, Any]:
        low, high = (finite(end) for end in self.interval) if self.interval else (None, None)
        return {
            "name": self.name,
            "value": finite(self.value),
            "unit": self.unit,
            "better": self.better,
            "n": self.n,
            "interval": None if low is None or high is None else [low, high],
            "reference": finite(self.reference),
            "note": self.note,
        }


@dataclass(frozen=True)
class Report:
    """Everything one evaluation found. `page.html(report)` shows it; `to_json` is what programs read."""

    model: str
    """The model as the user named it."""
    digest: str
    """The digest of the bundle that was judged."""
    kind: str
    split: str
    scores: Sequence[Score]
    baselines: Sequence[Score] = ()
    samples: Sequence[str] | NDArray[np.uint8] = ()
    """Texts, or pictures (N, H, W, C); pictures are shown on the page and are not in the JSON."""
    passages: Sequence[Passage] = ()
    comparison: Sequence[Mapping[str, Any]] | None = None
    """The rows of `compare`, when a second model was judged on the same units."""
    against: str | None = None
    """That second model, as the user named it."""
    unit_bits: Floats | None = None
    """(units,) bits per byte, or per note, of each held-out unit, for the plot; not in the JSON."""
    created: str = ""
    """When, in UTC, ISO 8601."""
    created_by: str = ""
    """The program and its version."""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    """The data judged on, in words for a reader: name, digest, sizes."""

    @property
    def texts(self) -> Sequence[str]:
        """The samples, where they are texts."""
        return () if isinstance(self.samples, np.ndarray) else self.samples

    @property
    def pictures(self) -> NDArray[np.uint8] | None:
        """(N, H, W, C) the samples, where they are pictures and there are any."""
        return self.samples if isinstance(self.samples, np.ndarray) and len(self.samples) else None

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values only: no NaN, no infinity."""
        value: dict[str, Any] = {
            "format": FORMAT,
            "model": self.model,
            "digest": self.digest,
            "kind": self.kind,
            "split": self.split,
            "dataset": dict(self.dataset),
            "scores": [score.to_json() for score in self.scores],
            "baselines": [score.to_json() for score in self.baselines],
            "samples": list(self.texts),
            "passages": [asdict(passage) for passage in self.passages],
            "created": self.created,
            "created_by": self.created_by,
        }
        if self.comparison is not None:
            value["against"] = self.against
            value["comparison"] = [dict(row) for row in self.comparison]
        return value


MAIN_SCORES = ("bits_per_byte", "bits_per_note", "fid")
"""What the model spends on held-out content, or how far from it its samples are; models are compared by it."""


def main_score(scores: Iterable[Score]) -> Score | None:
    """The one of `MAIN_SCORES` that is there."""
    return next((score for score in scores if score.name in MAIN_SCORES), None)


def in_words(unit: str) -> str:
    """`bits/byte` as `bits per byte`."""
    return unit.replace("/", " per ")


def finite(value: float | None) -> float | None:
    """A number that JSON can hold, or None."""
    return float(value) if value is not None and math.isfinite(value) else None


def per_unit(bits: Any, sizes: Any) -> Floats:
    """(units,) bits per byte, or per note, of each unit that has any; none where the model gives no bits."""
    if bits is None or sizes is None:
        return np.zeros(0)
    bits, sizes = np.asarray(bits, np.float64), np.asarray(sizes, np.float64)
    kept = sizes > 0
    return np.asarray(bits[kept] / sizes[kept], np.float64)
