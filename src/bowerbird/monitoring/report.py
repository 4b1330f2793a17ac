"""What `monitor` found, as records that the terminal, the page, the alerts and programs read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from bowerbird.monitoring.change import Tested
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.feedback import Agreement

FORMAT = 1
MOVED, STEADY, TOO_LITTLE = "moved", "steady", "too little data"
Verdict = Literal["moved", "steady", "too little data"]
_DAY = 86_400


@dataclass(frozen=True)
class Level:
    """How often a change is told of where there is none."""

    alpha: float
    """The chance of at least one false alarm in `looks` windows."""
    looks: int

    @property
    def per_look(self) -> float:
        """The chance in each window."""
        return self.alpha / self.looks

    def to_json(self) -> dict[str, Any]:
        return {"alpha": self.alpha, "looks": self.looks, "per_look": self.per_look}


@dataclass(frozen=True)
class Window:
    """So many requests in a row, and what was tested of them."""

    first: int
    """The number of its first request in the store."""
    last: int
    began: float
    """Unix seconds of its first request."""
    ended: float
    requests: int
    callers: int | None
    """None: they are not known."""
    tests: Mapping[str, Tested]
    """By statistic."""
    corrected: Mapping[str, float]
    """Each test's chance, corrected for there being several in this window."""
    alarms: tuple[str, ...]
    """Statistics whose corrected chance is below the level of a window."""

    def to_json(self) -> dict[str, Any]:
        tests = {
            name: {
                "p": test.p,
                "corrected": self.corrected[name],
                "before": test.before,
                "after": test.after,
                "n": test.n,
                "effective": test.effective,
                **({"class": test.name} if test.name else {}),
            }
            for name, test in self.tests.items()
        }
        return {
            "first": self.first,
            "last": self.last,
            "began": stamp(self.began),
            "ended": stamp(self.ended),
            "requests": self.requests,
            "callers": self.callers,
            "tests": tests,
            "alarms": list(self.alarms),
        }


@dataclass(frozen=True)
class Change:
    """One statistic that moved."""

    statistic: str
    """As `prompts.surprise`."""
    words: str
    """What has changed, from what to what."""
    unit: str
    against: str
    """What it is compared with."""
    before: float
    after: float
    interval: tuple[float, float]
    """95 % of the difference, in the unit."""
    p: float
    """Chance of such a difference in any of the windows of the level where nothing has changed, corrected for all
    statistics and windows."""
    since: float
    """Unix seconds of the first request of the new kind, as far as can be told."""
    since_number: int
    """That request's number in the store."""
    from_start: bool
    """It was so from the first request that was looked at."""
    requests: int
    """From that one on, to the end of the change."""
    until: float | None
    """Unix seconds; None: it is still so."""
    name: str = ""
    """Of classes, the one that differs most."""
    examples: tuple[str, ...] = ()
    """Prompts, private data masked."""
    top_caller: float | None = None
    """The share of these requests that one caller made; None where callers are not known."""

    @property
    def ongoing(self) -> bool:
        return self.until is None

    @property
    def effect(self) -> float:
        return self.after - self.before

    def to_json(self) -> dict[str, Any]:
        return {
            "statistic": self.statistic,
            "words": self.words,
            "unit": self.unit,
            "against": self.against,
            "before": self.before,
            "after": self.after,
            "effect": self.effect,
            "interval": list(self.interval),
            "p": self.p,
            "since": stamp(self.since),
            "since_number": self.since_number,
            "from_start": self.from_start,
            "requests": self.requests,
            "until": None if self.until is None else stamp(self.until),
            "ongoing": self.ongoing,
            "class": self.name or None,
            "examples": list(self.examples),
            "top_caller": self.top_caller,
        }


@dataclass(frozen=True)
class Traffic:
    """How many requests there were, and how they ended."""

    requests: int
    """That were looked at."""
    failed: int
    """With an error that is not their asker's own leaving."""
    codes: Mapping[str, int]
    """By code of the error."""
    prompt_tokens: int
    completion_tokens: int
    days: tuple[tuple[str, int, int], ...]
    """(day in UTC, requests, of them failed)."""
    versions: Mapping[str, int]
    """All requests in the store, by version."""

    @classmethod
    def of(
        cls, events: Sequence[Event], counts: Mapping[tuple[Any, ...], int], versions: Mapping[str, str]
    ) -> Traffic:
        """Args:
        events: those that were looked at.
        counts: of all events in the store, by (digest,).
        versions: their names, by digest.
        """
        days: Counter[int] = Counter(int(event.time // _DAY) for event in events)
        failed: Counter[int] = Counter(int(event.time // _DAY) for event in events if event.failed)
        return cls(
            requests=len(events),
            failed=sum(failed.values()),
            codes=dict(Counter(event.code for event in events if event.code).most_common()),
            prompt_tokens=sum(event.prompt_tokens for event in events),
            completion_tokens=sum(event.completion_tokens for event in events),
            days=tuple((stamp(day * _DAY)[:10], days[day], failed[day]) for day in sorted(days)),
            versions={name: counts.get((digest,), 0) for digest, name in versions.items()},
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "requests": self.requests,
            "failed": self.failed,
            "codes": dict(self.codes),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "days": [{"day": day, "requests": count, "failed": failed} for day, count, failed in self.days],
            "versions": dict(self.versions),
        }


@dataclass(frozen=True)
class MonitorReport:
    """Everything one look found."""

    name: str
    """The model as it was named."""
    digest: str
    version: str
    kind: str
    changes: tuple[Change, ...]
    """The surest first."""
    windows: tuple[Window, ...]
    """Oldest first."""
    traffic: Traffic
    agreement: tuple[Agreement, ...]
    """By version."""
    reference: str
    """In words, what the traffic is compared with."""
    level: Level
    notes: tuple[str, ...] = ()
    """What a reader should know."""
    created: float = field(default=0.0)
    """Unix seconds."""
    since: float | None = None
    """No request before was looked at."""

    @property
    def verdict(self) -> Verdict:
        """`moved` where a change is still so, `too little data` where nothing could be tested, else `steady`."""
        if any(change.ongoing for change in self.changes):
            return "moved"
        return "steady" if any(window.tests for window in self.windows) else "too little data"

    @property
    def words(self) -> str:
        """The verdict in a sentence."""
        ongoing = [change for change in self.changes if change.ongoing]
        if ongoing:
            first = min(ongoing, key=lambda change: change.since_number)
            more = f", and {len(ongoing) - 1} more" if len(ongoing) > 1 else ""
            return f"traffic has moved since {stamp(first.since)}: {ongoing[0].words}{more}"
        if self.verdict == "too little data":
            return "too little data to say whether traffic has moved"
        past = f"; {len(self.changes)} changes came and went" if self.changes else ""
        return f"traffic is what it was in {len(self.windows)} windows{past}"

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values only."""
        return {
            "format": FORMAT,
            "name": self.name,
            "digest": self.digest,
            "version": self.version,
            "kind": self.kind,
            "verdict": self.verdict,
            "words": self.words,
            "changes": [change.to_json() for change in self.changes],
            "windows": [window.to_json() for window in self.windows],
            "traffic": self.traffic.to_json(),
            "agreement": [one.to_json() for one in self.agreement],
            "reference": self.reference,
            "level": self.level.to_json(),
            "notes": list(self.notes),
            "created": stamp(self.created),
            "since": None if self.since is None else stamp(self.since),
        }


def stamp(seconds: float) -> str:
    """Unix seconds as UTC in ISO 8601."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
