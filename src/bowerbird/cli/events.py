"""Commands of recorded events: events list, events delete, events export; and what `serve` records them with."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, Output

if TYPE_CHECKING:
    from bowerbird.monitoring.events import Event
    from bowerbird.monitoring.recorder import Recorder
    from bowerbird.monitoring.store import EventStore
    from bowerbird.serving.sink import EventSettings
    from bowerbird.workspace import Workspace

CLOSE_SECONDS = 5.0
"""For what waits to be written when a server stops."""
_DAY = 86400.0


@Parameter(name="*")
@dataclass(frozen=True)
class Which:
    """Which events."""

    model: str | None = None
    """Only those of this model, by the id it was asked for by."""
    owner: str | None = None
    """Only those of this key, by its id as `keys list` shows it."""
    session: str | None = None
    """Only those of this session."""
    since: str | None = None
    """Only those from this time on: 2026-11-27, 2026-11-27T14:00, or 7d for seven days ago."""
    before: str | None = None
    """Only those before this time."""

    @property
    def fields(self) -> dict[str, Any]:
        """As `EventStore.read` and `counts` take them."""
        from bowerbird.monitoring.when import moment

        return {
            "model": self.model,
            "owner": self.owner,
            "session": self.session,
            "since": None if self.since is None else moment(self.since),
            "until": None if self.before is None else moment(self.before),
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Recorded:
    """What `serve` records of requests, and where."""

    events: Literal["off", "counts", "sampled", "full"] = "counts"
    """What is recorded of each request: nothing; all but texts; of a share of them (--set events.share) the texts
    too; or of all."""
    events_store: str | None = None
    """An SQLite file, or an SQLAlchemy URL as postgresql://USER@HOST/NAME; else events.sqlite in the workspace."""


WHICH = Which()
RECORDED = Recorded()


def list_(
    *,
    limit: int = 20,
    texts: Annotated[bool, Parameter(negative="")] = False,
    which: Which = WHICH,
    events_store: str | None = None,
    output: Output = OUTPUT,
) -> None:
    """List what was recorded of the last requests, and count all of them.

    Example: bowerbird events list --model poems@live --since 7d

    Parameters
    ----------
    limit
        So many of the newest.
    texts
        Show prompts and outputs too, where they were recorded.
    events_store
        Where events are, if not in the workspace: a file or a URL.
    """
    fields = which.fields
    store = _store(events_store, output)
    counted = store.counts(("model", "status"), **fields)
    found = list(store.read(**fields, limit=limit, newest_first=True))
    told = {
        "store": store.where,
        "bytes": store.size_bytes(),
        "events": [_told(event, texts) for event in found],
        "counts": [
            {"model": model, "status": status, "events": count}
            for (model, status), count in sorted(counted.items())
        ],
    }
    total = sum(counted.values())
    lines = [*_table(found, texts), f"{total:,} events in {store.where}"]
    show.result(output, told, lines, "bowerbird events export --out events.jsonl" if total else None)


def delete(
    *,
    yes: Annotated[bool, Parameter(negative="")] = False,
    which: Which = WHICH,
    events_store: str | None = None,
    output: Output = OUTPUT,
) -> None:
    """Delete what was recorded of a key's requests, of a session, of a model, or before a time, for good.

    Example: bowerbird events delete --owner 3fa9c01b --yes

    All of what is said must be true of an event. A server that runs may write what it has under way a moment later.
    Verdicts (`feedback/` in the workspace) are not touched.

    Parameters
    ----------
    yes
        Do it; without this it is only said how many there are.
    events_store
        Where events are, if not in the workspace: a file or a URL.
    """
    from bowerbird.base.errors import Refused, UsageError

    if which.since is not None:
        raise UsageError("what is deleted ends at a time, and begins at none", hint="--before 2026-11-27")
    fields = which.fields
    if all(value is None for value in fields.values()):
        raise UsageError(
            "say which events", hint="--owner KEY_ID, --session NAME, --model NAME or --before DATE"
        )
    store = _store(events_store, output)
    count = sum(store.counts((), **fields).values())
    if count and not yes:
        raise Refused(
            f"{count:,} events would be deleted for good", where=store.where, hint="add --yes to do it"
        )
    deleted = (
        store.delete(owner=which.owner, session=which.session, model=which.model, before=fields["until"])
        if count
        else 0
    )
    show.result(
        output,
        {"store": store.where, "deleted": deleted},
        [f"deleted {deleted:,} events"],
        "bowerbird events list",
    )


def export(
    *,
    out: Path,
    texts_only: Annotated[bool, Parameter(negative="")] = False,
    which: Which = WHICH,
    events_store: str | None = None,
    output: Output = OUTPUT,
) -> None:
    """Write events to a file, one JSON object a line, oldest first.

    Example: bowerbird events export --model poems@live --since 2026-11-01 --out events.jsonl

    Parameters
    ----------
    out
        The file to make; it is yours alone.
    texts_only
        Only events of which a text was recorded.
    events_store
        Where events are, if not in the workspace: a file or a URL.
    """
    from bowerbird.base.files import whole_file

    fields = which.fields
    store = _store(events_store, output)
    count = 0
    with whole_file(out) as file:
        for event in store.read(**fields, texts_only=texts_only):
            file.write((json.dumps(_told(event, True), ensure_ascii=False) + "\n").encode())
            count += 1
    show.result(output, {"path": str(out), "events": count}, [f"{count:,} events in {out}"])


@contextmanager
def recording(recorded: Recorded, settings: EventSettings, workspace: Workspace) -> Iterator[Recorder | None]:
    """While inside, what `serve` hands its requests to; None where nothing is recorded. What waits at the end is
    written."""
    if recorded.events == "off":
        yield None
        return
    from bowerbird.monitoring.recorder import Recorder
    from bowerbird.monitoring.retention import Retention
    from bowerbird.monitoring.store import EventStore

    days = settings.most_age_days
    with EventStore(place_of(recorded.events_store, workspace)) as store:
        recorder = Recorder(
            store,
            recorded.events,
            settings.share,
            mask=settings.mask,
            retention=Retention(None if days is None else days * _DAY, settings.most_bytes),
            tallies=workspace.root / "recorders",
        )
        try:
            yield recorder
        finally:
            lost = recorder.close(CLOSE_SECONDS)
            if lost:
                show.STDERR.print(f"warning: {lost:,} events were lost", style="yellow", markup=False)


def told_at_start(recorded: Recorded, settings: EventSettings, workspace: Workspace) -> str:
    """What the server says of it when it starts."""
    if recorded.events == "off":
        return "events: off, nothing is recorded"
    from bowerbird.monitoring.store import checked_place

    what = {
        "counts": "counts, no texts",
        "sampled": f"sampled, the texts of {settings.share:.0%} of answers",
        "full": "full, all texts",
    }[recorded.events]
    masked = "" if recorded.events == "counts" else ", masked" if settings.mask else ", not masked"
    days = "" if settings.most_age_days is None else f", for {settings.most_age_days:g} days"
    where = checked_place(place_of(recorded.events_store, workspace)).shown
    return f"events: {what}{masked}{days}, in {where}"


def place_of(events_store: str | None, workspace: Workspace) -> str | Path:
    """What `--events-store` names, or the file in the workspace."""
    from bowerbird.monitoring.store import FILE

    return events_store or workspace.root / FILE


def _store(events_store: str | None, output: Output) -> EventStore:
    from bowerbird.monitoring.store import EventStore

    return EventStore(place_of(events_store, space(output)), create=False)


def _told(event: Event, texts: bool) -> dict[str, Any]:
    told = asdict(event)
    if not texts:
        del told["prompt"], told["output"]
    return told


def _table(events: list[Event], texts: bool) -> list[str]:
    """Newest first, as rows; texts on lines of their own below."""
    from bowerbird.monitoring.when import written

    head = ("number", "time (UTC)", "model", "owner", "arm", "status", "ended", "tokens", "seconds")
    rows = [
        (
            event.number,
            written(event.time),
            event.model or "-",
            event.owner or "-",
            event.arm or "-",
            event.status,
            event.code or event.finish_reason or "-",
            f"{event.prompt_tokens}+{event.completion_tokens}",
            f"{event.seconds:.3f}",
        )
        for event in events
    ]
    if not events:
        return []
    lines = show.table(rows, head)
    if not texts:
        return lines
    shown = [lines[0]]
    for line, event in zip(lines[1:], events, strict=True):
        shown.append(line)
        shown += [f"    {text!r}" for text in (event.prompt, event.output) if text is not None]
    return shown


def add(app: App) -> None:
    group = App(
        name="events",
        help=(
            "List, delete and export what was recorded of requests to your models.\n\n"
            "Example: bowerbird events list\n\n"
            "`serve --events full` records prompts and answers, `counts` all but texts. Each of these takes --json, "
            "--quiet and --workspace, and --events-store for events kept elsewhere than in the workspace."
        ),
        version_flags=(),
    )
    group.command(list_, name="list")
    group.command(delete)
    group.command(export)
    app.command(group)
