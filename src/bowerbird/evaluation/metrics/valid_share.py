"""Valid share: how many of the generated texts are tunes that can be played."""

from __future__ import annotations

from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.melodies import tunes
from bowerbird.evaluation.metrics.metric import Metric
from bowerbird.evaluation.report import Score
from bowerbird.evaluation.shares import wilson


def valid_share(evidence: Evidence) -> list[Score]:
    """Share of generated texts that are tunes with a note and end on a bar line, as every tune does."""
    total = len(evidence.samples)
    if not total:
        return [Score("valid_share", None, "share", "higher", 0, note="there were no generated tunes")]
    valid = len(tunes(evidence.samples))
    note = (
        f"{valid:,} of {total:,} generated texts are tunes: notes in order within their bars, one at a time in"
        " a voice, at least one note; interval: Wilson's"
    )
    return [Score("valid_share", valid / total, "share", "higher", total, wilson(valid, total), note)]


VALID_SHARE = Metric(valid_share, ("melody",), "how many generated texts are tunes that can be played")
