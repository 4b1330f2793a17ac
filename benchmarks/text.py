"""How good and how fast our text models are, against baselines at equal wall-clock and threads.

    python benchmarks/text.py --data DIR --out DIR [--minutes 3] [--seeds 3] [--texts tinyshakespeare,chat,my.txt]

trains, taking turns: our default, by `bowerbird train` and nothing more; a GPT-style transformer in the shape of
nanoGPT's README for a CPU, in the fastest of four ways to run it; and a plain `nn.LSTM` with AdamW. All see the same
text. Each is scored on all of the held-out tenth, then they generate side by side. Every finished cell is a line in
OUT/cells.jsonl, and the same command again goes on from there. It ends with a table, OUT/summary.json and
OUT/curves.png. `decode` measures generation again, `--summary-only` only shows what there is.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bowerbird.base.errors import NotFound, UsageError
from bowerbird.base.files import write_json
from tables import machine_lines, show
from text_bench.running import CONTESTANTS, VARIANTS, Bench
from text_bench.summary import decode_lines, probe_lines, write_summary
from text_bench.texts import sources_of
from workplace import Failed, check_positive, command, contestants_of, ending, processors, read, take_turns

LENGTHS = "1:4000,64:200,256:200"


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/text.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", default="all", choices=("all", "decode"))
    parser.add_argument("--out", type=Path, default=Path("runs/bench-text"), help="where results are kept")
    parser.add_argument("--data", type=Path, help="folder with tinyshakespeare/input.txt and names/names.txt")
    parser.add_argument("--texts", help="names or paths with commas; by default all that can be had")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS))
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 1 on")
    parser.add_argument("--minutes", type=float, default=3.0, help="for each training")
    parser.add_argument("--threads", type=int, default=processors(), help="for everyone")
    parser.add_argument(
        "--probe-seconds", type=float, default=20.0, help="for each way to run the transformer"
    )
    parser.add_argument(
        "--compile-inside",
        action="store_true",
        help="count compilation; by default the clock starts after it",
    )
    parser.add_argument("--lengths", default=LENGTHS, help="streams:tokens a stream, of the generation")
    parser.add_argument("--summary-only", action="store_true")
    return parser.parse_args(given)


def bench_of(options: argparse.Namespace) -> Bench:
    """The benchmark that is asked for.

    Raises:
        UsageError: something in it makes no sense.
    """
    contestants = contestants_of(options.contestants, CONTESTANTS)
    check_positive(options, "seeds", "minutes", "threads", "probe_seconds")
    return Bench(
        out=options.out.absolute(),
        minutes=options.minutes,
        threads=options.threads,
        seeds=options.seeds,
        contestants=contestants,
        texts=sources_of(options.texts, options.data),
        probe_seconds=options.probe_seconds,
        compile_inside=options.compile_inside,
    )


def lengths_of(given: str) -> dict[str, int]:
    """Streams and tokens a stream, from `1:4000,64:200`."""
    try:
        return {
            str(int(streams)): int(length) for streams, length in (p.split(":") for p in given.split(","))
        }
    except ValueError:
        raise UsageError(f"--lengths {given} is not a list of streams:tokens", hint=LENGTHS) from None


def probe(bench: Bench, text: str) -> str:
    """The fastest way to run the transformer that works, tried once and kept in `probes.json`."""
    path = bench.out / "probes.json"
    if not path.exists():
        tried = {variant: probe_one(bench, text, variant) for variant in VARIANTS}
        best = max(tried, key=lambda variant: tried[variant]["finite"] * tried[variant]["steps_per_second"])
        write_json(path, {"text": text, "best": best, "probes": tried})
        show(probe_lines(read(path))[0])
    found = read(path)
    best = str(found["best"])
    if not found["probes"][best]["finite"]:
        raise Failed("the transformer trains in none of its ways", where=path)
    return best


def probe_one(bench: Bench, text: str, variant: str) -> dict[str, Any]:
    return bench.place.probe(
        f"probe-{variant.replace(' ', '-')}",
        dataset=bench.dataset(text, "transformer"),
        variant=variant,
        seconds=bench.probe_seconds,
    )


def train_all(bench: Bench) -> list[str]:
    """Every cell that is not done yet, contestants taking turns; returns what failed."""
    for text in bench.texts:
        bench.prepare(text)

    def train(text: str, seed: int, contestant: str) -> dict[str, Any]:
        way = probe(bench, next(iter(bench.texts))) if contestant == "transformer" else ""
        return bench.cell(text, seed, contestant, way)

    return take_turns(
        bench.place, "text", list(bench.texts), bench.seeds, bench.contestants, train, cell_line
    )


def cell_line(cell: dict[str, Any]) -> str:
    return (
        f"{cell['text']}, seed {cell['seed']}, {cell['contestant']}: {cell['bits_per_byte']:.4f} bits a byte"
    )


def decode(bench: Bench, lengths: dict[str, int], *, again: bool) -> None:
    """Generation by the models of the first text and seed."""
    text = next(iter(bench.texts))
    models = {name: bench.model(text, 1, name) for name in bench.contestants}
    models = {name: path for name, path in models.items() if path.exists()}
    if not models:
        raise NotFound(
            "there are no trained models to generate with", where=bench.out, hint="leave `decode` out"
        )
    path = bench.out / "decode.json"
    if again or set(read(path).get("contestants", {})) != set(models):
        path.unlink(missing_ok=True)
    dataset = bench.dataset(text, "transformer")
    bench.place.kept("decode", "decode", dataset=dataset, models=models, lengths=lengths, repeats=3)


def run(given: list[str]) -> int:
    options = parse(given)
    lengths = lengths_of(options.lengths)
    bench = bench_of(options)
    failures: list[str] = []
    if not options.summary_only:
        bench.claim()
        machine = bench.place.kept("machine", "describe")
        for line in machine_lines(machine):
            show(line)
        if options.command == "decode":
            decode(bench, lengths, again=True)
            for line in decode_lines(read(bench.out / "decode.json")):
                show(line)
            return 0
        failures = train_all(bench)
        decode(bench, lengths, again=False)
    return ending(write_summary(bench.out), failures)


def worker() -> Callable[..., None]:
    from text_bench.jobs import work

    return work


def main(given: list[str]) -> int:
    return command(given, run, worker)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
