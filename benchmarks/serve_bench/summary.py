"""What a benchmark's folder says of load: the table in the form of the docs, and which claims hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from bowerbird.base.errors import NotFound
from bowerbird.base.files import write_json, write_whole
from serve_bench.claims import Claim, Verdict
from tables import Cell, finished_cells, machine_lines
from workplace import read

NAMES = {"ours": "bowerbird", "transformers": "FastAPI + transformers"}
HEAD = (
    "streams",
    "server",
    "tokens/s",
    "first token ms, p50 / p95 / p99",
    "all at once, p95",
    "token ms, p50 / p99",
    "pause ms, p99",
    "tokens a piece",
    "memory MB",
    "failed / cut of",
)
RATES = {("1m", 1): 5000, ("1m", 64): 25_000, ("1m", 256): 25_000, ("10m", 64): 4500}
"""Tokens a second that ours makes at least, on one core shared with the clients; the better of its precisions."""
TIMES = {("1m", 1): 10, ("1m", 64): 10, ("1m", 256): 10}
"""How many times the plain server's that is."""
FIRST_SECONDS = {("1m", 64): 0.050, ("1m", 256): 0.150}
"""To the first token at the 95th percentile."""
MOST_BYTES = {"1m": 350e6}
JUDGED = {"cores": 1, "tokens": 200}
"""The claims are about these."""


def write_summary(out: Path, wanted: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
    """Write `summary.json` and `table.md` of the cells that agree with what is wanted; what holds, and the table.

    Raises:
        NotFound: no such cell is finished.
    """
    cells = [cell for cell in finished_cells(out) if all(cell[key] == value for key, value in wanted.items())]
    if not cells:
        raise NotFound("no cell of these settings and this source is finished", where=out)
    groups = gathered(cells)
    machine, text = read(out / "machine.json"), read(out / "text.json")
    lines = [*machine_lines(machine), about(text, wanted), ""]
    for size in dict.fromkeys(cell["size"] for cell in cells):
        lines += [*size_lines(size, groups), ""]
    verdict = Verdict("load", claims(groups) if JUDGED.items() <= wanted.items() else [])
    write_json(out / "summary.json", {"machine": machine, "text": text, "groups": list(groups.values())})
    write_whole(out / "table.md", "\n".join(lines).encode())
    verdict.figures = {"cells": len(cells), **wanted}
    return verdict, lines


Groups = dict[tuple[str, int, str], dict[str, Any]]
"""By size, streams and contestant."""


def gathered(cells: Sequence[Cell]) -> Groups:
    """The repeats of each cell: medians of rates and times, the most of memory, all failures."""
    by_key: dict[tuple[str, int, str], list[Cell]] = {}
    for cell in cells:
        by_key.setdefault((cell["size"], cell["streams"], cell["contestant"]), []).append(cell)
    return {key: _gathered(key, some) for key, some in sorted(by_key.items())}


def _gathered(key: tuple[str, int, str], cells: Sequence[Cell]) -> dict[str, Any]:
    size, streams, contestant = key
    rates = [cell["tokens_per_second"] for cell in cells]
    shares = {"first_token_seconds", "first_token_at_once_seconds", "token_seconds", "piece_seconds"}
    return {
        "size": size,
        "streams": streams,
        "contestant": contestant,
        "repeats": len(cells),
        "parameters": cells[0]["parameters"],
        "tokens_per_second": median(rates),
        "tokens_per_second_range": [min(rates), max(rates)],
        **{name: _median_shares([cell[name] for cell in cells]) for name in sorted(shares)},
        "tokens_a_piece": median(cell["tokens_a_piece"] for cell in cells),
        "idle_bytes": max(cell["idle_bytes"] for cell in cells),
        "peak_bytes": max(cell["peak_bytes"] for cell in cells),
        "client_share": median(cell["client_seconds"] / cell["measured_seconds"] for cell in cells),
        **{name: sum(cell[name] for cell in cells) for name in ("requests", "whole", "failed", "cut")},
        "failures": sorted({failure for cell in cells for failure in cell["failures"]}),
        "most_seconds": cells[0]["most_seconds"],
    }


def _median_shares(several: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {}
    for share in several[0]:
        there = [value for value in (one[share] for one in several) if value is not None]
        found[share] = median(there) if there else None
    return found


def about(text: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return (
        f"{wanted['tokens']} tokens a request, temperature 0.8, top-p 0.95, a stop string; text {text['source']}, "
        f"{text['vocabulary']} tokens in the vocabulary; server and client on {wanted['cores']} core(s) together"
    )


def size_lines(size: str, groups: Groups) -> list[str]:
    """The table of one size of model, and how many times the plain server's rate ours is."""
    here = {key: group for key, group in groups.items() if key[0] == size}
    parameters = {NAMES[key[2]]: group["parameters"] for key, group in here.items()}
    told = ", ".join(f"{name} {count / 1e6:.2f} M parameters" for name, count in parameters.items())
    rows = [row(group) for group in here.values()]
    lines = [f"**{size}**: {told}", "", *markdown(rows, HEAD)]
    times = ratios(size, groups)
    if times:
        told = ", ".join(f"{ratio:.1f} at {streams}" for streams, ratio in times.items())
        lines += ["", f"bowerbird's tokens/s are those of {NAMES['transformers']} times: {told}"]
    return lines


def ratios(size: str, groups: Groups) -> dict[int, float]:
    """By streams: ours divided by the plain server's rate, where both were measured."""
    found = {}
    for key, group in groups.items():
        rival = groups.get((size, key[1], "transformers"))
        if key[0] == size and key[2] == "ours" and rival and rival["tokens_per_second"]:
            found[key[1]] = group["tokens_per_second"] / rival["tokens_per_second"]
    return found


def row(group: Mapping[str, Any]) -> list[str]:
    limit = group["most_seconds"]
    first, at_once = group["first_token_seconds"], group["first_token_at_once_seconds"]
    low, high = group["tokens_per_second_range"]
    spread = f" ({low:,.0f} .. {high:,.0f})" if group["repeats"] > 1 else ""
    return [
        f"{group['streams']:,}",
        NAMES[group["contestant"]],
        f"{group['tokens_per_second']:,.0f}{spread}",
        " / ".join(milliseconds(first[share], limit) for share in ("50", "95", "99")),
        milliseconds(at_once["95"], limit),
        " / ".join(milliseconds(group["token_seconds"][share], limit) for share in ("50", "99")),
        milliseconds(group["piece_seconds"]["99"], limit),
        f"{group['tokens_a_piece']:.1f}",
        f"{group['peak_bytes'] / 1e6:,.0f}",
        f"{group['failed']} / {group['cut']} of {group['requests']:,}",
    ]


def milliseconds(seconds: float | None, limit: float) -> str:
    if seconds is None:
        return "-"
    if seconds >= limit:
        return f"over {1000 * limit:,.0f}"
    return f"{1000 * seconds:,.0f}" if seconds >= 0.01 else f"{1000 * seconds:.2g}"


def markdown(rows: Sequence[Sequence[str]], head: Sequence[str]) -> list[str]:
    """A table as the docs have them."""
    whole = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(cells) + " |" for cells in whole]


def claims(groups: Groups) -> list[Claim]:
    """What is claimed of the cells that are there."""
    found = []
    for (size, streams), least in RATES.items():
        rates = [
            group["tokens_per_second"]
            for (name, count, contestant), group in groups.items()
            if contestant == "ours" and count == streams and name in (size, f"{size}-bfloat16")
        ]
        if rates:
            what = f"{size}, {streams} streams: {least:,} tokens/s or more"
            found.append(Claim(what, max(rates) >= least, f"{max(rates):,.0f}"))
    for (size, streams), least in TIMES.items():
        ratio = ratios(size, groups).get(streams)
        if ratio is not None:
            what = f"{size}, {streams} streams: {least} times {NAMES['transformers']} or more"
            found.append(Claim(what, ratio >= least, f"{ratio:.1f} times"))
    for (size, streams), most in FIRST_SECONDS.items():
        group = groups.get((size, streams, "ours"))
        if group:
            seconds = group["first_token_seconds"]["95"]
            what = (
                f"{size}, {streams} streams: first token at the 95th percentile within {1000 * most:.0f} ms"
            )
            found.append(
                Claim(what, seconds is not None and seconds < most, f"{1000 * (seconds or 0):.0f} ms")
            )
    for (size, streams, contestant), group in groups.items():
        if contestant != "ours":
            continue
        if size in MOST_BYTES:
            what = f"{size}, {streams} streams: under {MOST_BYTES[size] / 1e6:.0f} MB in memory"
            peak = group["peak_bytes"]
            found.append(Claim(what, peak < MOST_BYTES[size], f"{peak / 1e6:.0f} MB"))
        told = (
            f"{group['failed']} failed, {group['cut']} cut of {group['requests']:,} {group['failures'] or ''}"
        )
        whole = group["whole"] == group["requests"]
        found.append(Claim(f"{size}, {streams} streams: every request answered whole", whole, told.strip()))
    return found
