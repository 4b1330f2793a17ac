"""A challenger beside the live version on the same traffic: failures, verdicts, and how well each expects the prompts.

What is looked for is harm. Each test asks whether the challenger is worse, and all of them together find one that is
as good worse with a chance of `alpha` at most (Holm, 1979). While a trial has not seen enough it may be looked at
again and again: then a hundredth of that is asked of each look, so that a hundred looks have that chance together.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np

from bowerbird.evaluation.bootstrap import resampled_ratios
from bowerbird.evaluation.shares import wilson
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.surprise import surprises
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.feedback import Verdict
from bowerbird.monitoring.policy import Policy
from bowerbird.store.rollout import Rollout

MOST_PROMPTS = 400
MOST_PROMPT_CHARACTERS = 2_000
"""Of each prompt, so much is looked at."""
LOOKS = 100
"""Among which the chance of a false alarm is shared out before a trial has seen enough."""
_FEWEST_PROMPTS = 20

Finding = Literal["too little", "worse", "not worse"]


@dataclass(frozen=True)
class Arm:
    """What became of the requests that one version answered."""

    requests: int
    failed: int
    """By a fault of the server's: status 500 and above."""
    seconds: float | None
    """The median, of those that did not fail."""
    up: int
    down: int

    def to_json(self) -> dict[str, Any]:
        votes = self.up + self.down
        ends = wilson(self.up, votes)
        return {
            "requests": self.requests,
            "failed": self.failed,
            "median_seconds": self.seconds,
            "up": self.up,
            "down": self.down,
            "up_share": self.up / votes if votes else None,
            "up_interval": list(ends) if ends else None,
        }


@dataclass(frozen=True)
class Comparison:
    """What a trial has shown so far."""

    live: Arm
    challenger: Arm
    hours: float
    finding: Finding
    why: str
    tests: Mapping[str, float]
    """By what was looked at: the chance of so much harm, or more, in a challenger that is as good."""
    prompts: Mapping[str, Any] | None
    """Bits per byte of the prompts under both: `challenger, live, value` (their difference), `interval, n`. None: too
    few are recorded, or the models are not of text."""

    def to_json(self) -> dict[str, Any]:
        return {
            "finding": self.finding,
            "why": self.why,
            "hours": round(self.hours, 3),
            "live": self.live.to_json(),
            "challenger": self.challenger.to_json(),
            "tests": dict(self.tests),
            "prompts": None if self.prompts is None else dict(self.prompts),
        }


def compare(
    rollout: Rollout,
    events: Iterable[Event],
    verdicts: Iterable[Verdict],
    policy: Policy,
    *,
    live: Model,
    challenger: Model,
    now: float | None = None,
    seed: int = 1,
) -> Comparison:
    """What a trial has shown.

    Args:
        rollout: the trial.
        events: of the name since it began; others are left out.
        verdicts: on its answers.
        policy: how much it takes, and the chance of a false alarm.
        live, challenger: loaded, to read the prompts with.
        now: Unix seconds; by default the clock's.
        seed: of the resampling.
    """
    found = [event for event in events if event.time >= rollout.since and event.arm]
    given = [verdict for verdict in verdicts if verdict.time >= rollout.since]
    tried = "shadow" if rollout.mode == "shadow" else "challenger"
    arms = {
        "live": _arm([one for one in found if one.arm == "live" and one.digest == rollout.live_digest],
                     [one for one in given if one.digest == rollout.live_digest]),
        tried: _arm([one for one in found if one.arm == tried and one.digest == rollout.digest],
                    [one for one in given if one.digest == rollout.digest]),
    }  # fmt: skip
    old, new = arms["live"], arms[tried]
    hours = ((time.time() if now is None else now) - rollout.since) / 3600
    tests = {"failures": fisher(new.failed, new.requests, old.failed, old.requests)}
    if new.up + new.down and old.up + old.down:
        tests["verdicts"] = fisher(new.down, new.up + new.down, old.down, old.up + old.down)
    prompts = None
    if live.kind.name == "text":
        texts = _prompts(found)
        if len(texts) >= _FEWEST_PROMPTS:
            prompts, tests["prompts"] = _expected(texts, live, challenger, policy, seed)
    few = _too_little(old, new, hours, policy)
    worse = _worse(tests, policy.alpha / LOOKS if few else policy.alpha)
    if worse:
        finding, why = "worse", f"{worse} tell against it: " + _said(worse, old, new, prompts)
    elif few:
        finding, why = "too little", few
    else:
        finding = "not worse"
        why = f"no harm in {new.requests:,} requests over {hours:.1f} hours: " + _said(
            "failures", old, new, prompts
        )
        if prompts is not None:
            why += f"; {_said('prompts', old, new, prompts)}"
    return Comparison(old, new, hours, cast(Finding, finding), why, tests, prompts)


def fisher(hits: int, of: int, other_hits: int, other_of: int) -> float:
    """The chance of so many hits or more, where both have the same share of them (Fisher's exact test, one-sided).

    1 where there is nothing to compare.
    """
    if not of or not other_of:
        return 1.0
    total, marked = of + other_of, hits + other_hits
    everything = _choices(total, marked)
    terms = [
        math.exp(_choices(of, count) + _choices(other_of, marked - count) - everything)
        for count in range(max(hits, marked - other_of), min(of, marked) + 1)
    ]
    return min(1.0, math.fsum(terms))


def _choices(of: int, count: int) -> float:
    """The logarithm of the number of ways to choose."""
    return math.lgamma(of + 1) - math.lgamma(count + 1) - math.lgamma(of - count + 1)


def _arm(events: Sequence[Event], verdicts: Sequence[Verdict]) -> Arm:
    failed = sum(event.status >= 500 for event in events)
    seconds = [event.seconds for event in events if event.status < 400]
    last = {(verdict.owner, verdict.answer or verdict.id): verdict for verdict in verdicts}
    ratings = [verdict.rating or 0.0 for verdict in last.values()]
    return Arm(
        len(events),
        failed,
        float(np.median(seconds)) if seconds else None,
        sum(rating > 0 for rating in ratings),
        sum(rating < 0 for rating in ratings),
    )


def _prompts(events: Iterable[Event]) -> list[str]:
    """Distinct prompts, the first of them: who sends one again and again has one voice."""
    texts = {
        prompt[:MOST_PROMPT_CHARACTERS]: None for event in events if (prompt := event.prompt or "").strip()
    }
    return list(texts)[:MOST_PROMPTS]


def _expected(
    texts: Sequence[str], live: Model, challenger: Model, policy: Policy, seed: int
) -> tuple[dict[str, Any], float]:
    """How well both expect the prompts, and the share of resamples in which the challenger is better than the margin
    allows it to be worse: the smaller, the surer the harm."""
    spent = [surprises(model, texts) for model in (live, challenger)]
    # Fine-tuning keeps the codec, so both pay for the same bytes.
    sizes = np.array([one.size for one in spent[0]])
    old, new = (np.array([one.bits[-1] if one.size else 0.0 for one in found]) for found in spent)
    base = float(old.sum() / sizes.sum())
    difference = resampled_ratios(new - old, sizes, seed)[:, 0]
    low, high = (float(end) for end in np.nanpercentile(difference, [2.5, 97.5]))
    told = {
        "challenger": float(new.sum() / sizes.sum()),
        "live": base,
        "value": float((new - old).sum() / sizes.sum()),
        "interval": [low, high],
        "n": len(texts),
        "unit": "bits/byte",
    }
    return told, float(np.mean(difference <= policy.margin * base))


def _too_little(old: Arm, new: Arm, hours: float, policy: Policy) -> str:
    """What a trial lacks, in words; empty where it has seen enough."""
    if hours < policy.least_hours:
        return f"{hours:.1f} of {policy.least_hours:g} hours have passed"
    fewest = min(old.requests, new.requests)
    if fewest < policy.least_requests:
        counts = f"{new.requests:,} by the challenger, {old.requests:,} by the live version"
        return f"too few requests: {counts}, {policy.least_requests:,} of each are wanted"
    return ""


def _worse(tests: Mapping[str, float], alpha: float) -> str:
    """The names of the tests that find harm, by Holm's procedure."""
    found = []
    for place, (name, chance) in enumerate(sorted(tests.items(), key=lambda item: item[1])):
        if chance > alpha / (len(tests) - place):
            break
        found.append(name)
    return " and ".join(found)


def _said(what: str, old: Arm, new: Arm, prompts: Mapping[str, Any] | None) -> str:
    told = []
    if "failures" in what:
        counts = f"of the live version's {old.failed:,} of {old.requests:,}"
        told.append(f"{new.failed:,} of {new.requests:,} requests failed, {counts}")
    if "verdicts" in what:
        counts = f"of the live version's {old.down:,} of {old.up + old.down:,}"
        told.append(f"{new.down:,} of {new.up + new.down:,} verdicts are bad, {counts}")
    if "prompts" in what and prompts is not None:
        told.append(
            f"prompts take {prompts['challenger']:.3f} bits per byte, the live version's {prompts['live']:.3f}"
        )
    return "; ".join(told)
