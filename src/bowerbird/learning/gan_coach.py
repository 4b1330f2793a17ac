"""Watches a generator and its critic, says in plain words what is going wrong, and what one change might mend it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol

SMOOTHING = 0.02
"""Share of the newest step in running means: about fifty steps."""
SURE = 0.98
"""Above it, next to every real picture is told from the made one beside it."""
WORSE = 3.0
"""Times the best FID that is no longer a bad spell."""
FEW_MODES = 0.25
"""Share of the best recall or diversity so far that counts as collapse."""
RUNAWAY = 1e4
"""A difference of scores, or a generator's loss, that no loss on the shelf has while it learns."""
MOST = 3
"""Changes of one sort in a run; after them it is only said."""
PATIENCE = 2
"""Evaluations in a row that must agree, and that a change is given to work."""

Finding = Literal["diverged", "critic winning", "collapse"]
Change = Literal["calm", "penalise", "augment"]


class Mendable(Protocol):
    """What a learner must let itself be told."""

    def calm(self, factor: float) -> None: ...
    def penalise(self, factor: float) -> None: ...
    def augment(self, more: float) -> None: ...


@dataclass(frozen=True)
class Verdict:
    """What is wrong, a whole sentence on it, and the change that is made, None where it was made too often."""

    finding: Finding
    message: str
    change: Change | None
    amount: float

    def apply(self, learner: Mendable) -> None:
        if self.change is not None:
            getattr(learner, self.change)(self.amount)


CHANGES: dict[Finding, tuple[Change, float, str]] = {
    "diverged": ("calm", 0.5, "the learning rate is halved"),
    "critic winning": ("penalise", 2.0, "the penalty on it (gamma) is doubled"),
    "collapse": ("augment", 0.2, "pictures are augmented more (probability + 0.2)"),
}


@dataclass
class GANCoach:
    """Notes every step, judges at evaluations. Its state is plain numbers and travels with a checkpoint."""

    steps: int = 0
    sure: float = 0.0
    gap: float = 0.0
    generator_loss: float = 0.0
    best_fid: float | None = None
    best_recall: float = 0.0
    best_diversity: float = 0.0
    suspected: dict[str, int] = field(default_factory=dict)
    """Evaluations in a row at which each trouble was seen."""
    changes: dict[str, int] = field(default_factory=dict)
    """How often each was answered."""

    def note(self, stats: Mapping[str, float]) -> None:
        """Take note of a step, as the learner tells it."""
        self.steps += 1
        share = max(SMOOTHING, 1 / self.steps)
        self.sure += share * (stats["sure"] - self.sure)
        self.gap += share * (stats["real_score"] - stats["fake_score"] - self.gap)
        self.generator_loss += share * (stats["generator_loss"] - self.generator_loss)

    def judge(self, step: int, scores: Mapping[str, float]) -> list[Verdict]:
        """Judge from validation (`fid`, `recall`, `diversity`, as far as they are there); at most one a sort.

        Diversity is the spread of samples as a share of that of real pictures. A score that is no number is
        as good as not there.
        """
        scores = {name: value for name, value in scores.items() if math.isfinite(value)}
        seen = {
            "diverged": self._diverged(scores.get("fid")),
            "critic winning": f"it tells {(1 + self.sure) / 2:.0%} of real pictures from made ones"
            if self.steps and self.sure > SURE
            else "",
            "collapse": self._collapsed(scores.get("recall"), scores.get("diversity")),
        }
        verdicts = []
        for finding in CHANGES:
            if not seen[finding]:
                self.suspected[finding] = 0
                continue
            self.suspected[finding] = self.suspected.get(finding, 0) + 1
            if self.suspected[finding] >= PATIENCE:
                self.suspected[finding] = 0
                verdicts.append(self._verdict(finding, seen[finding], step))
        return verdicts

    def _verdict(self, finding: Finding, seen: str, step: int) -> Verdict:
        change, amount, words = CHANGES[finding]
        title = {"critic winning": "the critic is winning outright"}.get(finding, finding)
        made = self.changes.get(finding, 0)
        if made >= MOST:
            words = f"nothing more is changed, after {made} times; the best checkpoint is kept"
            return Verdict(finding, f"{title} at step {step}: {seen}; {words}.", None, 0.0)
        self.changes[finding] = made + 1
        return Verdict(finding, f"{title} at step {step}: {seen}; {words}.", change, amount)

    def _diverged(self, fid: float | None) -> str:
        """What shows it, or nothing."""
        if fid is not None and (self.best_fid is None or fid < self.best_fid):
            self.best_fid = fid
        if max(abs(self.gap), abs(self.generator_loss)) > RUNAWAY:
            return f"scores run away (real above made by {self.gap:.3g}, generator's loss {self.generator_loss:.3g})"
        if fid is not None and self.best_fid is not None and fid > WORSE * self.best_fid:
            return f"FID is {fid:.3g} and was {self.best_fid:.3g} at its best"
        return ""

    def _collapsed(self, recall: float | None, diversity: float | None) -> str:
        """What shows it, or nothing. An untrained generator has few modes too: it must have had more."""
        found = ""
        if recall is not None:
            self.best_recall = max(self.best_recall, recall)
            if self.best_recall >= 0.1 and recall < FEW_MODES * self.best_recall:
                found = f"recall is {recall:.2f} and was {self.best_recall:.2f}"
        if diversity is not None:
            self.best_diversity = max(self.best_diversity, min(diversity, 1.0))
            if self.best_diversity >= 0.1 and diversity < FEW_MODES * self.best_diversity:
                found = (
                    found
                    or f"samples differ {diversity:.2f} as much as real ones and did {self.best_diversity:.2f}"
                )
        return found

    def state(self) -> dict[str, Any]:
        return asdict(self)
