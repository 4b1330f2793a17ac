"""A look at a model's traffic as one HTML page: no scripts, nothing fetched, plots over time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from bowerbird.evaluation.page import document, figure, harmless
from bowerbird.evaluation.plots import counts, over_time
from bowerbird.monitoring.report import Change, MonitorReport, stamp
from bowerbird.monitoring.words import amount, number, wording

_CLASS = {"moved": "bad", "steady": "good"}


def html(report: MonitorReport) -> str:
    """The whole page. Without matplotlib it has its tables only, and says so."""
    sections = [
        _head(report),
        _tiles(report),
        *[_change(change, report.kind) for change in report.changes],
        _traffic(report),
        _plots(report),
        _agreement(report),
        _notes(report),
        _foot(report),
    ]
    return document(f"{report.name}: traffic", sections)


def _head(report: MonitorReport) -> str:
    mark = _CLASS.get(report.verdict, "quiet")
    return (
        f"<h1>{harmless(report.name)}</h1>\n"
        f'<p class="quiet">{harmless(report.version)} <code>{harmless(report.digest)}</code></p>\n'
        f'<p><b class="{mark}">{harmless(report.verdict)}</b>: {harmless(report.words)}</p>'
    )


def _tiles(report: MonitorReport) -> str:
    traffic = report.traffic
    failed = traffic.failed / traffic.requests if traffic.requests else 0.0
    rows = [
        ("Requests looked at", f"{traffic.requests:,}", f"{len(report.windows):,} windows"),
        ("Failed", f"{100 * failed:.1f} %", f"{traffic.failed:,} requests"),
        ("Changes", str(sum(change.ongoing for change in report.changes)), f"{len(report.changes)} ever"),
    ]
    own = next((one for one in report.agreement if one.version == report.version), None)
    if own is not None and own.share is not None:
        rows.append(("Found good", f"{100 * own.share:.0f} %", f"{own.up + own.down:,} verdicts"))
    tiles = "".join(
        f'<div class="tile"><div class="name">{name}</div><div class="value">{value}</div>'
        f'<div class="quiet">{below}</div></div>'
        for name, value, below in rows
    )
    return f'<div class="tiles">{tiles}</div>'


def _change(change: Change, kind: str) -> str:
    low, high = (number(end, change.unit) for end in change.interval)
    begun = "from the first request looked at" if change.from_start else f"since {stamp(change.since)}"
    until = "" if change.until is None else f", until {stamp(change.until)}"
    facts = [
        f"{begun}{until}, {change.requests:,} requests",
        f"difference {amount(change.effect, change.unit)}, 95 % interval {low} to {high}",
        f"compared with {change.against}",
        f"chance of this without a change: {change.p:.1g}",
    ]
    if change.top_caller is not None and change.top_caller > 0.5:
        facts.append(f"one caller made {change.top_caller:.0%} of these requests")
    items = "".join(f"<li>{harmless(fact)}</li>" for fact in facts)
    examples = "".join(
        f'<div class="text"><span class="label">a prompt</span>{harmless(text)}</div>'
        for text in change.examples
    )
    head = wording(change.statistic, kind).name
    return (
        f"<h2>{harmless(head[0].upper() + head[1:])}</h2>\n<p>{harmless(change.words)}</p>\n"
        f'<ul class="facts quiet">{items}</ul>\n{examples}'
    )


def _traffic(report: MonitorReport) -> str:
    traffic = report.traffic
    if not traffic.days:
        return ""
    days, requests, failed = zip(*traffic.days, strict=True)
    rows = "".join(
        f"<tr><td>{harmless(name)}</td><td>{count:,}</td></tr>" for name, count in traffic.versions.items()
    )
    codes = "".join(
        f"<tr><td>error <code>{harmless(code)}</code></td><td>{count:,}</td></tr>"
        for code, count in traffic.codes.items()
    )
    drawn = figure(
        partial(counts, days, [("all", requests), ("failed", failed)], "requests"),
        "Requests of each day, in UTC; those that failed in the darker colour.",
    )
    return (
        f'<h2>Traffic</h2>\n{drawn}\n<div class="table"><table><tr><th>of the store</th><th>requests</th></tr>'
        f"{rows}{codes}</table></div>"
    )


def _plots(report: MonitorReport) -> str:
    """A plot of each statistic over the windows, those that moved first."""
    moved = [change.statistic for change in report.changes]
    tested = sorted({name for window in report.windows for name in window.tests})
    order = [*moved, *(name for name in tested if name not in moved)]
    drawn = [_plot(report, statistic) for statistic in order]
    return "<h2>Over time</h2>\n" + "\n".join(drawn) if drawn else ""


def _plot(report: MonitorReport, statistic: str) -> str:
    windows = [window for window in report.windows if statistic in window.tests]
    tests = [window.tests[statistic] for window in windows]
    told = wording(statistic, report.kind)
    name = _class_shown([test.name for test in tests])
    scale = 100.0 if told.unit == "share" else 1.0
    unit = "%" if told.unit == "share" else told.unit
    drawn = partial(
        over_time,
        [window.ended for window in windows],
        [scale * test.after for test in tests],
        [scale * test.before for test in tests],
        [statistic in window.alarms for window in windows],
        unit,
    )
    shown = f" ({name})" if name else ""
    caption = f"{told.name}{shown}: each window, and what is normal (dashed); a ring marks an alarm."
    return figure(drawn, caption[0].upper() + caption[1:])


def _class_shown(names: Sequence[str]) -> str:
    different = sorted({name for name in names if name})
    if not different:
        return ""
    return different[0] if len(different) == 1 else "in each window the class that differs most"


def _agreement(report: MonitorReport) -> str:
    told = [one for one in report.agreement if one.up + one.down]
    if not told:
        return ""
    rows = []
    for one in told:
        ends = f"{100 * one.interval[0]:.0f} to {100 * one.interval[1]:.0f} %" if one.interval else "–"
        share = "–" if one.share is None else f"{100 * one.share:.0f} %"
        rows.append(
            f"<tr><td>{harmless(one.version)}</td><td><b>{share}</b></td><td>{ends}</td>"
            f"<td>{one.up:,}</td><td>{one.down:,}</td></tr>"
        )
    head = "<tr><th>version</th><th>found good</th><th>95 % interval</th><th>up</th><th>down</th></tr>"
    return f'<h2>Feedback</h2>\n<div class="table"><table>{head}{"".join(rows)}</table></div>'


def _notes(report: MonitorReport) -> str:
    level = report.level
    notes = [
        f"Compared with: {report.reference}.",
        f"Level: at most {level.alpha:.0%} chance of any false alarm in {level.looks:,} windows "
        f"({level.per_look:.2g} in each).",
        *(f"{note[0].upper()}{note[1:]}." for note in report.notes),
    ]
    return "<h2>To be known</h2>\n" + "\n".join(f"<p>{harmless(note)}</p>" for note in notes)


def _foot(report: MonitorReport) -> str:
    return f"<footer>Looked at {stamp(report.created)}. This page asks nothing of the network.</footer>"
