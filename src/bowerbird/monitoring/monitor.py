"""`monitor`: whether a model's traffic is still what it was made for; what moved, since when, and how sure that is."""

from __future__ import annotations

import time
from collections.abc import Iterator, MutableMapping, Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.base.errors import BowerbirdError
from bowerbird.evaluation.reference import Reference, read_reference
from bowerbird.monitoring import feedback
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.findings import changes_of, looked_at
from bowerbird.monitoring.normal import HELD_OUT, OWN_SAMPLES, Normal, OfReference, OfTraffic
from bowerbird.monitoring.report import Level, MonitorReport, Traffic
from bowerbird.monitoring.store import EventStore
from bowerbird.monitoring.window import OUTPUTS, PROMPTS, TRAFFIC, Observed, observe
from bowerbird.workspace import Located, Workspace

if TYPE_CHECKING:
    from bowerbird.data.dataset import Dataset
    from bowerbird.kinds.loaded import Model

FEWEST_PASSAGES = 30
"""A reference of fewer says nothing."""
SHADOW = "shadow"
Seen = MutableMapping[int, Observed]
"""Requests that were measured before, by their number in the store."""


class MonitorConfig(Config):
    """How traffic is looked at."""

    window: int = Field(200, ge=30)
    """Requests that are looked at together."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """The chance of a false alarm in so many windows as `looks` says."""
    looks: int = Field(100, ge=1)
    """Windows that `alpha` is spent over, in equal parts."""
    baseline: int = Field(500, ge=30)
    """The first requests of a version, which lengths and failures are compared with."""
    most_events: int = Field(5_000, ge=60)
    """The newest requests that are looked at."""
    against: Literal["reference", "traffic"] = "reference"
    """What prompts and answers are compared with: the model's held-out data, or the first traffic."""
    examples: int = Field(3, ge=0, le=20)
    """Prompts that are shown of each change, private data masked."""
    seed: int = Field(1, ge=0)
    """Of the lots that order equal values."""


CONFIG = MonitorConfig()


def monitor(
    name: str,
    *,
    store: EventStore,
    workspace: Workspace | None = None,
    config: MonitorConfig = CONFIG,
    since: float | None = None,
    model: Model | None = None,
    seen: Seen | None = None,
) -> MonitorReport:
    """Compare a model's newest traffic with what is normal for it, a window after the other.

    Args:
        name: of a published model, as `poems` or `poems@live`, or a run or bundle that is served.
        store: where its requests are.
        workspace: where the model, and the feedback on it, are.
        config: how.
        since: look at no request before, Unix seconds.
        model: the model, where it has been loaded already.
        seen: what was measured by an earlier call; this call adds to it.

    Raises:
        NotFound: there is no such model.
        CorruptFile: its reference statistics are damaged.
    """
    from bowerbird import lifecycle

    space = workspace or Workspace()
    located = space.resolve(name)
    found = model or lifecycle.load(name, workspace=space)
    notes: list[str] = []
    reference = _reference(found, config, notes)
    first = list(_traffic(store.read(digest=found.digest, limit=config.baseline)))
    newest = store.read(digest=found.digest, since=since, limit=config.most_events, newest_first=True)
    events = list(_traffic(newest))[::-1]
    kept: Seen = {} if seen is None else seen
    _measure([*first, *events], found, reference, _training(found, space, reference), kept)
    stream = [kept[event.number] for event in events[_skipped(found.digest, events, store, since, config) :]]
    for number in kept.keys() - {event.number for event in (*first, *events)}:
        del kept[number]
    normal = Normals(reference, [kept[event.number] for event in first], config.against)
    windows = list(looked_at(stream, normal, config))
    changes = changes_of(stream, windows, normal, found.kind.name, config)
    notes += _told(events, windows, config)
    versions = _versions(name, located, found.digest, space)
    verdicts = feedback.read(space.root / "feedback", located.name)
    return MonitorReport(
        name=name,
        digest=found.digest,
        version=versions[found.digest],
        kind=found.kind.name,
        changes=tuple(changes),
        windows=tuple(windows),
        traffic=Traffic.of(events, store.counts(("digest",)), versions),
        agreement=tuple(feedback.agreement(verdicts, versions)),
        reference=_describe(reference, config),
        level=Level(config.alpha, config.looks),
        notes=tuple(notes),
        created=time.time(),
        since=since,
    )


class Normals:
    """What is normal, by statistic."""

    def __init__(self, reference: Reference | None, first: Sequence[Observed], against: str):
        self._reference = reference if against == "reference" else None
        self._first = first
        self._last = first[-1].number if first else 0
        self._known: dict[str, Normal | None] = {}

    def of(self, statistic: str, start: int) -> Normal | None:
        """For a window that begins with this request; None where nothing is known that is not of the window."""
        if statistic not in self._known:
            self._known[statistic] = self._find(statistic)
        found = self._known[statistic]
        return None if isinstance(found, OfTraffic) and start <= self._last else found

    def usual_only(self, statistic: str) -> bool:
        """Whether only requests at usual settings can be compared: of answers, with the model's own samples."""
        return isinstance(self._known.get(statistic), OfReference) and statistic.startswith(OUTPUTS)

    def _find(self, statistic: str) -> Normal | None:
        side, _, name = statistic.partition(".")
        pictures = self._reference is not None and self._reference.kind == "image" and side == OUTPUTS
        if self._reference is not None and side != TRAFFIC and not pictures:
            measured = self._reference.prompts if side == PROMPTS else self._reference.outputs
            if measured is None or len(measured) < FEWEST_PASSAGES:
                return None
            if name not in measured.numbers and name not in measured.classes:
                return None
            return OfReference(measured, name, HELD_OUT if side == PROMPTS else OWN_SAMPLES)
        traffic = OfTraffic(self._first, statistic)
        return traffic if len(traffic) >= FEWEST_PASSAGES else None


def _traffic(events: Iterator[Event]) -> Iterator[Event]:
    """Without copies of requests that were answered by another version."""
    return (event for event in events if event.arm != SHADOW)


def _skipped(
    digest: str, events: Sequence[Event], store: EventStore, since: float | None, config: MonitorConfig
) -> int:
    """How many of the oldest are left out, so that windows are cut at the same places at every look."""
    if since is not None:
        return 0
    older = sum(store.counts((), digest=digest).values()) - len(events)
    return -older % config.window


def _measure(
    events: Sequence[Event],
    model: Model,
    reference: Reference | None,
    training: Dataset | None,
    seen: Seen,
) -> None:
    """Measure what was not measured before."""
    new = {event.number: event for event in events if event.number not in seen}
    for found in observe(list(new.values()), model, reference, training):
        seen[found.number] = found


def _reference(model: Model, config: MonitorConfig, notes: list[str]) -> Reference | None:
    found = read_reference(model.bundle.path, model.digest)
    if found is None:
        notes.append(
            "this model has no reference statistics, so its traffic is compared with its own first traffic: "
            "`bowerbird evaluate MODEL --dataset DATASET` writes them"
        )
    elif found.prompts is None or len(found.prompts) < FEWEST_PASSAGES:
        told = 0 if found.prompts is None else len(found.prompts)
        notes.append(
            f"only {told} held-out passages are known of this model, too few to compare with: its traffic is "
            "compared with its own first traffic"
        )
        return None
    return found


def _training(model: Model, space: Workspace, reference: Reference | None) -> Dataset | None:
    """The dataset that answers of text are searched in; None where it is not here."""
    from bowerbird.runs.judging import own_dataset

    if model.kind.name != "text" or reference is None:
        return None
    try:
        found = own_dataset(model, space)
    except BowerbirdError:
        return None
    return found if found.digest == model.bundle.manifest["lineage"].get("dataset") else None


def _told(events: Sequence[Event], windows: Sequence[object], config: MonitorConfig) -> list[str]:
    """What a reader should know of the traffic that was looked at."""
    notes = []
    worded = [event for event in events if event.kind != "image"]
    if worded and all(event.prompt is None for event in worded):
        notes.append(
            "no words are recorded, so only counts are compared: `bowerbird serve --events sampled` records some"
        )
    callers = {event.session or event.owner for event in events}
    if events and callers == {""}:
        notes.append("callers are not known (no keys, no sessions): each request is taken as one of its own")
    elif events and len(callers) < 5:
        notes.append(f"there are only {len(callers)} callers: a change may be one of theirs alone")
    if not windows:
        notes.append(f"{len(events):,} requests are fewer than a window of {config.window:,}")
    return notes


def _versions(name: str, located: Located, digest: str, space: Workspace) -> dict[str, str]:
    """What to call each version of the name, by digest, the one looked at among them."""
    if located.published is None:
        return {digest: name}
    try:
        known = space.registry.versions(located.name)
    except BowerbirdError:
        known = [located.published]
    return {one.digest: f"{one.name}@{one.version}" for one in known}


def _describe(reference: Reference | None, config: MonitorConfig) -> str:
    if reference is None or config.against == "traffic":
        return "the first traffic of this version"
    count = len(reference.prompts) if reference.prompts else 0
    what = (
        "class labels" if reference.kind == "image" else "tunes" if reference.kind == "melody" else "passages"
    )
    split = "training" if reference.kind == "image" else reference.split
    return (
        f"{count:,} {what} of the {split} split; lengths and failures with the first traffic of this version"
    )
