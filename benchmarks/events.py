"""What recording every request costs: tokens a second with full events against none, taking turns in one run.

    python benchmarks/events.py --data DIR --out DIR [--models 1m] [--streams 64] [--rounds 12] [--seconds 5]

Two servers of one model are started, `bowerbird serve --events off` and `--events full`, both on the same core as
the clients. In each round one of them is loaded for some seconds while the other has nothing to do, then the other,
and in the next round the other way round: 200 tokens a request, streamed, temperature 0.8, top-p 0.95, as in
`benchmarks/serve.py`. What is told is the ratio of their tokens a second, over all rounds and by round, with an
interval of 95 % for the mean of the rounds' ratios (bootstrap). Then the store is read: every answer must be in it,
with its text, and none dropped. OUT/events.json has all numbers; the exit code is 1 where a claim is false.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird.base.errors import NotFound, UnknownName, UsageError
from bowerbird.base.files import write_json
from bowerbird.monitoring.store import EventStore
from serve_bench.answers import read
from serve_bench.claims import Verdict
from serve_bench.client import post
from serve_bench.driving import Driven, drive
from serve_bench.load import warm
from serve_bench.running import SHAPES, Bench, open_files, pinned
from serve_bench.server import Server, running
from tables import machine_lines, show
from workplace import check_positive, command, processors

IN_DATA = "tinyshakespeare/input.txt"
MODES = ("off", "full")
LEAST = 0.95
"""Of the tokens a second without events, with them."""
_COUNTED = re.compile(r'^bowerbird_events_total\{outcome="(\w+)"\} ([0-9.e+]+)$', re.MULTILINE)
_REST_SECONDS = 1.0
"""After a turn, for the last batch of events to be written."""


@dataclass(frozen=True)
class Turn:
    """One server under load."""

    mode: str
    round: int
    tokens: int
    seconds: float
    requests: int
    """Answered whole."""
    failed: int
    server_seconds: float
    """Of processor time."""

    @property
    def rate(self) -> float:
        """Tokens a second."""
        return self.tokens / self.seconds


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks/events.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("runs/bench-events"), help="where results are kept")
    parser.add_argument("--data", type=Path, help=f"folder with {IN_DATA}; without it, made-up sentences")
    parser.add_argument("--models", default="1m", help=f"one of {', '.join(SHAPES)}")
    parser.add_argument("--cores", type=int, default=1, help="for servers and clients together")
    parser.add_argument("--streams", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=5.0, help="of a turn")
    parser.add_argument("--tokens", type=int, default=200, help="a request")
    return parser.parse_args(given)


def bench_of(options: argparse.Namespace) -> Bench:
    """The benchmark that is asked for.

    Raises:
        UsageError, UnknownName, NotFound: something in it makes no sense, or the text is not there.
    """
    check_positive(options, "cores", "streams", "rounds", "seconds", "tokens")
    if options.models not in SHAPES:
        raise UnknownName("model", options.models, SHAPES)
    if options.cores > processors():
        raise UsageError(f"--cores {options.cores}: this process may use 1 to {processors()}")
    text = options.data / IN_DATA if options.data else None
    if text is not None and not text.is_file():
        raise NotFound("the text is not there", where=text, hint="--data DIR names its folder")
    return Bench(
        out=options.out.absolute(),
        text=text,
        sizes=(options.models,),
        cores=options.cores,
        tokens=options.tokens,
    )


def order(rounds: int) -> list[tuple[int, str]]:
    """(round, mode) of all turns: who begins changes from round to round."""
    return [
        (number, mode) for number in range(rounds) for mode in (MODES if number % 2 == 0 else MODES[::-1])
    ]


def measure(bench: Bench, options: argparse.Namespace) -> tuple[list[Turn], dict[str, float], Path]:
    """All turns; the metrics' counts of events at the end; and the store."""
    size = bench.sizes[0]
    model_id = bench.model_id(size)
    store = bench.out / f"events-{time.time_ns()}.sqlite"
    turns: list[Turn] = []
    with ExitStack() as ends:
        ends.enter_context(pinned(bench.cores))
        servers: dict[str, Server] = {}
        for mode in MODES:
            told = ("--events", mode, *(("--events-store", str(store)) if mode == "full" else ()))
            started = running(bench.place, bench.command(size, options=told), f"events-{mode}")
            servers[mode] = ends.enter_context(started)
        for server in servers.values():
            asyncio.run(warm(bench, server, model_id, options.streams))
        for number, mode in order(options.rounds):
            turns.append(turn(bench, servers[mode], model_id, mode, number, options))
            one = turns[-1]
            show(f"round {number + 1}, events {mode}: {one.rate:,.0f} tokens/s, {one.requests} requests")
            time.sleep(_REST_SECONDS)
        counts = {
            outcome: float(count) for outcome, count in _COUNTED.findall(servers["full"].get("/metrics")[1])
        }
    return turns, counts, store


def turn(
    bench: Bench, server: Server, model_id: str, mode: str, number: int, options: argparse.Namespace
) -> Turn:
    """Load one server for a while."""

    def ask(stream: int, made: int) -> bytes:
        seed = stream + (made + number * 1_000) * options.streams
        return post(server.url, "/v1/completions", bench.asked(model_id, seed))

    most = options.seconds + 60.0
    driven: Driven = asyncio.run(
        drive(server, ask, streams=options.streams, seconds=options.seconds, most_seconds=most)
    )
    answers = [read(exchange) for exchange in driven.exchanges]
    return Turn(
        mode,
        number,
        sum(len(answer.text) for answer in answers),
        driven.seconds,
        sum(answer.whole for answer in answers),
        sum(not answer.whole for answer in answers),
        driven.server_seconds,
    )


def ratios(turns: Sequence[Turn]) -> list[float]:
    """Of each round: tokens a second with events, as a share of those without."""
    rates = {(one.round, one.mode): one.rate for one in turns}
    return [rates[number, "full"] / rates[number, "off"] for number in sorted({one.round for one in turns})]


def interval(values: Sequence[float], draws: int = 10_000) -> tuple[float, float]:
    """The middle 95 % of the means of as many values drawn from these with replacement."""
    chance = random.Random(1)
    means = sorted(statistics.fmean(chance.choices(values, k=len(values))) for _ in range(draws))
    return means[int(0.025 * draws)], means[int(0.975 * draws)]


def rate(turns: Sequence[Turn], mode: str) -> float:
    """Tokens a second of all turns of a mode."""
    mine = [one for one in turns if one.mode == mode]
    return sum(one.tokens for one in mine) / sum(one.seconds for one in mine)


def judge(turns: Sequence[Turn], counts: dict[str, float], stored: int, warmed: int) -> Verdict:
    """What was found.

    Args:
        counts: of events by outcome, as the metrics tell.
        stored: events in the store with both texts, status 200 and every token counted.
        warmed: those of them that are of answers made before the first turn.
    """
    verdict = Verdict("events")
    by_round = ratios(turns)
    low, high = interval(by_round)
    whole = rate(turns, "full") / rate(turns, "off")
    asked = sum(one.requests for one in turns if one.mode == "full")
    failed = sum(one.failed for one in turns)
    verdict.claim(
        f"tokens a second with full events are at least {LEAST:.0%} of those without",
        whole >= LEAST,
        f"{whole:.1%} ({rate(turns, 'full'):,.0f} of {rate(turns, 'off'):,.0f}); by round {min(by_round):.1%} to "
        f"{max(by_round):.1%}, mean {statistics.fmean(by_round):.1%} ({low:.1%} to {high:.1%})",
    )
    verdict.claim(
        "no request fails", not failed, f"{failed} of {sum(one.requests + one.failed for one in turns):,}"
    )
    lost = int(counts.get("dropped", 0) + counts.get("failed", 0))
    verdict.claim(
        "every answer is in the store with its words",
        not lost and stored - warmed == asked,
        f"{stored - warmed:,} of {asked:,}; {lost} dropped or failed",
    )
    processor = {
        mode: sum(one.server_seconds for one in turns if one.mode == mode)
        / max(1, sum(one.tokens for one in turns if one.mode == mode))
        for mode in MODES
    }
    verdict.figures |= {
        "ratio": whole,
        "ratios": by_round,
        "interval": [low, high],
        "tokens_per_second": {mode: rate(turns, mode) for mode in MODES},
        "server_seconds_a_token": processor,
        "turns": [vars(one) for one in turns],
    }
    return verdict


def run(given: list[str]) -> int:
    options = parse(given)
    bench = bench_of(options)
    bench.claim()
    open_files()
    machine, _ = bench.workshop.job("describe", "machine")
    write_json(bench.out / "machine.json", machine)
    for line in machine_lines(machine):
        show(line)
    bench.served(bench.sizes[0])  # made with all cores
    turns, counts, path = measure(bench, options)
    with EventStore(path, create=False) as store:
        kept = [event for event in store.read(texts_only=True) if event.status == 200 and event.output]
        size = store.size_bytes()
    warmed = sum(event.settings["max_tokens"] != bench.tokens for event in kept)
    verdict = judge(turns, counts, len(kept), warmed)
    verdict.figures |= {
        "events": len(kept),
        "bytes_an_event": size / max(1, len(kept)),
        "streams": options.streams,
    }
    verdict.notes.append(f"{size / max(1, len(kept)):,.0f} bytes an event")
    verdict.tell(bench.out)
    return 0 if verdict.holds else 1


def worker() -> Callable[..., Any]:
    from serve_bench.jobs import work

    return work


def main(given: list[str]) -> int:
    return command(given, run, worker)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
