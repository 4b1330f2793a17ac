"""Distinct-n: how varied the words are. Li et al. 2016, arXiv:1510.03055, section 5 (evaluation metrics)."""

from __future__ import annotations

from collections.abc import Sequence

from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score
from bowerbird.evaluation.words import cut_alike, ngrams, words

ORDERS = (1, 2, 3, 4)


def distinct(evidence: Evidence) -> list[Score]:
    """For n = 1 to 4: different n-grams of words in all samples together, over the number of words."""
    made = [words(sample) for sample in evidence.samples]
    lengths = [len(tokens) for tokens in made]
    kept = cut_alike([words(document) for document in evidence.held_out], lengths) if sum(lengths) else None
    return [_score(evidence.split, made, kept, n) for n in ORDERS]


def _score(split: str, made: Sequence[Sequence[str]], kept: Sequence[Sequence[str]] | None, n: int) -> Score:
    total = sum(len(tokens) for tokens in made)
    value = _ratio(made, n) if total else None
    reference = _ratio(kept, n) if kept is not None else None
    gram = "words" if n == 1 else f"runs of {n} words"
    note = f"different {gram} in {len(made):,} samples over their {total:,} words; depends on the length"
    if value is None:
        note = "there were no generated words to count"
    elif reference is not None:
        note += f"; the {split} text cut to the same lengths: {reference:.3f}"
    else:
        note += f"; no reference: the {split} text in memory has no room for the same lengths"
    return Score(f"distinct_{n}", value, "share", "higher", total, note=note, reference=reference)


def _ratio(texts: Sequence[Sequence[str]], n: int) -> float:
    different = {gram for tokens in texts for gram in ngrams(tokens, n)}
    return len(different) / sum(len(tokens) for tokens in texts)


DISTINCT = Metric(distinct, ("text",), "how varied the generated words are, for runs of 1 to 4 words")
