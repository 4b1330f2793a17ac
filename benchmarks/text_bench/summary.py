"""What a benchmark's folder says, as a table, `summary.json` and `curves.png`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from bowerbird.base.files import write_json
from tables import Cell, by_contestant, finished_cells, machine_lines, table, why, written
from workplace import read

NAMES = {"ours": "bowerbird", "transformer": "transformer", "lstm": "nn.LSTM"}
COLOURS = {"ours": "#c2410c", "transformer": "#35618f", "lstm": "#6b8e23"}


def write_summary(out: Path) -> list[str]:
    """Write `summary.json` and `curves.png`; returns the lines to print.

    Raises:
        NotFound: no cell is finished.
    """
    cells = finished_cells(out)
    settings, machine, probes, decoded = (
        read(out / f"{name}.json") for name in ("settings", "machine", "probes", "decode")
    )
    texts = {text: read(out / f"text-{text}.json") for text in dict.fromkeys(cell["text"] for cell in cells)}
    groups = {
        text: {
            contestant: gathered(found, texts[text], machine["peak_flops"])
            for contestant, found in by_contestant(cells, NAMES, text=text).items()
        }
        for text in texts
    }
    summary = {
        "machine": machine,
        "settings": {key: value for key, value in settings.items() if key != "texts"},
        "probes": probes,
        "texts": texts,
        "results": groups,
        "decode": decoded,
        "cells": cells,
    }
    write_json(out / "summary.json", summary)
    drawn = draw_curves(cells, settings["minutes"], out / "curves.png")
    lines = [*machine_lines(machine), *probe_lines(probes)]
    for text, group in groups.items():
        lines += ["", *text_lines(text, texts[text], group, settings)]
    if decoded:
        lines += ["", *decode_lines(decoded)]
    return [*lines, "", written(out, drawn)]


def gathered(cells: Sequence[Cell], text: Mapping[str, Any], peaks: Mapping[str, float]) -> dict[str, Any]:
    """The seeds of one contestant on one text: means, and the spread of what decides."""
    bits = [cell["bits_per_byte"] for cell in cells]
    per_token = text["characters_per_token"]["ours" if cells[0]["contestant"] == "ours" else "characters"]
    tokens = [cell["steps"] * cell["tokens_a_step"] / cell["seconds"] for cell in cells]
    peak = peaks.get(cells[0]["precision"])
    flops = 6 * cells[0]["multiplying_parameters"] * fmean(tokens)
    return {
        "seeds": [cell["seed"] for cell in cells],
        "bits_per_byte": fmean(bits),
        "bits_per_byte_range": [min(bits), max(bits)],
        "nats_per_character": fmean(cell["nats_per_character"] for cell in cells),
        "tokens_per_second": fmean(tokens),
        "characters_per_second": fmean(tokens) * per_token,
        "share_of_peak": flops / peak if peak else None,
        "seconds": fmean(cell["seconds"] for cell in cells),
        "process_seconds": fmean(cell["process_seconds"] for cell in cells),
        "peak_bytes": max(cell["peak_bytes"] for cell in cells),
        "model_bytes": cells[0]["model_bytes"],
        "parameters": cells[0]["parameters"],
        "precision": cells[0]["precision"],
        "readings": {
            way: fmean(cell["readings"][way] for cell in cells) for way in cells[0].get("readings", {})
        },
    }


def probe_lines(probes: Mapping[str, Any]) -> list[str]:
    if not probes:
        return []
    told = ", ".join(
        f"{variant} {found['steps_per_second']:.1f}"
        if found["finite"]
        else f"{variant} failed ({why(found)})"
        for variant, found in probes["probes"].items()
    )
    return [f"transformer, steps/s on {probes['text']}: {told}; used: {probes['best']}"]


def text_lines(
    text: str, about: Mapping[str, Any], group: Mapping[str, Any], settings: Mapping[str, Any]
) -> list[str]:
    """A table of one text's contestants, and by how much ours differs."""
    rows = [
        [
            NAMES[name],
            f"{found['bits_per_byte']:.3f}",
            "{:.3f} .. {:.3f} ({})".format(*found["bits_per_byte_range"], len(found["seeds"])),
            f"{found['nats_per_character']:.3f}",
            f"{found['characters_per_second'] / 1000:.1f} k",
            "-" if found["share_of_peak"] is None else f"{found['share_of_peak']:.1%}",
            f"{found['peak_bytes'] / 1e6:.0f}",
            f"{found['model_bytes'] / 1e6:.1f}",
            f"{found['parameters'] / 1e6:.2f} M",
            f"{found['process_seconds']:.0f}",
        ]
        for name, found in group.items()
    ]
    head = ["model", "bits/byte", "seeds (n)", "nats/char", "char/s", "of peak", "memory MB", "model MB"]
    lines = [
        f"{text}: {about['characters']['train']:,} characters to learn from, {about['bytes']['valid']:,} bytes "
        f"held out; {settings['minutes']:g} minutes, {settings['threads']} threads; ours in {about['codec']}",
        *table(rows, [*head, "parameters", "process s"]),
    ]
    for name, found in group.items():
        if found["readings"]:
            told = ", ".join(f"{way} {bits:.3f}" for way, bits in found["readings"].items())
            lines.append(f"{NAMES[name]} reads the held-out text in ways, the best counts: {told}")
        if name != "ours" and "ours" in group:
            less = 1 - group["ours"]["bits_per_byte"] / found["bits_per_byte"]
            lines.append(
                f"bowerbird against {NAMES[name]}: {abs(less):.1%} {'fewer' if less > 0 else 'more'} bits"
            )
    return lines


def decode_lines(decoded: Mapping[str, Any]) -> list[str]:
    """Tokens a second by streams, and how near one stream comes to what memory allows."""
    contestants = {name: decoded["contestants"][name] for name in NAMES if name in decoded["contestants"]}
    streams = sorted(next(iter(contestants.values()))["tokens_per_second"], key=int)
    threads = sorted(next(iter(contestants.values()))["read_bytes_per_second"], key=int)
    rows = []
    for name, found in contestants.items():
        rates = [f"{found['tokens_per_second'][count]:,.0f}" for count in streams]
        speeds = " / ".join(f"{found['read_bytes_per_second'][count] / 1e9:.1f}" for count in threads)
        share = "-" if found["share_of_bound"] is None else f"{found['share_of_bound']:.1%}"
        bound = f"{found['bound_tokens_per_second']:,.0f}"
        rows.append([NAMES[name], *rates, f"{found['touched_bytes'] / 1e6:.2f}", speeds, bound, share])
    head = ["model", *(f"{count} streams" for count in streams), "weights MB"]
    head += [f"read GB/s, {' / '.join(threads)} threads", "bound at 1", "of bound"]
    return [f"generation, tokens/s with {decoded['threads']} threads, sampling included:", *table(rows, head)]


def draw_curves(cells: Sequence[Cell], minutes: float, path: Path) -> bool:
    """Loss against seconds, a panel a text and a line a seed. False where matplotlib is not installed."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return False
    texts = list(dict.fromkeys(cell["text"] for cell in cells))
    figure = Figure(figsize=(1 + 4.6 * len(texts), 4), layout="constrained")
    panels = figure.subplots(1, len(texts), squeeze=False)[0]
    for axes, text in zip(panels, texts, strict=True):
        lowest = float("inf")
        named: set[str] = set()
        for cell in cells:
            if cell["text"] != text or not cell["curve"]:
                continue
            name = cell["contestant"]
            label = NAMES[name] if name not in named else None
            named.add(name)
            axes.plot(*zip(*cell["curve"], strict=True), color=COLOURS[name], linewidth=1.2, label=label)
            lowest = min(lowest, *(bits for _, bits in cell["curve"]))
        axes.set(title=text, xlabel="seconds", xlim=(0, 60 * minutes * 1.02))
        if lowest < float("inf"):
            axes.set_ylim(0.95 * lowest, 2 * lowest)
            axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("bits a byte, on a part of the held-out text")
    figure.savefig(path, dpi=120)
    return True
