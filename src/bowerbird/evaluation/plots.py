"""Plots of a report as pieces of SVG that take their colours from the page around them.

matplotlib draws with stand-in colours, which become CSS variables, so one drawing serves light and dark.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from io import StringIO
from typing import Any, cast

import numpy as np

from bowerbird.base.errors import MissingExtra
from bowerbird.evaluation.evidence import Floats

_COLOURS = {
    "#010101": "var(--ink)",
    "#020202": "var(--quiet)",
    "#030303": "var(--line)",
    "#040404": "var(--accent)",
    "#050505": "var(--muted)",
}
_INK, _QUIET, _LINE, _ACCENT, _MUTED = _COLOURS

Bar = tuple[str, float, tuple[float, float] | None]


def bars(rows: Sequence[Bar], unit: str) -> str:
    """A bar for each (name, value, interval), the first in the accent colour, the best at the left edge.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(0.42 * len(rows) + 0.75)
    axes = figure.add_subplot()
    places = np.arange(len(rows))[::-1]
    values = [value for _, value, _ in rows]
    axes.barh(places, values, height=0.58, color=[_ACCENT] + [_MUTED] * (len(rows) - 1))
    end = max([*values, *(row[2][1] for row in rows if row[2])]) or 1.0
    for place, (_, value, interval) in zip(places, rows, strict=True):
        if interval:
            axes.plot(interval, [place, place], color=_INK, linewidth=1.4, solid_capstyle="butt")
        at = max(value, interval[1] if interval else value) + end * 0.012
        axes.text(at, place, f"{value:.3f}", va="center", color=_INK, fontsize=10)
    axes.set_yticks(places, [name for name, _, _ in rows])
    axes.set_xlim(0, end * 1.1)
    axes.set_xlabel(unit)
    return _svg(figure, axes, f"bar plot: {'; '.join(f'{name} {value:.3f}' for name, value, _ in rows)}")


def histogram(values: Floats, mean: float, unit: str, things: str) -> str:
    """How many things have which value, with a line at the mean.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(2.3)
    axes = figure.add_subplot()
    # A few odd units must not squeeze the rest into one bar; the last bar holds what lies beyond.
    low, high = (float(end) for end in np.percentile(values, [0, 99.5]))
    high = max(high, mean, low + 1e-3)
    axes.hist(np.clip(values, low, high), bins=min(40, max(5, round(len(values) ** 0.5))), color=_MUTED)
    axes.axvline(mean, color=_ACCENT, linewidth=2)
    axes.annotate(
        f"all together: {mean:.3f}",
        (mean, 1),
        xycoords=("data", "axes fraction"),
        xytext=(6, -2),
        textcoords="offset points",
        va="top",
        color=_INK,
        fontsize=10,
    )
    axes.set_xlabel(unit)
    axes.set_ylabel(things)
    axes.margins(x=0.03)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=5)
    return _svg(figure, axes, f"histogram of {unit} over {len(values)} {things}, together {mean:.3f}")


def over_time(
    times: Sequence[float],
    values: Sequence[float],
    normal: Sequence[float],
    alarms: Sequence[bool],
    unit: str,
) -> str:
    """A line over windows of traffic, what is normal for each beside it, and a mark at each alarm.

    Args:
        times: (windows,) Unix seconds.
        values: (windows,) what was found.
        normal: (windows,) what would be normal.
        alarms: (windows,) whether the difference is beyond chance.
        unit: of the values.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(2.0)
    axes = figure.add_subplot()
    days = [np.datetime64(round(moment * 1000), "ms") for moment in times]
    axes.plot(days, normal, color=_QUIET, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.plot(days, values, color=_ACCENT, linewidth=1.8, marker="o", markersize=3)
    told = [(day, value) for day, value, alarm in zip(days, values, alarms, strict=True) if alarm]
    if told:
        axes.plot(*zip(*told, strict=True), "o", color=_INK, markersize=6, markerfacecolor="none")
    axes.set_ylabel(unit)
    axes.margins(x=0.02, y=0.15)
    axes.xaxis.set_major_formatter(_short_dates(axes))
    return _svg(
        figure, axes, f"line plot of {unit} over {len(times)} windows, {sum(alarms)} of them with an alarm"
    )


def counts(days: Sequence[str], parts: Sequence[tuple[str, Sequence[int]]], things: str) -> str:
    """Bars over days, each of two parts: all in a quiet colour, and the first of them in the accent colour.

    Args:
        days: (days,) as `2026-11-27`.
        parts: a name and (days,) counts for all, then for those that stand out.
        things: what is counted.

    Raises:
        MissingExtra: matplotlib is not installed.
    """
    figure = _figure(1.9)
    axes = figure.add_subplot()
    places = np.arange(len(days))
    for (_, numbers), colour in zip(parts, (_MUTED, _ACCENT), strict=False):
        axes.bar(places, numbers, width=0.72, color=colour)
    every = max(1, len(days) // 8)
    axes.set_xticks(places[::every], [day[5:] for day in days[::every]])
    axes.set_ylabel(things)
    axes.yaxis.get_major_locator().set_params(integer=True, nbins=4)
    told = "; ".join(f"{name}: {sum(numbers)}" for name, numbers in parts)
    return _svg(figure, axes, f"bars of {things} over {len(days)} days, {told}")


def _short_dates(axes: Any) -> Any:
    from matplotlib.dates import ConciseDateFormatter

    return cast(Any, ConciseDateFormatter)(axes.xaxis.get_major_locator())


def _figure(height_inches: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtra("drawing plots into a report", "eval") from error
    return Figure(figsize=(7.2, height_inches), layout="constrained")


def _svg(figure: Any, axes: Any, described: str) -> str:
    import matplotlib

    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_LINE)
    axes.tick_params(colors=_QUIET, labelsize=10, length=0)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=_QUIET, fontsize=10)
    buffer = StringIO()
    bare = {"Date": None, "Creator": None, "Format": None, "Type": None}
    # Text stays text, set in the page's own letters; a fixed salt makes equal reports equal bytes.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": described}):
        figure.savefig(buffer, format="svg", transparent=True, metadata=bare)
    return _inlined(buffer.getvalue(), described)


def _inlined(svg: str, described: str) -> str:
    """An SVG file as part of a page: no prologue, no names that two plots would share, the page's colours."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick)_\d+"', "", svg)
    svg = re.sub(r' (?:xmlns(?::xlink)?|version)="[^"]*"', "", svg, count=3)
    svg = re.sub(r' (?:width|height)="[^"]*pt"', "", svg, count=2)
    svg = re.sub(r"'[^']*'(?:, '[^']*')*, sans-serif", "inherit", svg)
    for stand_in, variable in _COLOURS.items():
        svg = svg.replace(stand_in, variable)
    label = described.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    return svg.replace("<svg", f'<svg role="img" aria-label="{label}"', 1).strip()
