"""Repetition in melodies: bars that repeat an earlier bar of the same tune, note for note."""

from __future__ import annotations

from collections.abc import Sequence

from bowerbird.data.tune import Tune
from bowerbird.evaluation.bootstrap import interval
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.melodies import bars, passed_over, tunes
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score


def melody_repetition(evidence: Evidence) -> list[Score]:
    """Share of bars that stood earlier in the same tune with the same rhythm and pitches, over all tunes.

    Tunes live on repetition, so more counts as better; yet best is what the held-out tunes themselves have.
    """
    made = tunes(evidence.samples)
    counts = [repeated_bars(tune) for tune in made]
    total = sum(bars for _, bars in counts)
    if not total:
        return [
            Score("repetition", None, "share", "higher", 0, note="there were no generated bars with notes")
        ]
    share = sum(repeated for repeated, _ in counts) / total
    reference, size = _share(tunes(evidence.held_out))
    note = (
        f"share of {total:,} bars with notes, in {len(made):,} generated tunes, that stood earlier in the same tune"
        " with the same notes; nearest to the reference is best"
    )
    if reference is not None:
        note += f"; of {size:,} bars of the {evidence.split} split: {reference:.3f}"
    note += passed_over(evidence.samples, made)
    ends = interval([repeated for repeated, _ in counts], [bars for _, bars in counts], evidence.seed)
    return [Score("repetition", share, "share", "higher", total, ends, note, reference)]


def repeated_bars(tune: Tune) -> tuple[int, int]:
    """How many bars repeat an earlier one, and how many there are; bars without a note are not counted."""
    filled = [(metre, *notes) for metre, notes in zip(tune.metres, bars(tune), strict=True) if notes]
    return len(filled) - len(set(filled)), len(filled)


def _share(kept: Sequence[Tune]) -> tuple[float | None, int]:
    counts = [repeated_bars(tune) for tune in kept]
    total = sum(bars for _, bars in counts)
    return (sum(repeated for repeated, _ in counts) / total if total else None), total


MELODY_REPETITION = Metric(
    melody_repetition, ("melody",), "how many bars repeat an earlier bar of their tune"
)
