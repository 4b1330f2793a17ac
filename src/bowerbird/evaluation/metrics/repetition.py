"""Repetition: how much a text repeats itself. The seq-rep-4 of Welleck et al. 2019, arXiv:1908.04319."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bowerbird.evaluation.bootstrap import interval
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score
from bowerbird.evaluation.words import cut_alike, ngrams, words

ORDER = 4


def repetition(evidence: Evidence) -> list[Score]:
    """Share of 4-grams of words that stood earlier in the same text; the mean over the samples.

    Too little is as telling as too much, so the held-out text's own value stands beside it.
    """
    made = [tokens for tokens in map(words, evidence.samples) if len(tokens) >= ORDER]
    if not made:
        note = f"no sample has {ORDER} words or more"
        return [Score("repetition", None, "share", "lower", 0, note=note)]
    shares = [repeated_share(tokens) for tokens in made]
    kept = cut_alike([words(document) for document in evidence.held_out], [len(tokens) for tokens in made])
    reference = float(np.mean([repeated_share(tokens) for tokens in kept])) if kept else None
    note = (
        f"share of runs of {ORDER} words that stood earlier in the same text, mean over {len(made):,} samples"
    )
    if reference is not None:
        note += f"; the {evidence.split} text cut to the same lengths: {reference:.3f}"
    else:
        note += f"; no reference: the {evidence.split} text in memory has no room for the same lengths"
    ends = interval(shares, np.ones(len(shares)), evidence.seed)
    return [Score("repetition", float(np.mean(shares)), "share", "lower", len(made), ends, note, reference)]


def repeated_share(tokens: Sequence[str]) -> float:
    """1 - different 4-grams / all 4-grams of a text of four words or more."""
    grams = list(ngrams(tokens, ORDER))
    return 1.0 - len(set(grams)) / len(grams)


REPETITION = Metric(repetition, ("text",), "how much a generated text repeats itself")
