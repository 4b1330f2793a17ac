"""How many streams our server bears and how fast, beside a plain server of a GPT-2 of as many parameters; and checks.

    python benchmarks/serve.py [load] --data DIR --out DIR [--models 1m,10m] [--streams 1,8,64,256,1000] [--repeats 3]
    python benchmarks/serve.py exact|long|swap|soak|term|schema|all --data DIR --out DIR

`load` starts a server of ours (`bowerbird serve`, of a briefly trained model) and one of FastAPI and transformers,
taking turns, each anew for every cell, and has so many clients ask it over loopback, again and again: 200 tokens a
request, streamed, temperature 0.8, top-p 0.95. Server and clients share one core. Every finished cell is a line in
OUT/cells.jsonl, and the same command again goes on from there; a changed source is measured anew. It ends with a
table (OUT/table.md, in the form of the docs) and OUT/summary.json.

The others say whether a claim holds, and write OUT/NAME.json. `exact`: a thousand streams at once, each equal to what
its seed gives alone, memory growing by the states. `long`: a session of a million characters against one of a
thousand, before and after a restart. `swap`: `live` moves under load. `soak`: minutes at saturation with askers who
leave and requests that are wrong. `term`: SIGTERM under load. `schema`: schemathesis against /openapi.json. The exit
code is 1 where a claim is false.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bowerbird.base.errors import NotFound, UnknownName, UsageError
from bowerbird.base.files import write_json
from serve_bench import exact, long, schema, soak, swap, term
from serve_bench.claims import Verdict
from serve_bench.load import Load, measure
from serve_bench.running import CONTESTANTS, SHAPES, Bench, open_files, pinned
from serve_bench.summary import write_summary
from tables import machine_lines, show
from workplace import Failed, check_positive, command, contestants_of, processors

IN_DATA = "tinyshakespeare/input.txt"
CHECKS: dict[str, Callable[[Bench, argparse.Namespace], Verdict]] = {
    "exact": lambda bench, options: exact.check(bench, bench.sizes[0], options.most_streams),
    "long": lambda bench, options: long.check(bench, bench.sizes[0], options.characters),
    "swap": lambda bench, options: swap.check(bench, bench.sizes[0], options.some_streams),
    "soak": lambda bench, options: soak.check(bench, bench.sizes[0], options.soak_streams, options.minutes),
    "term": lambda bench, options: term.check(bench, bench.sizes[0], options.some_streams),
    "schema": lambda bench, options: schema.check(bench, bench.sizes[0], options.cases),
}


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/serve.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", default="load", choices=("load", *CHECKS, "all"))
    parser.add_argument("--out", type=Path, default=Path("runs/bench-serve"), help="where results are kept")
    parser.add_argument("--data", type=Path, help=f"folder with {IN_DATA}; without it, made-up sentences")
    parser.add_argument("--models", default="1m,10m", help=f"of {', '.join(SHAPES)}; checks take the first")
    parser.add_argument(
        "--cores", type=int, help="for server and clients together; by default 1, for checks all"
    )
    parser.add_argument("--tokens", type=int, default=200, help="a request")
    parser.add_argument("--serve-options", default="", help="more for `bowerbird serve`, as one word")
    load = parser.add_argument_group("load")
    load.add_argument("--contestants", default=",".join(CONTESTANTS))
    load.add_argument("--streams", default="1,8,64,256,1000")
    load.add_argument("--repeats", type=int, default=3)
    load.add_argument("--seconds", type=float, default=5.0, help="after which no stream asks again")
    load.add_argument("--most-seconds", type=float, default=30.0, help="after which all are cut")
    load.add_argument("--summary-only", action="store_true")
    checks = parser.add_argument_group("checks")
    checks.add_argument("--most-streams", type=int, default=1000, help="of exact")
    checks.add_argument("--some-streams", type=int, default=64, help="of swap and term")
    checks.add_argument("--soak-streams", type=int, default=256)
    checks.add_argument("--minutes", type=float, default=10.0, help="of soak")
    checks.add_argument("--characters", type=int, default=1_000_000, help="of long")
    checks.add_argument(
        "--cases", type=int, default=100, help="examples that schemathesis makes of an operation"
    )
    return parser.parse_args(given)


def bench_of(options: argparse.Namespace) -> Bench:
    """The benchmark that is asked for.

    Raises:
        UsageError: something in it makes no sense.
        NotFound: the text is not there.
    """
    numbers = ("tokens", "repeats", "seconds", "most_seconds", "most_streams", "some_streams", "soak_streams")
    check_positive(options, *numbers, "minutes", "characters", "cases")
    cores = options.cores or processors()
    if not 1 <= cores <= processors():
        raise UsageError(f"--cores {cores}: this process may use 1 to {processors()}")
    text = options.data / IN_DATA if options.data else None
    if text is not None and not text.is_file():
        raise NotFound("the text is not there", where=text, hint="--data DIR names its folder")
    return Bench(
        out=options.out.absolute(),
        text=text,
        sizes=sizes_of(options.models),
        cores=cores,
        tokens=options.tokens,
        options=tuple(shlex.split(options.serve_options)),
    )


def sizes_of(given: str) -> tuple[str, ...]:
    """Models, from `1m,10m`."""
    sizes = tuple(part.strip() for part in given.split(",") if part.strip())
    for size in sizes:
        if size not in SHAPES:
            raise UnknownName("model", size, SHAPES)
    if not sizes:
        raise UsageError("name at least one model", hint="--models 1m")
    return sizes


def streams_of(given: str) -> list[int]:
    """Numbers of streams, from `1,8,64`."""
    try:
        streams = [int(part) for part in given.split(",")]
    except ValueError:
        streams = []
    if not streams or min(streams) < 1:
        raise UsageError(f"--streams {given} is not a list of numbers from 1 on", hint="--streams 1,8,64")
    return streams


def load(bench: Bench, options: argparse.Namespace, machine: Mapping[str, Any]) -> tuple[Verdict, list[str]]:
    """Measure every cell that is not done yet, contestants taking turns; what was found, and what failed."""
    failures: list[str] = []
    if options.summary_only:
        source = str(bench.place.cells()[-1]["source"]) if bench.place.cells() else ""
    else:
        source = source_of(machine)
        for size in bench.sizes:
            bench.served(size)  # made before the clock, and with all cores
        for one in cells(options):
            try:
                cell = finished(bench, one, source)
            except (Failed, OSError) as error:
                failures.append(str(error))
                show(f"failed: {error}")
                continue
            if cell is not None:
                show(cell_line(cell))
    settled = {"seconds": options.seconds, "most_seconds": options.most_seconds, "source": source}
    verdict, lines = write_summary(bench.out, {**bench.settled, **settled})
    for line in lines:
        show(line)
    return verdict, failures


def finished(bench: Bench, one: Load, source: str) -> dict[str, Any] | None:
    """A cell that was measured now; None where it was before."""
    wanted = {**one.key(bench), "source": source}
    if any(all(cell.get(key) == value for key, value in wanted.items()) for cell in bench.place.cells()):
        return None
    with pinned(bench.cores):
        cell = {**measure(bench, one), "source": source}
    bench.place.add(cell)
    return cell


def source_of(machine: Mapping[str, Any]) -> str:
    """What a cell was measured of: a commit, or, where files were changed since, this run alone."""
    commit = str(machine["commit"])
    return f"{commit} {machine['date']}" if commit.endswith("+") else commit


def cells(options: argparse.Namespace) -> list[Load]:
    """What is to be measured, in this order."""
    contestants = contestants_of(options.contestants, CONTESTANTS)
    return [
        Load(size, contestant, streams, repeat, options.seconds, options.most_seconds)
        for size in sizes_of(options.models)
        for repeat in range(1, options.repeats + 1)
        for streams in streams_of(options.streams)
        for contestant in contestants
    ]


def cell_line(cell: Mapping[str, Any]) -> str:
    first = cell["first_token_seconds"]["50"]
    return (
        f"{cell['size']}, {cell['streams']} streams, {cell['contestant']}: {cell['tokens_per_second']:,.0f} tokens/s, "
        f"first token after {1000 * first:.0f} ms, {cell['peak_bytes'] / 1e6:.0f} MB, "
        f"{cell['failed']} failed and {cell['cut']} cut of {cell['requests']}"
    )


def run(given: list[str]) -> int:
    options = parse(given)
    bench = bench_of(options)
    cells(options)  # what makes no sense is told before any work
    bench.claim()
    open_files()
    machine, _ = bench.workshop.job("describe", "machine")
    write_json(bench.out / "machine.json", machine)
    for line in machine_lines(machine):
        show(line)
    failures: list[str] = []
    holds = True
    for name in ("load", *CHECKS):
        if options.command not in (name, "all"):
            continue
        if name == "load":
            verdict, failures = load(replace(bench, cores=options.cores or 1), options, machine)
        else:
            verdict = checked(bench, name, options)
        verdict.tell(bench.out)
        holds = holds and verdict.holds
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures or not holds else 0


def checked(bench: Bench, name: str, options: argparse.Namespace) -> Verdict:
    """What a check finds; one that cannot be carried out is a claim that does not hold."""
    try:
        bench.served(bench.sizes[0])  # made with all cores
        return CHECKS[name](bench, options)
    except (Failed, OSError) as error:
        verdict = Verdict(name)
        verdict.claim("the check can be carried out", False, str(error))
        return verdict


def worker() -> Callable[..., None]:
    from serve_bench.jobs import work

    return work


def main(given: list[str]) -> int:
    return command(given, run, worker)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
