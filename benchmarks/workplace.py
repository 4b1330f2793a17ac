"""Where a benchmark works: a folder of finished cells, and a process of its own for each piece of work.

This side imports neither torch nor numpy: a child's peak memory counts what its parent held when it was started.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird.base.errors import BowerbirdError, UnknownName, UsageError
from bowerbird.base.files import write_json

_ERROR = re.compile(r"error: |[\w.]*(Error|Exception|Interrupt)\b")
"""How the line of a log begins that says what went wrong."""


class Failed(BowerbirdError):
    """A child process did not do its work."""


@dataclass(frozen=True)
class Child:
    """What a process cost: seconds from start to end, and its peak resident memory in bytes."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Workplace:
    """The folder of a benchmark, the threads that everyone gets, and the script whose workers do its jobs."""

    out: Path
    threads: int
    script: Path

    @property
    def cells_path(self) -> Path:
        return self.out / "cells.jsonl"

    @property
    def environment(self) -> dict[str, str]:
        """Of its processes: its own threads and workspace, everyone on the processor, no options of the user's."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BOWERBIRD_")}
        return {
            **kept,
            "OMP_NUM_THREADS": str(self.threads),
            "CUDA_VISIBLE_DEVICES": "",
            "BOWERBIRD_WORKSPACE": str(self.out / "workspace"),
        }

    def claim(
        self, folders: Sequence[str], settled: Mapping[str, Any], what: str, wanted: Mapping[str, Any]
    ) -> None:
        """Make the folder one benchmark's own, with these folders in it.

        `settled` are settings that hold for all its cells; `wanted` are its texts or sets, which is `what` they are
        called, by name: more of them may come, none may change.

        Raises:
            UsageError: it holds cells of other settings, or of others by these names, which must not be mixed.
        """
        for folder in folders:
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        path = self.out / "settings.json"
        held = read(path) or {**settled, what: {}}
        all_of_them = {**wanted, **held.pop(what)}
        unlike = {key: value for key, value in held.items() if settled[key] != value}
        unlike |= {name: all_of_them[name] for name, one in wanted.items() if all_of_them[name] != one}
        if unlike:
            told = ", ".join(f"{key} {value}" for key, value in unlike.items())
            raise UsageError(f"this folder holds results for {told}", where=self.out, hint="another --out")
        write_json(path, {**settled, what: all_of_them})

    def log(self, name: str) -> Path:
        return self.out / "logs" / f"{name}.log"

    def cells(self) -> list[dict[str, Any]]:
        """What is done. A line that was cut short is left out, and its cell done again."""
        return read_lines(self.cells_path)

    def add(self, cell: dict[str, Any]) -> None:
        """Append a finished cell as one line, on the disk when this returns."""
        with self.cells_path.open("a+b") as file:
            if file.tell() and not self.cells_path.read_bytes().endswith(b"\n"):
                file.write(b"\n")
            file.write(json.dumps(cell).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def child(self, command: list[str], log: str) -> Child:
        """Run a command with this benchmark's threads and wait for it; its output goes into a log.

        Raises:
            Failed: it ended with an error.
        """
        path = self.log(log)
        began = time.monotonic()
        with path.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=self.environment
            )
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except KeyboardInterrupt:
                process.wait()  # it was told too, and saves what it has
                raise
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            told = [line for line in lines if _ERROR.match(line)] or lines
            raise Failed(f"{log}: {told[-1] if told else f'exit {process.returncode}'}", where=path)
        unit = 1 if sys.platform == "darwin" else 1024
        return Child(seconds, usage.ru_maxrss * unit)

    def job(self, name: str, log: str, /, **arguments: Any) -> tuple[dict[str, Any], Child]:
        """Have a worker do a job; returns what it found and what it cost."""
        answer = self.out / "logs" / f"{log}.json"
        answer.unlink(missing_ok=True)
        told = json.dumps(arguments, default=str)
        child = self.child([sys.executable, str(self.script), "worker", name, told, str(answer)], log)
        found = json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink()
        return found, child

    def probe(self, log: str, **arguments: Any) -> dict[str, Any]:
        """What the worker's job `probe` found of a way to train; of one that fails, that it makes no steps."""
        try:
            return self.job("probe", log, **arguments)[0]
        except Failed as error:
            return {"finite": False, "steps_per_second": 0.0, "failed": error.what}

    def kept(self, name: str, job: str, /, **arguments: Any) -> dict[str, Any]:
        """What a job found, from `NAME.json` if it was done before."""
        path = self.out / f"{name}.json"
        if not path.exists():
            found, _ = self.job(job, name, **arguments)
            write_json(path, found)
        return read(path)


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def read(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, one a line. A line that was cut short is left out."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("}")]


def contestants_of(given: str, known: Sequence[str]) -> tuple[str, ...]:
    """The contestants that are named, with commas between them.

    Raises:
        UnknownName: there is no such contestant.
        UsageError: none is named.
    """
    named = tuple(part.strip() for part in given.split(",") if part.strip())
    for name in named:
        if name not in known:
            raise UnknownName("contestant", name, known)
    if not named:
        raise UsageError("name at least one contestant", hint=f"--contestants {','.join(known)}")
    return named


def check_positive(options: argparse.Namespace, *names: str) -> None:
    """Refuse options that must be more than 0 and are not."""
    for name in names:
        if getattr(options, name) <= 0:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0")


def take_turns(
    place: Workplace,
    what: str,
    names: Sequence[str],
    seeds: int,
    contestants: Sequence[str],
    train: Callable[[str, int, str], dict[str, Any]],
    line: Callable[[dict[str, Any]], str],
) -> list[str]:
    """Train every cell that is not done yet, contestants taking turns; returns what failed.

    `what` names the key of a cell that holds which of the `names` (of texts or sets) it is of.
    """
    failures: list[str] = []
    done = {(cell[what], cell["seed"], cell["contestant"]) for cell in place.cells()}
    for seed in range(1, seeds + 1):
        for name in names:
            for contestant in contestants:
                if (name, seed, contestant) in done:
                    continue
                try:
                    cell = train(name, seed, contestant)
                except Failed as error:
                    failures.append(str(error))
                    print(f"failed: {error}", flush=True)
                    continue
                print(line(cell), flush=True)
    return failures


def ending(lines: Sequence[str], failures: Sequence[str]) -> int:
    """Show the last lines of a benchmark, and once more what failed; returns its exit code."""
    for line in lines:
        print(line, flush=True)
    for failure in failures:
        print(f"failed: {failure}", file=sys.stderr)
    return 1 if failures else 0


def command(
    given: Sequence[str], run: Callable[[list[str]], int], worker: Callable[[], Callable[..., None]]
) -> int:
    """A benchmark as a command, or one of the processes that do its jobs: `worker` loads what these need."""
    if list(given[:1]) == ["worker"]:
        worker()(given[1], given[2], Path(given[3]))
        return 0
    try:
        return run(list(given))
    except BowerbirdError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
