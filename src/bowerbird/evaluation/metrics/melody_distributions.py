"""What tunes are made of: how far the generated tunes' pitches, steps, lengths and places in the bar are off.

The features are those of Yang & Lerch 2020, Neural Computing and Applications 32, 4773-4784, section 3; the
distance is the Jensen-Shannon divergence of Lin 1991, IEEE Trans. Information Theory 37(1), in bits: 0 for
equal distributions, 1 for those with nothing in common.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from bowerbird.data.tune import Tune
from bowerbird.evaluation.bootstrap import RESAMPLES
from bowerbird.evaluation.evidence import Evidence, Floats
from bowerbird.evaluation.melodies import bars, documents, passed_over, tune, tunes, voices
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score

_MOST_REFERENCE = 2_000
"""Training tunes looked at."""


def pitch_classes(found: Tune) -> Iterable[int]:
    """Semitones above the tonic, octaves left out."""
    return ((note.pitch - found.key.tonic) % 12 for note in found.notes)


def intervals(found: Tune) -> Iterable[int]:
    """Semitones between successive notes of a voice, at most an octave."""
    pitches = [note.pitch for note in found.notes]
    for own in voices(found):
        for before, after in pairwise(own):
            yield max(-12, min(12, pitches[after] - pitches[before]))


def durations(found: Tune) -> Iterable[int]:
    """Ticks that each note lasts."""
    return (note.length for note in found.notes)


def bar_positions(found: Tune) -> Iterable[Fraction]:
    """Where in its bar each note begins, as a share of the bar."""
    for metre, notes in zip(found.metres, bars(found), strict=True):
        for note in notes:
            yield Fraction(note.start, metre.ticks)


FEATURES: Mapping[str, tuple[Callable[[Tune], Iterable[Hashable]], str]] = {
    "pitch_class": (pitch_classes, "pitches above the tonic, octaves left out"),
    "interval": (intervals, "steps between successive notes of a voice, at most an octave"),
    "duration": (durations, "lengths of notes"),
    "bar_position": (bar_positions, "places in the bar where notes begin"),
}


def melody_distributions(evidence: Evidence) -> list[Score]:
    """For each feature, the divergence of the generated tunes from the held-out tunes."""
    made, kept = tunes(evidence.samples), tunes(evidence.held_out)
    learnt = _drawn(documents(evidence.training()), min(len(made), _MOST_REFERENCE), evidence.seed)
    left_out = passed_over(evidence.samples, made)
    return [_score(evidence, feature, made, kept, learnt, left_out) for feature in FEATURES]


def _score(
    evidence: Evidence,
    feature: str,
    made: Sequence[Tune],
    kept: Sequence[Tune],
    learnt: Sequence[Tune],
    left_out: str,
) -> Score:
    name = f"{feature}_distance"
    take, about = FEATURES[feature]
    counted = [[Counter(take(found)) for found in group] for group in (made, kept, learnt)]
    bins = {
        value: at for at, value in enumerate({value for group in counted for one in group for value in one})
    }
    ours, theirs, reference = (_table(group, bins) for group in counted)
    total = int(ours.sum())
    if not total or not theirs.sum():
        return Score(name, None, "bits", "lower", 0, note=f"{about}: nothing to compare")
    value = float(divergence(ours.sum(0), theirs.sum(0)))
    note = (
        f"Jensen-Shannon divergence between the {about}, of {len(made):,} generated and of {len(kept):,}"
        f" {evidence.split} tunes; 0 to 1, and above 0 by chance alone where tunes are few"
    )
    beside = float(divergence(reference.sum(0), theirs.sum(0))) if reference.sum() else None
    if beside is not None:
        note += f"; {len(learnt):,} training tunes in place of the generated: {beside:.4f}"
    ends = _interval(ours, theirs, value, evidence.seed)
    if ends:
        note += f"; interval: 1.96 deviations of {RESAMPLES:,} resamples of the tunes on both sides"
    return Score(name, value, "bits", "lower", total, ends, note + left_out, beside)


def divergence(one: Floats, other: Floats) -> Floats:
    """(...,) Jensen-Shannon divergence in bits of counts (..., bins), each with something counted."""
    p, q = (counts / counts.sum(-1, keepdims=True) for counts in (one, other))
    middle = (p + q) / 2
    found = (_relative(p, middle) + _relative(q, middle)) / 2
    return np.asarray(np.clip(found, 0.0, 1.0), np.float64)


def _relative(p: Floats, q: Floats) -> Floats:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(-1), np.float64)


def _interval(ours: Floats, theirs: Floats, value: float, seed: int) -> tuple[float, float] | None:
    """The bootstrap's standard interval (Efron & Tibshirani 1993, chapter 12).

    Resampling raises a divergence, so the percentiles of the resamples need not hold the value itself.
    """
    if len(ours) < 2 or len(theirs) < 2:
        return None
    rng = np.random.default_rng([seed, len(ours), len(theirs)])
    one, other = (
        rng.multinomial(len(table), np.full(len(table), 1 / len(table)), RESAMPLES).astype(np.float64) @ table
        for table in (ours, theirs)
    )
    some = (one.sum(1) > 0) & (other.sum(1) > 0)
    half = 1.96 * float(np.std(divergence(one[some], other[some])))
    return (max(0.0, value - half), min(1.0, value + half)) if half > 0 else None


def _table(counted: Sequence[Counter[Hashable]], bins: Mapping[Hashable, int]) -> Floats:
    """(tunes, bins)."""
    table = np.zeros((len(counted), len(bins)))
    for row, counts in zip(table, counted, strict=True):
        for value, times in counts.items():
            row[bins[value]] = times
    return table


def _drawn(texts: Iterable[str], most: int, seed: int) -> list[Tune]:
    """Up to `most` of the tunes, drawn evenly: Vitter 1985's reservoir over texts, parsed at the end."""
    rng = random.Random(seed)
    kept: list[str] = []
    for seen, text in enumerate(texts):
        if len(kept) < most:
            kept.append(text)
        elif (at := rng.randrange(seen + 1)) < most:
            kept[at] = text
    return [found for found in map(tune, kept) if found is not None]


MELODY_DISTRIBUTIONS = Metric(
    melody_distributions, ("melody",), "how far pitches, steps, lengths and places in the bar are off"
)
