"""Several processes publish at once under one name: is any version lost, shared or damaged, is the log whole?

    python benchmarks/registry.py --each 100 --processes 2 --registry folder --registry mlflow

Every publication moves the alias `live` as well. Prints a line for each registry, then one JSON line with what was
counted; exits with 1 if anything is not as it ought to be.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

NAME = "crowded"


def publish_many(registry: str, root: Path, who: int, each: int) -> None:
    """What one of the processes does: publish bundles of its own, telling each version's number and digest."""
    import torch

    from bowerbird.store.bundle import write_bundle
    from bowerbird.workspace import Workspace

    found = Workspace(root, registry).registry
    manifest = {"kind": "text", "config": {"model": {"width": who}}, "codec": {}, "normaliser": {},
                "structure": "plain", "lineage": {}}  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        made = []
        for step in range(each):
            folder = Path(name) / str(step)
            weights = {"a": torch.full((8,), float(who * each + step))}
            told = write_bundle(
                folder, {**manifest, "step": step}, weights=weights, partners={}, codec_files={}, card="# one"
            )
            made.append((folder, str(told["digest"])))
        # Whatever has to be imported or made is, before the race begins; the first of all race for that.
        found.publish(f"warm-{who}", *made[0])
        (root / f"ready-{who}").touch()
        while not (root / "go").exists():
            time.sleep(0.01)
        for folder, digest in made:
            scores = {"bits_per_byte": 2.0 + who}
            version = found.publish(NAME, folder, digest, scores=scores, alias="live", why=f"process {who}")
            print(json.dumps([version.version, version.digest]), flush=True)


def race(registry: str, root: Path, processes: int, each: int) -> dict[str, Any]:
    """Let the processes publish at once, and count what came of it."""
    root.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, __file__, "worker", registry, str(root)]
    running = [
        subprocess.Popen([*command, str(who), str(each)], stdout=subprocess.PIPE, text=True)
        for who in range(processes)
    ]
    while not all((root / f"ready-{who}").exists() for who in range(processes)):
        if any(process.poll() for process in running):
            break
        time.sleep(0.05)
    began = time.perf_counter()
    (root / "go").touch()
    said = [process.communicate()[0].splitlines() for process in running]
    seconds = time.perf_counter() - began
    told = sorted(tuple(json.loads(line)) for lines in said for line in lines)
    ended = [process.returncode for process in running]
    return {"registry": registry, "processes": processes, "each": each, "ended": ended,
            "seconds": round(seconds, 2), **outcome(registry, root, told)}  # fmt: skip


def outcome(registry: str, root: Path, told: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """What the registry holds, beside what the publishers were told."""
    from bowerbird.store.bundle import open_bundle
    from bowerbird.workspace import Workspace

    found = Workspace(root, registry).registry
    versions, log = found.versions(NAME), found.log(NAME)
    moves = [entry for entry in log if entry["action"] == "promote"]
    published = sorted(entry["version"] for entry in log if entry["action"] == "publish")
    kept = [(version.version, version.digest) for version in versions]
    intact = [open_bundle(found.fetch(version)).digest == version.digest for version in versions]
    return {
        "published": len(told),
        "distinct_versions": len({number for number, _ in told}),
        "numbers_are_1_to_n": [number for number, _ in kept] == list(range(1, len(told) + 1)),
        "each_as_its_publisher_was_told": kept == list(told),
        "bundles_intact": sum(intact),
        "publications_in_log": len(published),
        "log_has_each_once": published == [number for number, _ in kept],
        "moves_in_log": len(moves),
        "moves_follow_one_another": [move["previous"] for move in moves]
        == [None, *(move["version"] for move in moves[:-1])],
        "alias_is_the_last_move": found.find(NAME, "live").version == moves[-1]["version"],
    }


def whole(found: dict[str, Any]) -> bool:
    """Whether nothing was lost, shared or damaged."""
    wanted = found["processes"] * found["each"]
    counts = ("published", "distinct_versions", "bundles_intact", "publications_in_log", "moves_in_log")
    return (
        not any(found["ended"])
        and all(found[count] == wanted for count in counts)
        and all(value for value in found.values() if isinstance(value, bool))
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] == ["worker"]:
        publish_many(given[1], Path(given[2]), int(given[3]), int(given[4]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--each", type=int, default=100, help="publications of each process")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--registry", action="append", help="folder, mlflow, mlflow+http://HOST:PORT ...")
    parser.add_argument(
        "--workspace", type=Path, help="an empty folder to keep; otherwise one that is removed"
    )
    asked = parser.parse_args(given)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for registry in asked.registry or ["folder", "mlflow"]:
            place = (asked.workspace or Path(name)) / registry.partition("+")[0]
            row = race(registry, place, asked.processes, asked.each)
            rows.append(row)
            print(
                f"{registry}: {row['distinct_versions']} distinct versions of {row['published']} published, "
                f"{row['publications_in_log']} publications and {row['moves_in_log']} moves in the log, "
                f"{row['bundles_intact']} bundles intact, {row['seconds']} s: "
                f"{'whole' if whole(row) else 'NOT WHOLE'}",
                flush=True,
            )
    print(json.dumps({"python": platform.python_version(), "processors": os.cpu_count(), "registries": rows}))
    return 0 if all(whole(row) for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
