"""A server as a process: started, ready, watched, asked to stop. On the cores and threads of the benchmark."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from serve_bench.environments import TRANSFORMERS, interpreter
from workplace import Failed, Workplace

_START_SECONDS = 180.0
_STOP_SECONDS = 60.0
_BASELINE = Path(__file__).with_name("baseline.py")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Server:
    """A process that told its URL and is ready."""

    process: subprocess.Popen[str]
    url: str
    told: Mapping[str, Any]
    """The JSON object that it told when it began."""
    start_seconds: float
    log: Path
    family: tuple[psutil.Process, ...] = ()
    """It and its workers."""

    def resident(self) -> int:
        """Bytes in memory, of its workers too; 0 once it is gone."""
        try:
            return sum(int(one.memory_info().rss) for one in self.family)
        except psutil.NoSuchProcess:
            return 0

    def processor_seconds(self) -> float:
        """That it has computed since it began."""
        times = [one.cpu_times() for one in self.family]
        return float(sum(one.user + one.system for one in times))

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET; status 0 where nobody answers."""
        try:
            with _DIRECT.open(self.url + path, timeout=10) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode("utf-8", "replace")
        except OSError:
            return 0, ""

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def wait(self, seconds: float = _STOP_SECONDS) -> int:
        """Its exit code.

        Raises:
            Failed: it does not end.
        """
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"the server did not end within {seconds:.0f} s", where=self.log) from None


def ours(models: Sequence[str | Path], options: Sequence[str] = ()) -> list[str]:
    """The command that serves models of ours."""
    told = [str(model) for model in models]
    return [sys.executable, "-m", "bowerbird", "serve", *told, "--port", "0", "--json", *options]


def plain(shape: Mapping[str, int], symbols: Path) -> list[str]:
    """The command of the plain server, of a GPT-2 in this shape."""
    sizes = [part for name, value in shape.items() for part in (f"--{name}", str(value))]
    return [str(interpreter(TRANSFORMERS)), "-P", str(_BASELINE), *sizes, "--symbols", str(symbols)]


@contextmanager
def running(place: Workplace, command: Sequence[str], log: str) -> Iterator[Server]:
    """A server that is ready; it ends, politely if it can, with the block.

    Raises:
        Failed: it ended before it was ready, or took too long.
    """
    path = place.log(log)
    path.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with path.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=file,
            stdin=subprocess.DEVNULL,
            env=place.environment,
            text=True,
        )
    try:
        told = _told(process, path)
        server = Server(process, str(told["url"]), told, 0.0, path)
        while server.get("/ready")[0] != 200:
            if process.poll() is not None or time.monotonic() - began > _START_SECONDS:
                raise _not_ready(process, path)
            time.sleep(0.05)
        server.start_seconds = time.monotonic() - began
        itself = psutil.Process(process.pid)
        server.family = (itself, *itself.children(recursive=True))
        yield server
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


def _told(process: subprocess.Popen[str], log: Path) -> dict[str, Any]:
    """The first line that it prints."""
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()

    def pump() -> None:
        assert process.stdout is not None
        lines.put(process.stdout.readline())

    threading.Thread(target=pump, daemon=True).start()
    try:
        return dict(json.loads(lines.get(timeout=_START_SECONDS)))
    except (queue.Empty, ValueError):
        raise _not_ready(process, log) from None


def _not_ready(process: subprocess.Popen[str], log: Path) -> Failed:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    told = next(
        (line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "silent"
    )
    return Failed(f"the server was not ready: {told}", where=log)
