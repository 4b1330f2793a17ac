"""Novelty: how much of what a model writes is its own, and the longest stretch it took from its training text."""

from __future__ import annotations

from collections.abc import Sequence

from bowerbird.data.markers import plain
from bowerbird.evaluation.bootstrap import interval
from bowerbird.evaluation.copies import Copy, Search, search, without_overlap
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Passage, Score
from bowerbird.evaluation.words import cut_alike

SHORTEST = 50
"""Characters that must stand together word for word to count as copied."""


def novelty(evidence: Evidence) -> list[Score]:
    """`novelty`, the share of generated characters not in a copied stretch, and `longest_copy`, in characters.

    Exact: letter case, spaces and line ends count, over the whole training text. Both numbers are also taken
    on held-out text of the same lengths, for people repeat each other too.
    """
    samples = [plain(sample) for sample in evidence.samples]
    total = sum(map(len, samples))
    if not total:
        note = "there was no generated text to search for"
        return [
            Score("novelty", None, "share", "higher", 0, note=note),
            Score("longest_copy", None, "characters", "lower", 0, note=note),
        ]
    kept = _held_out(evidence.held_out, samples)
    made, real = Search(samples, SHORTEST), Search(kept, SHORTEST)
    search([made, real], evidence.training())
    return [
        _share(evidence, made, real, total),
        _longest(evidence, made, real, total, samples),
    ]


def _share(evidence: Evidence, made: Search, real: Search, total: int) -> Score:
    copied = [int(flags.sum()) for flags in made.covered()]
    lengths = [len(flags) for flags in made.covered()]
    share = sum(copied) / total
    note = (
        f"{share:.2%} of {total:,} generated characters stand word for word in the training text"
        f" in stretches of {SHORTEST} characters or more"
    )
    size = sum(len(flags) for flags in real.covered())
    reference = 1 - sum(int(flags.sum()) for flags in real.covered()) / size if size else None
    if reference is not None:
        note += f"; of {size:,} characters of the {evidence.split} text, {1 - reference:.2%}"
    ends = interval(
        [length - part for length, part in zip(lengths, copied, strict=True)], lengths, evidence.seed
    )
    return Score("novelty", 1 - share, "share", "higher", total, ends, note, reference)


def _longest(evidence: Evidence, made: Search, real: Search, total: int, samples: Sequence[str]) -> Score:
    copies = without_overlap([*([made.longest] if made.longest else []), *made.copies])
    passages = tuple(_passage(copy, samples[copy.text]) for copy in copies)
    length = made.longest.length if made.longest else 0
    reference = real.longest.length if real.longest else 0
    size = sum(len(flags) for flags in real.covered())
    note = f"longest stretch of {total:,} generated characters that stands word for word in the training text"
    if size:
        note += f"; of {size:,} characters of the {evidence.split} text: {reference:,}"
    value = float(length)
    return Score(
        "longest_copy",
        value,
        "characters",
        "lower",
        total,
        note=note,
        reference=float(reference) if size else None,
        passages=passages,
    )


def _passage(copy: Copy, sample: str) -> Passage:
    text = sample[copy.start : copy.start + copy.length]
    return Passage(copy.text, copy.start, text, copy.before, copy.after)


def _held_out(held_out: Sequence[str], samples: Sequence[str]) -> list[str]:
    """Held-out text cut to the lengths of the samples; where it is too short for that, what there is of it."""
    documents = [plain(document) for document in held_out]
    cut = cut_alike(documents, [len(sample) for sample in samples])
    if cut is not None:
        return [str(text) for text in cut]
    room = max(map(len, samples))
    wanted = sum(map(len, samples))
    kept: list[str] = []
    for document in documents:
        kept.append(document[: min(room, wanted)])
        wanted -= len(kept[-1])
        if wanted <= 0:
            break
    return kept


NOVELTY = Metric(novelty, ("text",), "how much of the generated text does not stand in the training text")
