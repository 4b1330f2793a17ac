"""What becomes of damaged files: every reader, many thousand files, outcomes counted.

    python benchmarks/fuzz.py [--cases 10000] [--readers bundle,dataset] [--seed 1] [--processes 2] [--out FILE.json]

Small sound files of each kind are made; each case damages a copy in one place or two (cut, bits flipped, parts swapped,
removed, overwritten or repeated, huge lengths claimed, JSON that says something else, links, pipes and folders in
place of files, damaged members of zips), often seals it again as a forger would, and has it read in a process that is
watched: what programs it runs, where it connects, what it writes where. A reader may open the file or refuse it with an
error for its user; anything else is a fault, and makes the exit code 1. `--case N` repeats one.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from bowerbird.base.errors import UnknownName
from bowerbird.base.files import write_json
from tables import show, table

SILENCE_SECONDS = 90.0
"""A process that tells of no case for so long is stuck in compiled code."""
MEMORY = 4 << 30
"""Bytes of address space that a reader may take beyond what its process has when it begins."""
EXAMPLES = 5
MOST_LOST = 50
"""Processes of one reader; after so many that died or were stuck, the rest of its cases is left out."""


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/fuzz.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=10_000, help="for each reader")
    parser.add_argument("--readers", help="names with commas; by default all that are here")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=1, help="side by side")
    parser.add_argument("--case", type=int, help="this one alone, and tell of it")
    parser.add_argument("--out", type=Path, help="a file for the outcomes, as JSON")
    return parser.parse_args(given)


def main(given: list[str]) -> int:
    if given[:1] == ["make"]:
        return make(Path(given[1]), given[2])
    if given[:1] == ["work"]:
        return work(Path(given[1]), given[2], *map(int, given[3:]))
    options = parse(given)
    from fuzz_bench.readers import targets

    known = list(targets())
    readers = known if options.readers is None else [name.strip() for name in options.readers.split(",")]
    for name in readers:
        if name not in known:
            print(UnknownName("reader", name, known), file=sys.stderr)
            return UnknownName.exit_code
    span = range(options.cases) if options.case is None else range(options.case, options.case + 1)
    with (
        tempfile.TemporaryDirectory(prefix="bowerbird-fuzz-") as place,
        ThreadPoolExecutor(options.processes) as pool,
    ):
        jobs = [pool.submit(fuzz, Path(place, name), name, options.seed, span) for name in readers]
        found = [job.result() for job in jobs]
    tell(found)
    if options.out:
        write_json(options.out, {"seed": options.seed, "readers": found})
    return 1 if any(one["faults"] for one in found) else 0


def fuzz(place: Path, name: str, seed: int, cases: range) -> dict[str, Any]:
    """All cases of one reader, in processes that are started anew where one dies or is stuck."""
    began, rows = time.monotonic(), []
    place.mkdir()
    run_once(["make", str(place), name])
    case, lost = cases.start, 0
    while case < cases.stop and lost < MOST_LOST:
        for row in outcomes(place, name, seed, case, cases.stop):
            rows.append(row)
            case = row["case"] + 1
        lost += 1
    return summary(name, rows, time.monotonic() - began)


def run_once(arguments: list[str]) -> None:
    subprocess.run([sys.executable, __file__, *arguments], check=True, env=environment())


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BOWERBIRD_")}
    return {**kept, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}


def outcomes(place: Path, name: str, seed: int, first: int, last: int) -> Iterator[dict[str, Any]]:
    """What a process tells of its cases; the one that it did not come back from is DIED or HUNG, and the last."""
    log = (place / "errors").open("wb")
    with (
        log,
        subprocess.Popen(
            [sys.executable, __file__, "work", str(place), name, str(seed), str(first), str(last)],
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment(),
        ) as process,
    ):
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=pump, args=(process, lines), daemon=True).start()
        case = first
        while case < last:
            try:
                line = lines.get(timeout=SILENCE_SECONDS)
            except queue.Empty:
                process.kill()
                yield {
                    "case": case,
                    "outcome": "HUNG",
                    "damage": "?",
                    "told": f"silent for {SILENCE_SECONDS:.0f} s",
                }
                return
            if line is None:
                code = process.wait()
                yield {"case": case, "outcome": "DIED", "damage": "?", "told": f"exit {code}: {tail(place)}"}
                return
            row = json.loads(line)
            yield row
            case = row["case"] + 1


def pump(process: subprocess.Popen[str], lines: queue.SimpleQueue[str | None]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def tail(place: Path) -> str:
    return (place / "errors").read_text(errors="replace").strip().rpartition("\n")[2][:200]


def summary(name: str, rows: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    from fuzz_bench.cases import GOOD, OUTCOMES

    counts = dict.fromkeys((*OUTCOMES, "DIED"), 0)
    for row in rows:
        counts[row["outcome"]] += 1
    bad = [row for row in rows if row["outcome"] not in GOOD]
    kinds: dict[str, int] = {}
    for row in rows:
        if row["outcome"] == "refused":
            kind = row["told"].partition(":")[0]
            kinds[kind] = kinds.get(kind, 0) + 1
    return {
        "reader": name,
        "cases": len(rows),
        "outcomes": counts,
        "faults": len(bad),
        "examples": bad[:EXAMPLES],
        "refused_as": kinds,
        "seconds": round(seconds, 1),
    }


def tell(found: list[dict[str, Any]]) -> None:
    names = list(found[0]["outcomes"])
    rows = [
        [
            one["reader"],
            f"{one['cases']:,}",
            *(f"{one['outcomes'][name]:,}" for name in names),
            f"{one['seconds']:.0f}",
        ]
        for one in found
    ]
    for line in table(rows, ("reader", "cases", *names, "seconds")):
        show(line)
    for one in found:
        for example in one["examples"]:
            show(f"{one['reader']} --case {example['case']}: {example['outcome']}: {example['told']}")
            show(f"    {example['damage']}")


def make(place: Path, name: str) -> int:
    """The sound files of a reader, and where they lie."""
    from fuzz_bench.readers import targets

    folder = place / "sound"
    folder.mkdir()
    made = targets()[name].make(folder)
    (place / "made.json").write_text(json.dumps([str(path) for path in made]))
    return 0


def work(place: Path, name: str, seed: int, first: int, last: int) -> int:
    """Judge cases, and tell of each on a line of its own."""
    from fuzz_bench.cases import TEMPORARY, Watch, judge
    from fuzz_bench.readers import targets

    target = targets()[name]
    sound = [Path(path) for path in json.loads((place / "made.json").read_text())]
    here = Path(tempfile.mkdtemp(prefix="work-", dir=place))
    (here / "case").mkdir()
    target.read(sound[0], here / "made")  # what is loaded when it is first needed is loaded now
    os.environ["HOME"] = str(here / "case")
    os.environ["TMPDIR"] = tempfile.tempdir = str(here / "case" / TEMPORARY)
    os.chdir(here / "case")
    limit_memory()
    watch = Watch()
    watch.install()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no line of ours
    for case in range(first, last):
        found = judge(target, sound, here / "case", seed, case, watch)
        out.write(json.dumps(vars(found)) + "\n")
        out.flush()
    return 0


def limit_memory() -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    size = pages * os.sysconf("SC_PAGE_SIZE") + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (size, size))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
