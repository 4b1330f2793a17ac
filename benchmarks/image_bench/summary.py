"""What a benchmark's folder says, as tables, `summary.json` and `curves.png`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bowerbird.base.files import write_json
from tables import Cell, by_contestant, finished_cells, machine_lines, table, why, written
from workplace import read

NAMES = {
    "ours": "bowerbird",
    "ours-plain": "bowerbird, no augmentation",
    "dcgan": "DCGAN",
    "wgan-gp": "WGAN-GP",
}
COLOURS = {"ours": "#c2410c", "ours-plain": "#e0a080", "dcgan": "#35618f", "wgan-gp": "#6b8e23"}
COLLAPSED = 0.05
"""Recall under which a model covers so little of the pictures that it counts as collapsed."""
NUMBERS = ("fid", "kid", "precision", "recall")


def write_summary(out: Path) -> list[str]:
    """Write `summary.json` and `curves.png`; returns the lines to print.

    Raises:
        NotFound: no cell is finished.
    """
    cells = finished_cells(out)
    settings, machine, probes, generated = (
        read(out / f"{name}.json") for name in ("settings", "machine", "probes", "generate")
    )
    sets = {name: read(out / f"set-{name}.json") for name in dict.fromkeys(cell["set"] for cell in cells)}
    results = {
        name: {
            contestant: gathered(found) for contestant, found in by_contestant(cells, NAMES, set=name).items()
        }
        for name in sets
    }
    summary = {
        "machine": machine,
        "settings": {key: value for key, value in settings.items() if key != "sets"},
        "probes": probes,
        "sets": sets,
        "results": results,
        "generate": generated,
        "cells": cells,
    }
    write_json(out / "summary.json", summary)
    drawn = draw_curves(cells, settings["minutes"], out / "curves.png")
    lines = [*machine_lines(machine), *probe_lines(probes)]
    for name, group in results.items():
        lines += ["", *set_lines(name, sets[name], group, settings)]
        lines += overtaking_lines(cells, name)
    if generated:
        lines += ["", *generate_lines(generated)]
    return [*lines, "", written(out, drawn)]


def collapsed(cell: Cell) -> bool:
    """Whether a run came to nothing: a loss or a score that is no number, or recall under 5 %.

    The recall is by the first extractor.
    """
    if not cell["finite"] or not cell["scores"]:
        return True
    scores = next(iter(cell["scores"].values()))
    missing = any(not isinstance(scores[name], int | float) or math.isnan(scores[name]) for name in NUMBERS)
    return missing or bool(scores["recall"] < COLLAPSED)


def gathered(cells: Sequence[Cell]) -> dict[str, Any]:
    """The seeds of one contestant on one set: means over those with scores, and the spread of FID."""
    scored = [cell for cell in cells if cell["scores"]]
    names = list(dict.fromkeys(name for cell in scored for name in cell["scores"]))
    accuracies = [cell["class_accuracy"] for cell in scored if cell.get("class_accuracy") is not None]
    return {
        "seeds": [cell["seed"] for cell in cells],
        "collapsed": [cell["seed"] for cell in cells if collapsed(cell)],
        "scores": {name: gathered_scores([cell["scores"][name] for cell in scored]) for name in names},
        "class_accuracy": mean(accuracies),
        "pictures_per_second": mean([cell.get("pictures_per_second") for cell in cells]),
        "pictures": mean([cell.get("pictures") for cell in cells]),
        "steps": mean([cell.get("steps") for cell in cells]),
        "seconds": mean([cell.get("seconds") for cell in cells]),
        "process_seconds": mean([cell["process_seconds"] for cell in cells]),
        "peak_bytes": max(cell["peak_bytes"] for cell in cells),
        "model_bytes": scored[0]["model_bytes"] if scored else None,
        "parameters": scored[0]["parameters"] if scored else None,
        "way": scored[0]["way"] if scored else None,
    }


def gathered_scores(several: Sequence[Mapping[str, float | None]]) -> dict[str, Any]:
    fids = [scores["fid"] for scores in several if scores["fid"] is not None]
    found: dict[str, Any] = {name: mean([scores[name] for scores in several]) for name in NUMBERS}
    found["fid_range"] = [min(fids), max(fids)] if fids else None
    found["kid_interval"] = [mean([scores[name] for scores in several]) for name in ("kid_low", "kid_high")]
    return found


def mean(values: Sequence[float | None]) -> float | None:
    there = [value for value in values if value is not None]
    return fmean(there) if there else None


def told(value: float | None, form: str = "{:.3f}") -> str:
    return "-" if value is None else form.format(value)


def probe_lines(probes: Mapping[str, Any]) -> list[str]:
    lines = []
    for contestant, probe in probes.items():
        ways = ", ".join(
            f"{way} {found['steps_per_second']:.2f}" if found["finite"] else f"{way} failed ({why(found)})"
            for way, found in probe["probes"].items()
        )
        lines.append(f"{NAMES[contestant]}, steps/s on {probe['set']}: {ways}; used: {probe['best']}")
    return lines


def set_lines(
    name: str, about: Mapping[str, Any], group: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """A table of one set's contestants by each extractor, what each costs, and by how much ours differs."""
    height, width, channels = about["shape"]
    lines = [
        f"{name}: {about['pictures']['train']:,} pictures of {width} x {height} x {channels} to learn from, "
        f"{about['samples']:,} made against as many held out; {settings['minutes']:g} minutes, "
        f"{settings['threads']} threads",
    ]
    for extractor in about["extractors"]:
        head = [extractor["name"], "FID", "seeds (n)", "KID x 1000", "interval", "precision", "recall"]
        rows = [
            score_row(NAMES[contestant], found["scores"][extractor["name"]], len(found["seeds"]))
            for contestant, found in group.items()
            if extractor["name"] in found["scores"]
        ]
        floor = about["floor"][extractor["name"]]
        rows.append(score_row("pictures learnt from", gathered_scores([floor]), 0))
        lines += table(rows, head)
    lines += ["", *cost_lines(about, group)]
    lines += versus_lines(about, group)
    lines.append(
        f"the extractors saw {about['judged_by']:,} pictures, in {about['extractor_seconds']:.0f} s on no one's clock; "
        "the clock of baselines stands still while they are judged, that of bowerbird runs on"
    )
    return lines


def score_row(name: str, scores: Mapping[str, Any], seeds: int) -> list[str]:
    low, high = scores["kid_interval"]
    spread = scores["fid_range"]
    thousand = [None if value is None else 1000 * value for value in (scores["kid"], low, high)]
    return [
        name,
        told(scores["fid"]),
        f"{spread[0]:.3f} .. {spread[1]:.3f} ({seeds})" if spread and seeds else "-",
        told(thousand[0], "{:.2f}"),
        "-" if thousand[1] is None else "{:.2f} .. {:.2f}".format(*thousand[1:]),
        told(scores["precision"]),
        told(scores["recall"]),
    ]


def cost_lines(about: Mapping[str, Any], group: Mapping[str, Any]) -> list[str]:
    head = ["model", "collapsed", "pictures/s", "steps", "memory MB", "model MB", "parameters", "computed in"]
    head += ["process s"]
    rows = [
        [
            NAMES[contestant],
            f"{len(found['collapsed'])} of {len(found['seeds'])}",
            told(found["pictures_per_second"], "{:,.0f}"),
            told(found["steps"], "{:,.0f}"),
            f"{found['peak_bytes'] / 1e6:,.0f}",
            "-" if found["model_bytes"] is None else f"{found['model_bytes'] / 1e6:.1f}",
            "-" if found["parameters"] is None else f"{found['parameters'] / 1e6:.2f} M",
            found["way"] or "-",
            f"{found['process_seconds']:.0f}",
        ]
        for contestant, found in group.items()
    ]
    lines = table(rows, head)
    for contestant, found in group.items():
        if found["class_accuracy"] is not None:
            lines.append(
                f"{NAMES[contestant]}: {found['class_accuracy']:.1%} of its pictures look like the class asked for; "
                f"of held-out ones the classifier knows {about['classifier_accuracy']:.1%}"
            )
    return lines


def versus_lines(about: Mapping[str, Any], group: Mapping[str, Any]) -> list[str]:
    """How many times the FID and KID of each other contestant are ours, by each extractor."""
    lines = []
    for contestant, found in group.items():
        if contestant == "ours" or "ours" not in group:
            continue
        ratios = []
        for name in (extractor["name"] for extractor in about["extractors"]):
            mine, theirs = (one["scores"].get(name) for one in (group["ours"], found))
            for score in ("fid", "kid"):
                if mine and theirs and mine[score] and theirs[score] and mine[score] > 0:
                    ratios.append(f"{score.upper()} {theirs[score] / mine[score]:.2f} times ({name})")
        if ratios:
            lines.append(f"{NAMES[contestant]} against bowerbird: {', '.join(ratios)}")
    return lines


def overtaking_lines(cells: Sequence[Cell], name: str) -> list[str]:
    """When the curve of ours first goes under the best that another's reaches in all its time, by seed."""
    groups = by_contestant(cells, NAMES, set=name)
    lines = []
    for contestant in [contestant for contestant in groups if contestant not in ("ours", "ours-plain")]:
        moments = []
        for cell in groups.get("ours", []):
            rival = [one for one in groups[contestant] if one["seed"] == cell["seed"]]
            scores = [fid for one in rival for _, fid in one.get("curve", []) if fid is not None]
            if scores:
                moments.append(first_under(cell.get("curve", []), min(scores)))
        if moments:
            reached = ", ".join("never" if moment is None else f"{moment:.0f} s" for moment in moments)
            lines.append(f"bowerbird's curve is under the best of {NAMES[contestant]}'s after: {reached}")
    return lines


def first_under(curve: Sequence[Sequence[float | None]], score: float) -> float | None:
    for seconds, fid in curve:
        if fid is not None and fid < score:
            return seconds
    return None


def generate_lines(generated: Mapping[str, Any]) -> list[str]:
    """Pictures a second by how many are made at once."""
    contestants = {name: generated["contestants"][name] for name in NAMES if name in generated["contestants"]}
    batches = sorted(next(iter(contestants.values()))["pictures_per_second"], key=int)
    rows = [
        [NAMES[name], *(f"{found['pictures_per_second'][batch]:,.0f}" for batch in batches)]
        for name, found in contestants.items()
    ]
    head = ["model", *(f"{batch} at once" for batch in batches)]
    return [f"generation, pictures/s with {generated['threads']} threads:", *table(rows, head)]


def draw_curves(cells: Sequence[Cell], minutes: float, path: Path) -> bool:
    """FID against seconds, a panel a set and a line a seed. False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    sets = list(dict.fromkeys(cell["set"] for cell in cells))
    figure = Figure(figsize=(1 + 4.6 * len(sets), 4), layout="constrained")
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for axes, name in zip(panels, sets, strict=True):
        named: set[str] = set()
        for cell in cells:
            points = [(seconds, fid) for seconds, fid in cell.get("curve", []) if fid is not None and fid > 0]
            if cell["set"] != name or not points:
                continue
            contestant = cell["contestant"]
            label = NAMES[contestant] if contestant not in named else None
            named.add(contestant)
            axes.plot(
                *zip(*points, strict=True), color=COLOURS[contestant], linewidth=1.2, marker=".", label=label
            )
        axes.set(title=name, xlabel="seconds", xlim=(0, 60 * minutes * 1.02), yscale="log")
        if named:
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("FID of 1,000 pictures, own extractor")
    figure.savefig(path, dpi=120)
    return True
