"""`serve --workers 2` as a user runs it: both answer, sessions are shared, who dies is replaced, all drain.

A worker that is stopped (SIGSTOP) takes no connections, so that the other one has to.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from tests.serving.paced import until
from tests.serving.scraped import Scraped, scraped

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="several workers need a POSIX system"),
]
GREEDY: dict[str, Any] = {"model": "tiny", "temperature": 0, "max_tokens": 12}


@dataclass(frozen=True)
class Serving:
    """A server of two workers."""

    url: str
    metrics_url: str
    process: subprocess.Popen[str]

    @property
    def workers(self) -> list[psutil.Process]:
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "spawn_main" in " ".join(child.cmdline())]

    @contextmanager
    def only(self, one: psutil.Process) -> Iterator[None]:
        """While inside, only this worker answers."""
        others = [worker for worker in self.workers if worker != one]
        for other in others:
            other.suspend()
        try:
            yield
        finally:
            for other in others:
                other.resume()

    def ask(self, **fields: Any) -> dict[str, Any]:
        """By a connection of its own."""
        answer = httpx.post(f"{self.url}/v1/completions", json={**GREEDY, **fields}, timeout=60)
        assert answer.status_code == 200, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def text(self, **fields: Any) -> str:
        return str(self.ask(**fields)["choices"][0]["text"])

    def metrics(self, url: str = "") -> Scraped:
        return scraped(httpx.get(url or self.metrics_url, timeout=60).text)

    def asked(self, url: str = "") -> float:
        """Completions that were answered, by the metrics."""
        return self.metrics(url).total("requests_total", path="/v1/completions", status="200")


@pytest.fixture
def serving(tiny_run: Path) -> Iterator[Serving]:
    command = [sys.executable, "-m", "bowerbird", "serve", str(tiny_run), "--port", "0", "--json"]
    command += ["--workers", "2", "--metrics-port", "0", "--drain-seconds", "30"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            assert said, process.communicate()[1]
            told = json.loads(said)
            yield Serving(told["url"], told["metrics"], process)
        finally:
            if process.poll() is None:
                process.terminate()
                process.communicate(timeout=60)


def test_both_answer_the_same_and_are_counted_together(serving: Serving) -> None:
    first, second = serving.workers
    texts = set()
    for one in (first, second):
        with serving.only(one):
            texts |= {serving.text(prompt="the sea", seed=seed) for seed in (1, 2)}
            assert httpx.get(f"{serving.url}/ready", timeout=60).status_code == 200
    assert len(texts) == 1  # at temperature 0 the seed does not matter, nor does who makes it
    until(lambda: serving.asked() == 4)
    for one in (first, second):
        with serving.only(one):  # each tells of both
            assert serving.asked(f"{serving.url}/metrics") == 4
    found = serving.metrics()
    assert found.total("model_info", model="tiny") == 1
    memory = sum(worker.memory_info().rss for worker in (first, second))
    until(lambda: serving.metrics().value("resident_memory_bytes") > memory / 2)


def test_a_session_goes_on_at_whichever_worker_hears_of_it(serving: Serving) -> None:
    first, second = serving.workers
    told: dict[str, list[str]] = {"moving": [], "staying": []}
    for name, places in (("moving", (first, second, first)), ("staying", (first, first, first))):
        for prompt, one in zip(("the sea ", "and ", "so "), places, strict=True):
            with serving.only(one):
                told[name].append(serving.text(prompt=prompt, session=name))
    assert told["moving"] == told["staying"]
    for one in (first, second):
        with serving.only(one):
            found = httpx.get(f"{serving.url}/v1/sessions", timeout=60).json()["data"]
            assert {session["id"] for session in found} == {"moving", "staying"}
            assert len({session["tokens"] for session in found}) == 1


def test_who_is_killed_is_replaced_while_the_other_answers(serving: Serving) -> None:
    first, second = serving.workers
    with serving.only(first):
        before = serving.text(prompt="the sea")
    first.kill()
    assert [serving.text(prompt="the sea") for _ in range(5)] == [before] * 5
    until(lambda: len(serving.workers) == 2 and first not in serving.workers)
    third = next(worker for worker in serving.workers if worker != second)
    with serving.only(third):  # it is warm before it takes anything, so this waits
        assert serving.text(prompt="the sea") == before
    until(lambda: serving.asked() == 7)  # what the one that was killed had counted is not lost
    err = stopped(serving)
    assert "ended (signal SIGKILL); another takes its place" in err


def test_sigterm_lets_all_streams_end(serving: Serving) -> None:
    asked = {**GREEDY, "prompt": "the ", "max_tokens": 20_000, "stream": True, "logit_bias": {"0": -100}}
    bodies: list[str] = []
    with httpx.Client(timeout=60) as one, httpx.Client(timeout=60) as two:
        first, second = serving.workers
        with serving.only(first):
            begun = one.send(
                one.build_request("POST", f"{serving.url}/v1/completions", json=asked), stream=True
            )
        with serving.only(second):
            other = two.send(
                two.build_request("POST", f"{serving.url}/v1/completions", json=asked), stream=True
            )
        serving.process.send_signal(signal.SIGTERM)
        bodies = ["".join(answer.iter_text()) for answer in (begun, other)]
        begun.close()
        other.close()
    for body in bodies:
        assert body.endswith("data: [DONE]\n\n")
        assert body.count('"finish_reason":"length"') == 1
    out, err = serving.process.communicate(timeout=60)
    assert (serving.process.returncode, out) == (0, ""), err
    assert "Traceback" not in err
    assert not any(worker.is_running() for worker in (first, second))


def test_ctrl_c_in_a_terminal_which_reaches_everybody_ends_all(serving: Serving) -> None:
    first, second = serving.workers
    for process in (serving.process.pid, first.pid, second.pid):
        os.kill(process, signal.SIGINT)
    out, err = serving.process.communicate(timeout=60)
    assert (serving.process.returncode, out) == (0, ""), err
    assert "Traceback" not in err
    assert not any(worker.is_running() for worker in (first, second))


def stopped(serving: Serving) -> str:
    """What a server has said on stderr, once it was asked to stop."""
    serving.process.send_signal(signal.SIGTERM)
    out, err = serving.process.communicate(timeout=60)
    assert (serving.process.returncode, out) == (0, ""), err
    return err


@pytest.mark.parametrize("option", ["--require-signature", "--access-log"])
def test_what_keeps_a_worker_from_starting_is_told_as_if_there_were_one(
    option: str, tiny_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    value = tmp_path / "file" / "x"
    codes = set()
    for workers in ("1", "2"):
        command = [
            sys.executable,
            "-m",
            "bowerbird",
            "serve",
            str(tiny_run),
            "--port",
            "0",
            option,
            str(value),
        ]
        ran = subprocess.run(
            [*command, "--workers", workers], capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.stderr.startswith("error: "), ran.stderr
        assert "Traceback" not in ran.stderr
        codes.add(ran.returncode)
    assert len(codes) == 1
    assert codes <= {3, 4}
