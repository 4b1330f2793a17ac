"""Commands that keep an eye on what is served: monitor, feedback list, feedback export."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cyclopts import App, Parameter

from bowerbird.cli import show
from bowerbird.cli.events import place_of
from bowerbird.cli.making import space
from bowerbird.cli.options import OUTPUT, SETTINGS, Output, Settings

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model
    from bowerbird.monitoring.alerts import Alerts
    from bowerbird.monitoring.feedback import Agreement, Verdict
    from bowerbird.monitoring.monitor import MonitorConfig
    from bowerbird.monitoring.report import Change, MonitorReport
    from bowerbird.monitoring.store import EventStore
    from bowerbird.monitoring.window import Observed
    from bowerbird.workspace import Workspace

_SHOWN = 60
"""Characters of a text in a table."""


@Parameter(name="*")
@dataclass(frozen=True)
class Alerting:
    """Who is told when traffic has moved; once of each change, and without the examples."""

    alert_file: Path | None = None
    """A line of JSON is appended to it."""
    alert_command: str | None = None
    """It is run, without a shell, with the alert as JSON on its standard input."""
    alert_webhook: str | None = None
    """An address of the web: the alert is sent to it by POST, as JSON."""


ALERTING = Alerting()


def monitor(
    name: str,
    *,
    since: str | None = None,
    window: int | None = None,
    html: Path | None = None,
    watch: float | None = None,
    events_store: str | None = None,
    alerting: Alerting = ALERTING,
    settings: Settings = SETTINGS,
    output: Output = OUTPUT,
) -> None:
    """Tell whether a model's traffic is still like its held-out data: what moved, since when, and how sure that is.

    Example: bowerbird monitor poems@live --since 7d --html traffic.html

    It needs recorded events (`bowerbird serve --events sampled` or `full` for what prompts are like; counts tell of
    lengths and failures only). The exit code is 0 also where traffic has moved; with --json, "verdict" is moved,
    steady or too little data. Private data in the examples is masked.

    Parameters
    ----------
    name
        A published name as poems or poems@live, a run or bundle that is served, or a file of events.
    since
        Look at no request before: 2026-11-27, 2026-11-27T14:00, or 7d for seven days ago.
    window
        How many requests are looked at together; 200 unless set.
    html
        A page to write, with plots over time.
    watch
        Look again every so many seconds, until Ctrl-C; with --json a line each time.
    events_store
        Where events are, if not in the workspace: a file or a URL.
    """
    from bowerbird import lifecycle
    from bowerbird.base.config import resolve
    from bowerbird.base.errors import UsageError
    from bowerbird.monitoring.alerts import Alerts
    from bowerbird.monitoring.monitor import MonitorConfig
    from bowerbird.monitoring.when import moment

    layer = {} if window is None else {"window": window}
    config = resolve(
        MonitorConfig, layer, config_file=settings.config, settings=settings.set, where="monitor"
    )
    if watch is not None and not watch >= 1:
        raise UsageError(f"--watch wants seconds, 1 or more, not {watch:g}")
    alerts = Alerts(alerting.alert_file, alerting.alert_command, alerting.alert_webhook)
    start = None if since is None else moment(since)
    workspace = space(output)
    with _events(name, events_store, workspace) as (store, model):
        look = _Look(model, store, workspace, config, start, html, alerts, output)
        look.once(lifecycle.load(model, workspace=workspace))
        while watch is not None:
            time.sleep(watch)
            look.once(None)


@dataclass
class _Look:
    """What is done each time."""

    name: str
    store: EventStore
    workspace: Workspace
    config: MonitorConfig
    since: float | None
    html: Path | None
    alerts: Alerts
    output: Output

    def __post_init__(self) -> None:
        self._seen: dict[int, Observed] = {}
        self._model: Model | None = None
        self._told: set[str] = set()
        """Statistics whose change somebody was told of, while it lasts."""

    def once(self, model: Model | None) -> None:
        """Look, show, write the page, and tell of what is new."""
        from bowerbird.base.files import write_whole
        from bowerbird.monitoring.monitor import monitor as look
        from bowerbird.monitoring.page import html

        report = look(
            self.name,
            store=self.store,
            workspace=self.workspace,
            config=self.config,
            since=self.since,
            model=self._current(model),
            seen=self._seen,
        )
        if self.html is not None:
            write_whole(self.html, html(report).encode())
        then = f"bowerbird update {report.name.partition('@')[0]}" if report.verdict == "moved" else None
        show.result(self.output, report.to_json(), _lines(report), then)
        ongoing = {change.statistic for change in report.changes if change.ongoing}
        if ongoing - self._told:
            for failure in self.alerts.send(_alert(report)):
                show.warn(self.output, failure)
        self._told = ongoing

    def _current(self, model: Model | None) -> Model:
        """The model that the name stands for now."""
        from bowerbird import lifecycle

        published = self.workspace.resolve(self.name).published
        if model is not None:
            self._model = model
        elif self._model is None or (published is not None and published.digest != self._model.digest):
            self._model = lifecycle.load(self.name, workspace=self.workspace)
            self._seen.clear()
        assert self._model is not None
        return self._model


def _alert(report: MonitorReport) -> dict[str, Any]:
    """What others are told: no words of any caller."""
    told = report.to_json()
    changes = [
        {key: value for key, value in change.items() if key != "examples"} for change in told["changes"]
    ]
    kept = ("name", "version", "digest", "verdict", "words", "created")
    return {**{key: told[key] for key in kept}, "changes": changes}


@contextmanager
def _events(name: str, events_store: str | None, workspace: Workspace) -> Iterator[tuple[EventStore, str]]:
    """The store to look into, and the model to look for."""
    from bowerbird.monitoring.exported import model_in, open_events
    from bowerbird.monitoring.store import EventStore

    if Path(name).is_file():
        with open_events(Path(name)) as store:
            yield store, model_in(store)
    else:
        with EventStore(place_of(events_store, workspace), create=False) as store:
            yield store, name


def _lines(report: MonitorReport) -> list[str]:
    from bowerbird.monitoring.report import stamp

    traffic = report.traffic
    lines = [
        f"{report.version}: {report.words}",
        f"{traffic.requests:,} requests looked at, {len(report.windows):,} windows; {traffic.failed:,} failed; "
        f"compared with {report.reference}",
    ]
    for change in report.changes:
        lines += _of_change(change)
    if report.windows and report.windows[-1].tests:
        window = report.windows[-1]
        rows = [_row(report, name) for name in sorted(window.tests, key=lambda name: window.corrected[name])]
        lines += ["", f"the newest window, to {stamp(window.ended)}:"]
        lines += show.table(rows, ("what", "normal", "now", "chance, corrected", ""))
    told = [one for one in report.agreement if one.up + one.down]
    if told:
        lines += ["", *_agreement(told)]
    level = report.level
    lines += [
        "",
        f"level: {level.alpha:g} for any false alarm in {level.looks:,} windows, {level.per_look:.2g} in each",
    ]
    return lines + [f"note: {note}" for note in report.notes]


def _of_change(change: Change) -> list[str]:
    from bowerbird.monitoring.report import stamp
    from bowerbird.monitoring.words import amount, number

    since = "from the first request looked at" if change.from_start else f"since {stamp(change.since)}"
    until = "" if change.until is None else f", until {stamp(change.until)}"
    low, high = (number(end, change.unit) for end in change.interval)
    lines = [
        "",
        change.words,
        f"  {since}{until}, {change.requests:,} requests; compared with {change.against}",
        f"  difference {amount(change.effect, change.unit)} (95 % interval {low} to {high}); "
        f"chance of this without a change: {change.p:.1g}",
    ]
    if change.top_caller is not None and change.top_caller > 0.5:
        lines.append(f"  one caller made {change.top_caller:.0%} of these requests")
    return lines + [f"  prompt: {' '.join(text.split())}" for text in change.examples]


def _row(report: MonitorReport, statistic: str) -> tuple[str, ...]:
    from bowerbird.monitoring.words import amount, number, wording

    window = report.windows[-1]
    test, told = window.tests[statistic], wording(statistic, report.kind)
    name = f"{told.name}: {test.name}" if test.name else told.name
    mark = "moved" if statistic in window.alarms else ""
    chance = f"{window.corrected[statistic]:.2g}"
    return name, number(test.before, told.unit), amount(test.after, told.unit), chance, mark


def _agreement(told: list[Agreement]) -> list[str]:
    rows = []
    for one in told:
        ends = f"{one.interval[0]:.0%} to {one.interval[1]:.0%}" if one.interval else "-"
        rows.append((one.version, "-" if one.share is None else f"{one.share:.0%}", ends, one.up, one.down))
    return show.table(rows, ("version", "found good", "95 % interval", "up", "down"))


def list_(name: str, *, limit: int = 20, output: Output = OUTPUT) -> None:
    """List the verdicts on a model's answers, and how many each version's answers were found good.

    Example: bowerbird feedback list poems

    Parameters
    ----------
    name
        A published name; poems means poems@live and poems@3 as well. Or the id a folder was served by.
    limit
        So many of the newest.
    """
    from bowerbird.monitoring.feedback import agreement
    from bowerbird.monitoring.report import stamp

    verdicts = _verdicts(name, output)
    versions = _versions(name, verdicts, output)
    counted = agreement(verdicts, versions)
    newest = sorted(verdicts, key=lambda verdict: verdict.time)[-limit:][::-1] if limit > 0 else []
    rows = [
        (
            stamp(verdict.time),
            versions.get(verdict.digest or "", verdict.model),
            "-" if verdict.rating is None else f"{verdict.rating:+g}",
            _short(verdict.prompt),
            _short(verdict.text),
            _short(verdict.correction or verdict.comment or ""),
        )
        for verdict in newest
    ]
    lines = show.table(rows, ("when", "version", "rating", "prompt", "answer", "correction or comment"))
    lines += ["", *_agreement([one for one in counted if one.up + one.down])]
    told = {
        "name": name,
        "agreement": [one.to_json() for one in counted],
        "verdicts": [_told(verdict) for verdict in newest],
        "total": len(verdicts),
    }
    show.result(output, told, lines, f"bowerbird feedback export {name} --out FOLDER")


def export(name: str, *, out: Path, output: Output = OUTPUT) -> None:
    """Write the corrections and the answers found good into a folder that `prepare` and `update` read.

    Example: bowerbird feedback export poems --out feedback/poems

    Each row says in `origin` who wrote it: a person, or the model.

    Parameters
    ----------
    name
        A published name, or the id a folder was served by.
    out
        The folder to make.
    """
    from bowerbird.monitoring.feedback import MODEL, PERSON
    from bowerbird.monitoring.feedback import export as write

    counts = write(_verdicts(name, output), out, chat=_chats(name, output))
    line = f"{counts[PERSON]:,} corrections and {counts[MODEL]:,} answers found good, in {out}"
    show.result(output, {"path": str(out), "rows": counts}, [line], f"bowerbird prepare {out} --out DATASET")


def _verdicts(name: str, output: Output) -> list[Verdict]:
    """Raises NotFound: nobody has said anything of this model."""
    from bowerbird.base.errors import NotFound
    from bowerbird.monitoring.feedback import read

    folder = space(output).root / "feedback"
    found = list(read(folder, name))
    if not found:
        raise NotFound(
            f"there is no feedback on `{name}`", where=folder, hint="verdicts come by POST /v1/feedback"
        )
    return found


def _versions(name: str, verdicts: list[Verdict], output: Output) -> dict[str, str]:
    """What to call each version that somebody spoke of, by digest."""
    from bowerbird.base.errors import BowerbirdError

    try:
        known = {
            one.digest: f"{one.name}@{one.version}"
            for one in space(output).registry.versions(name.partition("@")[0])
        }
    except BowerbirdError:
        known = {}
    other = {verdict.digest: verdict.digest[:19] for verdict in verdicts if verdict.digest}
    return {**other, **known}


def _chats(name: str, output: Output) -> bool:
    """Whether it is a model of chats; one that is not here any more is taken for none."""
    from bowerbird.base.errors import BowerbirdError
    from bowerbird.store.bundle import open_bundle

    try:
        return bool(open_bundle(space(output).resolve(name).path).manifest["structure"] == "chat")
    except BowerbirdError:
        return False


def _told(verdict: Verdict) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(verdict)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}..."


def add(app: App) -> None:
    app.command(monitor)
    group = App(
        name="feedback",
        help=(
            "List the verdicts on a model's answers, and export what is fit to learn from.\n\n"
            "Example: bowerbird feedback list poems\n\n"
            "Each of these takes --json, --quiet and --workspace."
        ),
        version_flags=(),
    )
    group.command(list_, name="list")
    group.command(export)
    app.command(group)
