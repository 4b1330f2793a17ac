"""Live traffic that changes, and traffic that does not: requests until the alarm, and false alarms.

    python benchmarks/drift.py --out /tmp/drift --minutes 3
    python benchmarks/drift.py --out /tmp/drift --other ../shared/data/tinyshakespeare --other letters/

A model learns one kind of text (`demo:chat`, or `demo:speeches` by the presidents of one age). Prompts are real texts
that it has not seen. First nothing changes: windows of one half of the held-out documents are compared with a
reference of the other half, many times over. Then traffic switches to another kind of text, wholly or in part.
Prints what was counted as lines, then one JSON line. Nothing here is timed.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bowerbird as bb
from bowerbird.data.dataset import Dataset
from bowerbird.data.sources.demo import place
from bowerbird.evaluation.traits import Alphabet
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring.monitor import MonitorConfig
from bowerbird.workspace import Workspace
from drift_bench.counting import Watch, reference_of, until_alarm, without_change
from drift_bench.traffic import Said, of_catalogues, of_dataset, of_folder

YEARS = {"old": (1790, 1865), "new": (1981, 2100)}
"""Of the speeches: those that a model learns, and those that traffic switches to."""
LANGUAGES = {"de": "German", "fr": "French"}
"""Whose translations are looked for on this machine."""
HELD_OUT = ("split.valid=0.2", "split.test=0.2", "clean.near_duplicates=false")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, help="a folder to keep models in; otherwise one that is removed")
    parser.add_argument("--minutes", type=float, default=3.0, help="of training each model")
    parser.add_argument("--bases", default="chat,speeches", help="what models learn: chat, speeches")
    parser.add_argument(
        "--other", action="append", type=Path, default=[], help="a folder of texts to switch to"
    )
    parser.add_argument("--windows", type=int, default=100, help="without a change, in each stretch")
    parser.add_argument("--replicates", type=int, default=20, help="stretches")
    parser.add_argument("--window", type=int, action="append", help="requests of one")
    parser.add_argument("--share", type=float, action="append", help="of the traffic that switches")
    parser.add_argument("--tries", type=int, default=10, help="of each switch")
    parser.add_argument("--most", type=int, default=3000, help="requests after a switch")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        rows = [row for base in asked.bases.split(",") for row in _base(base, asked.out or Path(name), asked)]
    print(json.dumps({"python": platform.python_version(), "minutes": asked.minutes, "rows": rows}))
    return 0


def _base(base: str, root: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """Everything of one model."""
    dataset, model = made(base, root, asked.minutes)
    alphabet = Alphabet.of(dataset.pieces("train"))
    held_out = of_dataset(dataset, "valid") + of_dataset(dataset, "test")
    rows: list[dict[str, Any]] = []
    watch = Watch(model)
    config = MonitorConfig(window=200)
    for row in without_change(held_out, watch, alphabet, config, asked.windows, asked.replicates):
        rows.append({"base": base, "change": "none", **row})
        known = "known" if row["callers_known"] else "not known"
        print(
            f"{base}, no change, callers {known}: {row['windows_with_alarm']} of {row['windows']:,} windows with an "
            f"alarm; {row['stretches_with_any_alarm']} of {row['replicates']} stretches of {asked.windows} windows "
            f"with any (level {config.alpha:g}); {row['windows_below_0.05_corrected']:.2%} of windows below 0.05",
            flush=True,
        )
    normal = reference_of(of_dataset(dataset, "test"), model, alphabet, 1)
    quiet = of_dataset(dataset, "valid")
    for name, other in _others(base, asked.other):
        for window in asked.window or [50, 100, 200]:
            for share in asked.share or [1.0, 0.5, 0.2]:
                config = MonitorConfig(window=window)
                row = until_alarm(quiet, other, watch, normal, config, share, asked.tries, asked.most)
                rows.append({"base": base, "change": name, **row})
                print(f"{base} -> {name}, {share:.0%} of traffic, window {window}: {_told(row)}", flush=True)
    return rows


def _told(row: dict[str, Any]) -> str:
    """What came of a switch, in words."""
    if not row["alarms"]:
        return f"no alarm in {row['most']:,} requests, in {row['tries']} tries"
    waits, off = row["requests_until_alarm"], row["change_dated_off_by"]
    return (
        f"alarm in {row['alarms']} of {row['tries']} tries, after {waits['median']:.0f} requests in the median "
        f"({waits['least']} to {waits['most']}); dated {off['median']:+.0f} requests off ({off['least']:+} to "
        f"{off['most']:+})"
    )


def made(base: str, root: Path, minutes: float) -> tuple[Dataset, Model]:
    """The dataset and the model of one kind of text; those that lie there already are used."""
    space = Workspace(root / "workspace")
    source = ["demo:chat"] if base == "chat" else [str(path) for path in speeches(*YEARS["old"])]
    data, run = root / f"{base}-data", root / f"{base}-run"
    if not data.exists():
        bb.prepare(source, data, settings=HELD_OUT, workspace=space)
    if not (run / "best.json").exists():
        bb.train(data, run, minutes=minutes, seed=1)
    return Dataset.open(data), bb.load(run, workspace=space)


def speeches(first: int, last: int) -> list[Path]:
    """The messages of these years; the year stands in a file's name."""
    found = []
    for path in sorted(place("demo:speeches").glob("*.txt")):
        digits = "".join(one if one.isdigit() else " " for one in path.stem).split()
        years = [int(number) for number in digits if len(number) == 4]
        if years and first <= years[0] <= last:
            found.append(path)
    return found


def _others(base: str, folders: Sequence[Path]) -> list[tuple[str, list[Said]]]:
    """What traffic switches to."""
    found = [(folder.name, of_folder(folder)) for folder in folders]
    newer = [one for path in speeches(*YEARS["new"]) for one in of_folder(path)]
    languages = [(f"program messages in {name}", of_catalogues(code)) for code, name in LANGUAGES.items()]
    return [("speeches since 1981", newer), *((name, said) for name, said in languages if said), *found]


if __name__ == "__main__":
    sys.exit(main())
