"""The supervisor of workers, with workers that do little: all start, who dies is replaced, and all end with it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.serving import working
from tests.serving.paced import until

from bowerbird.base.errors import BowerbirdError, NotFound
from bowerbird.serving import workers
from bowerbird.serving.server import listen
from bowerbird.serving.workers import Supervisor, cores, environment

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several workers need a POSIX system")
PATIENCE = 60.0
"""Seconds after which a test gives up."""


def word(number: int) -> None:
    """A signal to the supervisor, which runs in the tests' own process."""
    os.kill(os.getpid(), number)


class Watched:
    """A supervisor that runs in this thread, and what is done beside it once all workers are ready."""

    def __init__(self, work: Callable[..., None], *arguments: Any, count: int = 2, drain_seconds: float = 30):
        self.died: list[int] = []
        self.ready: list[Any] = []
        self.supervisor = Supervisor(
            count, work, arguments, drain_seconds=drain_seconds, on_death=self.died.append
        )

    def run(self, beside: Callable[[], None] = lambda: None) -> None:
        """Until what is done beside it has ended."""
        failed: list[BaseException] = []

        def act() -> None:
            try:
                beside()
            except BaseException as error:
                failed.append(error)
            finally:
                if not self.supervisor._stopping:  # else it may have ended, and we would
                    word(signal.SIGTERM)

        thread = threading.Thread(target=act)

        def on_ready(news: Any) -> None:
            self.ready.append(news)
            thread.start()

        self.supervisor.run(on_ready)
        thread.join(PATIENCE)
        assert self.supervisor.pids == []
        assert multiprocessing.active_children() == []
        if failed:
            raise failed[0]


def pids(folder: Path) -> set[int]:
    """Of all workers that were ever ready."""
    return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}


def test_all_start_and_end_with_the_supervisor(tmp_path: Path) -> None:
    watched = Watched(working.wait, tmp_path, count=3)
    seen: list[int] = []
    watched.run(lambda: seen.extend(watched.supervisor.pids))
    assert len(seen) == 3
    assert set(seen) == pids(tmp_path) == set(watched.died)
    assert len(watched.ready) == 1  # what the last of them told
    assert watched.ready[0] in seen
    assert not any(psutil.pid_exists(pid) for pid in seen)


def test_the_first_starts_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watched = Watched(working.wait, tmp_path, count=3)
    begun: list[int] = []
    start = watched.supervisor._start_due

    def noted(most: int) -> None:
        start(most)
        begun.append(len(watched.supervisor.pids))

    monkeypatch.setattr(watched.supervisor, "_start_due", noted)
    watched.run()
    assert begun[0] == 1
    assert begun[-1] == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_it_may_be_stopped_before_all_are_ready(tmp_path: Path, number: int) -> None:
    supervisor = Supervisor(2, working.wait, (tmp_path,), drain_seconds=30)

    def stop() -> None:
        until(lambda: bool(supervisor.pids))
        word(number)

    thread = threading.Thread(target=stop)
    thread.start()
    supervisor.run(lambda news: None)
    thread.join(PATIENCE)
    assert supervisor.pids == []


def test_who_is_killed_is_replaced_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_HEALTHY", 0.0)
    watched = Watched(working.wait, tmp_path)

    def kill_one() -> None:
        first, second = watched.supervisor.pids
        os.kill(first, signal.SIGKILL)
        until(lambda: len(pids(tmp_path)) == 3)
        now = watched.supervisor.pids
        assert second in now
        assert first not in now
        assert len(now) == 2
        assert watched.died == [first]

    watched.run(kill_one)
    assert len(watched.ready) == 1
    assert "ended (signal SIGKILL); another takes its place" in caplog.text


def test_who_dies_again_and_again_is_started_more_and_more_slowly(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(working.wait, tmp_path)
    supervisor = watched.supervisor

    def die_at_once() -> None:
        """Nobody waits for the pauses: what is due is brought forward. The last has paused for long before."""
        for number in range(1, 5):
            if number == 4:
                supervisor._pauses[0] = 20.0
            os.kill(supervisor.pids[0], signal.SIGKILL)
            until(lambda number=number: caplog.text.count("takes its place") == number)
            supervisor._due[0] = 0.0
            until(lambda number=number: len(pids(tmp_path)) == 2 + number)

    watched.run(die_at_once)
    told = [record.getMessage() for record in caplog.records if "takes its place" in record.getMessage()]
    pauses = [message.rpartition(" in ")[2] for message in told]
    assert pauses == ["1 s", "2 s", "4 s", "30 s"]


def test_who_cannot_start_says_why_in_its_own_words(tmp_path: Path) -> None:
    watched = Watched(working.fail, tmp_path)
    with pytest.raises(NotFound) as caught:
        watched.run()
    assert (caught.value.what, caught.value.where, caught.value.hint) == (
        "there is no model",
        "models/poems",
        "publish it",
    )
    assert (caught.value.exit_code, watched.ready, watched.supervisor.pids) == (4, [], [])


def test_who_ends_without_a_word_before_it_is_ready_ends_all(tmp_path: Path) -> None:
    watched = Watched(working.crash, tmp_path)
    with pytest.raises(BowerbirdError, match="exit code 7") as caught:
        watched.run()
    assert "--workers 1" in (caught.value.hint or "")
    assert watched.supervisor.pids == []


def test_who_cannot_start_again_is_tried_again_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_HEALTHY", 0.0)
    watched = Watched(working.wait_unless, tmp_path)

    def break_and_mend() -> None:
        first, second = watched.supervisor.pids
        (tmp_path / "broken").touch()
        os.kill(first, signal.SIGKILL)
        until(lambda: "a worker cannot start: there is no model" in caplog.text)
        assert second in watched.supervisor.pids
        (tmp_path / "broken").unlink()
        until(lambda: len(pids(tmp_path)) == 3)
        assert second in watched.supervisor.pids

    watched.run(break_and_mend)


def test_who_does_not_end_in_time_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workers, "_GRACE", 0.1)
    watched = Watched(working.never_end, tmp_path, drain_seconds=0.1)
    watched.run()
    assert set(watched.died) == pids(tmp_path)
    assert caplog.text.count("did not end in time and is killed") == 2


def test_a_second_ctrl_c_kills_at_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched(working.never_end, tmp_path, drain_seconds=3600)

    def stop_twice() -> None:
        word(signal.SIGINT)
        until(lambda: watched.supervisor._stopping)
        word(signal.SIGINT)
        until(lambda: len(watched.died) == 2)

    watched.run(stop_twice)


def test_a_second_sigterm_changes_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def stop_thrice() -> None:
        for _ in range(3):
            word(signal.SIGTERM)
        until(lambda: watched.supervisor._stopping)

    watched = Watched(working.wait, tmp_path)
    watched.run(stop_thrice)
    assert caplog.text == ""


def test_what_signals_meant_before_they_mean_again(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    Watched(working.wait, tmp_path, count=1).run()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_all_answer_on_one_socket() -> None:
    def told_by(line: socket.socket) -> int:
        return int(line.makefile().readline())

    with listen("127.0.0.1", 0) as bound:
        watched = Watched(working.answer_one_at_a_time, bound)

        def ask() -> None:
            first, second = (
                socket.create_connection(bound.getsockname(), timeout=PATIENCE) for _ in range(2)
            )
            with first, second:  # each keeps one worker
                assert {told_by(first), told_by(second)} == set(watched.supervisor.pids)

        watched.run(ask)


def test_a_supervisor_that_is_killed_leaves_no_orphans(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom bowerbird.serving.workers import Supervisor\n"
        "from tests.serving.working import wait\n"
        "Supervisor(2, wait, (Path(sys.argv[1]),), drain_seconds=1).run(lambda news: print('ready', flush=True))"
    )
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as supervisor:
        assert supervisor.stdout is not None
        assert supervisor.stdout.readline() == "ready\n"
        supervisor.kill()
    assert len(pids(tmp_path)) == 2
    for pid in pids(tmp_path):
        until(lambda pid=pid: not psutil.pid_exists(pid))


def test_variables_are_for_those_that_start_inside_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BOWERBIRD_TEST_ONE", "before")
    monkeypatch.delenv("BOWERBIRD_TEST_TWO", raising=False)
    with environment(BOWERBIRD_TEST_ONE="inside", BOWERBIRD_TEST_TWO="inside"):
        assert os.environ["BOWERBIRD_TEST_ONE"] == os.environ["BOWERBIRD_TEST_TWO"] == "inside"
    assert os.environ["BOWERBIRD_TEST_ONE"] == "before"
    assert "BOWERBIRD_TEST_TWO" not in os.environ


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores() == (os.cpu_count() or 1)
