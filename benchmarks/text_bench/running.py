"""Starts each piece of the benchmark as a process of its own and keeps what came of it, so that a rerun goes on.

This side imports neither torch nor numpy: a child's peak memory counts what its parent held when it was started.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird.base.errors import BowerbirdError, UsageError
from bowerbird.base.files import write_json
from text_bench.summary import read, read_lines

SCRIPT = Path(__file__).resolve().parent.parent / "text.py"
CONTESTANTS = ("ours", "transformer", "lstm")
VARIANTS = {
    "eager float32": {"compiled": False, "bfloat16": False},
    "eager bfloat16": {"compiled": False, "bfloat16": True},
    "compiled float32": {"compiled": True, "bfloat16": False},
    "compiled bfloat16": {"compiled": True, "bfloat16": True},
}
"""Ways to train the transformer."""


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
class Bench:
    """One benchmark in a folder: what is asked for, and where its parts lie."""

    out: Path
    minutes: float
    threads: int
    seeds: int
    contestants: tuple[str, ...]
    texts: dict[str, str]
    probe_seconds: float
    compile_inside: bool

    @property
    def cells_path(self) -> Path:
        return self.out / "cells.jsonl"

    def model(self, text: str, seed: int, contestant: str) -> Path:
        """The run folder, or the file of weights, of a cell."""
        return (
            self.out
            / "models"
            / f"{text}-{seed}-{contestant}{'' if contestant == 'ours' else '.safetensors'}"
        )

    def dataset(self, text: str, contestant: str) -> Path:
        return self.out / "datasets" / (text if contestant == "ours" else f"{text}-characters")

    def claim(self) -> None:
        """Make the folder this benchmark's own.

        Raises:
            UsageError: it holds cells of other minutes, threads or texts, which must not be mixed with these.
        """
        for folder in ("models", "datasets", "logs"):
            (self.out / folder).mkdir(parents=True, exist_ok=True)
        settled = {
            "minutes": self.minutes,
            "threads": self.threads,
            "compile_inside": self.compile_inside,
        }
        path = self.out / "settings.json"
        held = read(path) or {**settled, "texts": {}}
        texts = {**self.texts, **held.pop("texts")}
        unlike = {key: value for key, value in held.items() if settled[key] != value}
        unlike |= {name: texts[name] for name, source in self.texts.items() if texts[name] != source}
        if unlike:
            told = ", ".join(f"{key} {value}" for key, value in unlike.items())
            raise UsageError(f"this folder holds results for {told}", where=self.out, hint="another --out")
        write_json(path, {**settled, "texts": texts})

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
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BOWERBIRD_")}
        environment = {
            **kept,
            "OMP_NUM_THREADS": str(self.threads),
            "CUDA_VISIBLE_DEVICES": "",  # everyone on the processor
            "BOWERBIRD_WORKSPACE": str(self.out / "workspace"),
        }
        path = self.out / "logs" / f"{log}.log"
        began = time.monotonic()
        with path.open("wb") as file:
            process = subprocess.Popen(
                command, stdout=file, stderr=file, stdin=subprocess.DEVNULL, env=environment
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
        child = self.child([sys.executable, str(SCRIPT), "worker", name, told, str(answer)], log)
        found = json.loads(answer.read_text(encoding="utf-8"))
        answer.unlink()
        return found, child

    def kept(self, name: str, job: str, /, **arguments: Any) -> dict[str, Any]:
        """What a job found, from `NAME.json` if it was done before."""
        path = self.out / f"{name}.json"
        if not path.exists():
            found, _ = self.job(job, name, **arguments)
            write_json(path, found)
        return read(path)

    def prepare(self, text: str) -> dict[str, Any]:
        if not (self.out / f"text-{text}.json").exists():
            for contestant in ("ours", "transformer"):  # half-made by a run that was stopped
                shutil.rmtree(self.dataset(text, contestant), ignore_errors=True)
        ours, characters = self.dataset(text, "ours"), self.dataset(text, "transformer")
        return self.kept(f"text-{text}", "prepare", source=self.texts[text], ours=ours, characters=characters)

    def cell(self, text: str, seed: int, contestant: str, variant: str) -> dict[str, Any]:
        """Train one contestant on one text with one seed, and score it."""
        dataset, model = self.dataset(text, contestant), self.model(text, seed, contestant)
        log = f"{text}-{seed}-{contestant}"
        if contestant == "ours":
            shutil.rmtree(model, ignore_errors=True)
            command = [sys.executable, "-m", "bowerbird", "train", str(dataset), "--out", str(model)]
            command += ["--minutes", f"{self.minutes:g}", "--seed", str(seed), "--json", "--quiet"]
            child = self.child(command, log)
            outcome = json.loads(
                (self.out / "logs" / f"{log}.log").read_text(encoding="utf-8").splitlines()[-1]
            )
            score, _ = self.job("score_ours", f"{log}-score", run=model, dataset=dataset)
            learnt = {key: outcome[key] for key in ("steps", "seconds", "stopped")}
        else:
            learnt, child = self.job(
                "learn_baseline",
                log,
                contestant=contestant,
                dataset=dataset,
                seconds=self.minutes * 60,
                seed=seed,
                weights=model,
                variant=variant,
                compile_inside=self.compile_inside,
            )
            score, _ = self.job(
                "score_baseline", f"{log}-score", contestant=contestant, dataset=dataset, weights=model
            )
        cost = {"process_seconds": child.seconds, "peak_bytes": child.peak_bytes}
        cell = {"text": text, "seed": seed, "contestant": contestant, **learnt, **score, **cost}
        self.add(cell)
        return cell
