"""How good and how fast our image models are, against baselines at equal wall-clock and threads.

    python benchmarks/image.py --data DIR --out DIR [--minutes 5] [--seeds 3] [--sets fashion,icons-32,my-photos/]

trains, taking turns: our default, by `bowerbird train` and nothing more; a DCGAN as tutorials have it; and the same
networks with a Wasserstein loss and gradient penalty. The baselines run in the fastest of several ways. All see the
same pictures; each is scored on as many made pictures as are held out, by two extractors, then they generate side by
side. `--small N` learns from N pictures of one class, with and without augmentation. Every finished cell is a line in
OUT/cells.jsonl, and the same command again goes on from there. It ends with tables, OUT/summary.json, OUT/curves.png
and sheets of pictures. `generate` measures generation again, `--summary-only` only shows what there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bowerbird.base.errors import NotFound, UsageError
from bowerbird.base.files import write_json
from image_bench.running import BASELINES, CONTESTANTS, Bench, usual
from image_bench.sets import sets_of
from image_bench.summary import collapsed, generate_lines, probe_lines, told, write_summary
from tables import machine_lines, show
from workplace import Failed, check_positive, command, contestants_of, ending, processors, read, take_turns

BATCHES = (1, 64)
RATE_SECONDS = 2.0


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/image.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", default="all", choices=("all", "generate"))
    parser.add_argument("--out", type=Path, default=Path("runs/bench-image"), help="where results are kept")
    parser.add_argument("--data", type=Path, help="folder with fashion-mnist/, for the set `fashion`")
    parser.add_argument("--sets", help="names or paths with commas; by default all that can be had")
    parser.add_argument("--size", type=int, help="of the pictures of paths; by default `prepare` chooses")
    parser.add_argument("--small", type=int, default=0, help="learn from so many pictures of one class")
    parser.add_argument("--contestants", help=",".join(CONTESTANTS))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 1 on")
    parser.add_argument("--minutes", type=float, default=5.0, help="for each training")
    parser.add_argument("--threads", type=int, default=processors(), help="for everyone")
    parser.add_argument("--samples", type=int, default=5000, help="pictures of a score, at most")
    parser.add_argument("--probe-seconds", type=float, default=10.0, help="for each way to train a baseline")
    parser.add_argument("--float32", action="store_true", help="baselines in nothing but float32")
    parser.add_argument("--summary-only", action="store_true")
    return parser.parse_args(given)


def bench_of(options: argparse.Namespace) -> Bench:
    """The benchmark that is asked for.

    Raises:
        UsageError: something in it makes no sense.
    """
    named = options.contestants
    contestants = usual(options.small) if named is None else contestants_of(named, CONTESTANTS)
    check_positive(options, "seeds", "minutes", "threads", "samples", "probe_seconds")
    if options.small < 0 or options.small == 1:
        raise UsageError("--small must be 2 or more", hint="leave it out to learn from all pictures")
    return Bench(
        out=options.out.absolute(),
        minutes=options.minutes,
        threads=options.threads,
        seeds=options.seeds,
        samples=options.samples,
        contestants=contestants,
        sets=sets_of(options.sets, options.data, options.size, options.small),
        probe_seconds=options.probe_seconds,
        float32=options.float32,
    )


def probe(bench: Bench, contestant: str) -> str:
    """The fastest way to train a baseline that works, tried once on the first set and kept in `probes.json`."""
    path = bench.out / "probes.json"
    probes = read(path)
    if contestant not in probes:
        name = next(iter(bench.sets))
        tried = {way: probe_one(bench, name, contestant, way) for way in bench.ways}
        best = max(tried, key=lambda way: tried[way]["finite"] * tried[way]["steps_per_second"])
        probes[contestant] = {"set": name, "best": best, "probes": tried}
        write_json(path, probes)
        show(probe_lines({contestant: probes[contestant]})[0])
    found = probes[contestant]
    best = str(found["best"])
    if not found["probes"][best]["finite"]:
        raise Failed(f"{contestant} trains in none of its ways", where=path)
    return best


def probe_one(bench: Bench, name: str, contestant: str, way: str) -> dict[str, Any]:
    return bench.place.probe(
        f"probe-{contestant}-{way.replace(' ', '-')}",
        contestant=contestant,
        dataset=bench.dataset(name),
        way=way,
        seconds=bench.probe_seconds,
    )


def train_all(bench: Bench) -> list[str]:
    """Every cell that is not done yet, contestants taking turns; returns what failed."""
    for name in bench.sets:
        bench.prepare(name)

    def train(name: str, seed: int, contestant: str) -> dict[str, Any]:
        return bench.cell(name, seed, contestant, probe(bench, contestant) if contestant in BASELINES else "")

    return take_turns(bench.place, "set", list(bench.sets), bench.seeds, bench.contestants, train, cell_line)


def cell_line(cell: dict[str, Any]) -> str:
    fids = ", ".join(f"FID {told(scores['fid'])} ({name})" for name, scores in cell["scores"].items())
    verdict = " (collapsed)" if collapsed(cell) else ""
    return f"{cell['set']}, seed {cell['seed']}, {cell['contestant']}: {fids or 'nothing'}{verdict}"


def generate(bench: Bench, *, again: bool) -> None:
    """Generation by the models of the first set and seed.

    Raises:
        NotFound: there are none, and it is asked for.
    """
    name = next(iter(bench.sets))
    done = {
        cell["contestant"]: cell["way"]
        for cell in bench.place.cells()
        if (cell["set"], cell["seed"]) == (name, 1) and cell["scores"]
    }
    models = {
        contestant: bench.model(name, 1, contestant) for contestant in CONTESTANTS if contestant in done
    }
    if not models and not again:
        return
    if not models:
        raise NotFound(
            "there are no trained models to generate with", where=bench.out, hint="leave `generate` out"
        )
    path = bench.out / "generate.json"
    if again or set(read(path).get("contestants", {})) != set(models):
        path.unlink(missing_ok=True)
    bench.place.kept(
        "generate",
        "generate",
        dataset=bench.dataset(name),
        models=models,
        ways=done,
        batches=BATCHES,
        seconds=RATE_SECONDS,
    )


def run(given: list[str]) -> int:
    options = parse(given)
    bench = bench_of(options)
    failures: list[str] = []
    if not options.summary_only:
        bench.claim()
        machine = bench.place.kept("machine", "describe")
        for line in machine_lines(machine):
            show(line)
        if options.command == "generate":
            generate(bench, again=True)
            for line in generate_lines(read(bench.out / "generate.json")):
                show(line)
            return 0
        failures = train_all(bench)
        generate(bench, again=False)
    return ending(write_summary(bench.out), failures)


def worker() -> Callable[..., None]:
    from image_bench.jobs import work

    return work


def main(given: list[str]) -> int:
    return command(given, run, worker)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
