"""Recording never holds a request up; what is lost is counted, told once, and after a kill told by the next process."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.monitoring.recording_child import CHILD

from bowerbird.base.errors import StorageError
from bowerbird.monitoring import recorder as module
from bowerbird.monitoring import retention
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.recorder import Recorder
from bowerbird.monitoring.retention import Retention
from bowerbird.monitoring.store import EventStore

WAIT = 30.0


def fields(number: int = 0, **given: Any) -> dict[str, Any]:
    about = {"id": f"cmpl-{number}", "time": 1_000.0 + number, "model": "poems", "digest": "sha256:a"}
    return {**about, "kind": "text", "path": "/v1/completions", **given}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAITS", (0.01,))
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[EventStore]:
    with EventStore(tmp_path / "events.sqlite", timeout_seconds=0.05) as store:
        yield store


@pytest.fixture
def recording(store: EventStore) -> Iterator[Callable[..., Recorder]]:
    """Makes recorders that end with the test."""
    made: list[Recorder] = []

    def make(**options: Any) -> Recorder:
        made.append(Recorder(options.pop("store", store), **options))
        return made[-1]

    yield make
    for each in made:
        each.close(0.1)


class Stuck:
    """A store whose writing waits for `go`, or says no as long as `broken`."""

    key = "stuck"

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.broken = False
        self.tries = 0
        self.events: list[Event] = []

    def add(self, events: list[Event], progress: Any = None) -> int:
        self.begun.set()
        self.tries += 1
        if self.broken:
            raise StorageError("the event store said no: database is locked")
        assert self.go.wait(WAIT)
        self.events += events
        return len(events)

    def prune(self, *limits: Any, **more: Any) -> int:
        return 0


def ids(events: Any) -> list[str]:
    return [event.id for event in events]


def test_events_are_written_in_the_order_they_came(recording: Any, store: EventStore) -> None:
    recorder = recording()
    for number in range(1_200):
        recorder.record(fields(number, time=1_000.0 - number))
    assert recorder.flush(WAIT)
    assert ids(store.read()) == [f"cmpl-{number}" for number in range(1_200)]
    assert recorder.counts() == {"written": 1_200, "dropped": 0, "failed": 0}
    assert recorder.close(WAIT) == 0


def test_closing_writes_what_waits_and_takes_no_more(recording: Any, store: EventStore) -> None:
    recorder = recording()
    for number in range(700):
        recorder.record(fields(number))
    assert recorder.close(WAIT) == 0
    assert store.counts(()) == {(): 700}
    recorder.record(fields(700))
    assert recorder.counts() == {"written": 700, "dropped": 1, "failed": 0}
    assert recorder.close(WAIT) == 1


def test_whoever_records_never_waits_and_what_is_too_much_is_dropped(recording: Any, caplog: Any) -> None:
    stuck = Stuck()
    recorder = recording(store=stuck, most_waiting=10)
    for number in range(25):
        recorder.record(fields(number))
    assert recorder.counts()["dropped"] == 15
    stuck.go.set()
    assert recorder.flush(WAIT)
    assert ids(stuck.events) == [f"cmpl-{number}" for number in range(10)]
    recorder.record(fields(30))
    assert recorder.flush(WAIT)
    assert recorder.counts() == {"written": 11, "dropped": 15, "failed": 0}
    assert [record.message for record in caplog.records] == [
        "events come faster than they can be written: some are dropped"
    ]


def test_texts_that_wait_are_bounded_in_bytes(recording: Any) -> None:
    stuck = Stuck()
    recorder = recording(store=stuck, most_waiting_bytes=100_000)
    for number in range(10):
        recorder.record(fields(number, prompt="x" * 20_000, output="y" * 20_000))
    assert recorder.counts()["dropped"] == 8
    stuck.go.set()
    assert recorder.flush(WAIT)
    recorder.record(fields(11, prompt="x" * 50_000))
    assert recorder.flush(WAIT)
    assert recorder.counts()["written"] == 3


def test_a_store_that_says_no_is_tried_again_and_told_of_once(recording: Any, caplog: Any) -> None:
    stuck = Stuck()
    stuck.broken = True
    stuck.go.set()
    recorder = recording(store=stuck, most_waiting=100)
    for number in range(150):
        recorder.record(fields(number))
    until = time.monotonic() + WAIT
    while stuck.tries < 5 and time.monotonic() < until:
        time.sleep(0.01)
    assert stuck.tries >= 5
    assert recorder.counts() == {"written": 0, "dropped": 50, "failed": 0}
    stuck.broken = False
    assert recorder.flush(WAIT)
    assert ids(stuck.events) == [f"cmpl-{number}" for number in range(100)]
    told = [record.message for record in caplog.records]
    assert len(told) == 2, told
    assert "events cannot be written: the event store said no: database is locked; up to 100 wait" in told[0]
    assert told[1] == "events are written again; 50 were dropped so far"
    stuck.broken = True
    recorder.record(fields(200))
    assert recorder.close(0.05) == 51
    assert len(caplog.records) == 3


def test_a_locked_file_loses_nothing_once_it_is_let_go(recording: Any, store: EventStore) -> None:
    recorder = recording()
    other = sqlite3.connect(store.where, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for number in range(50):
        recorder.record(fields(number))
    assert not recorder.flush(0.3)
    other.execute("COMMIT")
    other.close()
    assert recorder.flush(WAIT)
    assert ids(store.read()) == [f"cmpl-{number}" for number in range(50)]


def test_a_file_that_is_gone_is_made_anew(recording: Any, store: EventStore) -> None:
    recorder = recording()
    recorder.record(fields(1))
    assert recorder.flush(WAIT)
    Path(store.where).unlink()
    recorder.record(fields(2))
    assert recorder.flush(WAIT)
    assert ids(store.read()) == ["cmpl-2"]
    assert recorder.counts() == {"written": 2, "dropped": 0, "failed": 0}


def test_a_store_that_never_comes_back_costs_events_and_a_bounded_time(recording: Any) -> None:
    stuck = Stuck()
    recorder = recording(store=stuck)
    for number in range(7):
        recorder.record(fields(number))
    assert stuck.begun.wait(WAIT)
    assert recorder.close(0.1) == 7
    stuck.go.set()
    assert recorder.counts() == {"written": 0, "dropped": 0, "failed": 7}


def test_what_is_no_event_costs_no_others(recording: Any, store: EventStore, caplog: Any) -> None:
    recorder = recording()
    recorder.record(fields(1))
    recorder.record({"id": "x"})
    recorder.record(fields(3))
    assert recorder.close(WAIT) == 1
    assert recorder.counts() == {"written": 2, "dropped": 0, "failed": 1}
    assert ids(store.read()) == ["cmpl-1", "cmpl-3"]
    assert any("is no event" in record.message for record in caplog.records)


@pytest.mark.parametrize(("mode", "texts"), [("off", []), ("counts", [None]), ("full", ["the sea"])])
def test_texts_are_kept_in_the_modes_that_keep_them(
    recording: Any, store: EventStore, mode: str, texts: list[str | None]
) -> None:
    recorder = recording(mode=mode)
    assert recorder.wants_text("cmpl-1") == (mode == "full")
    recorder.record(fields(1, prompt="the sea", output="the sea"))
    assert recorder.flush(WAIT)
    assert [event.prompt for event in store.read()] == texts
    assert [event.output for event in store.read()] == texts


def test_of_a_share_of_answers_the_texts_are_kept_and_all_are_counted(
    recording: Any, store: EventStore
) -> None:
    recorder = recording(mode="sampled", share=0.25)
    for number in range(4_000):
        recorder.record(fields(number, prompt="p", output="o"))
    assert recorder.flush(WAIT)
    kept = {event.id for event in store.read(texts_only=True)}
    assert store.counts(()) == {(): 4_000}
    assert 850 < len(kept) < 1_150  # six standard deviations
    again = recording(mode="sampled", share=0.25)
    assert {f"cmpl-{number}" for number in range(4_000) if again.wants_text(f"cmpl-{number}")} == kept
    most = recording(mode="sampled", share=1.0)
    assert all(most.wants_text(str(number)) for number in range(1_000))
    assert not any(recording(mode="sampled", share=0.0).wants_text(str(number)) for number in range(1_000))


PRIVATE = "Write to ann@example.org, see https://example.org/ann or call +49 30 1234567."
MASKED = "Write to <email>, see <url> or call <phone>."


def test_private_data_is_masked_before_it_is_written(recording: Any, store: EventStore) -> None:
    recorder = recording()
    recorder.record(fields(1, id="ann@example.org", owner="k1", prompt=PRIVATE, output=PRIVATE))
    recorder.record(fields(2, id="cmpl-0301234567890301234567", session="0301234567"))
    assert recorder.close(WAIT) == 0
    first, second = store.read()
    assert (first.id, first.owner, first.prompt, first.output) == ("<email>", "k1", MASKED, MASKED)
    assert (second.id, second.session) == ("cmpl-0301234567890301234567", "0301234567")
    held = b"".join(file.read_bytes() for file in Path(store.where).parent.iterdir() if file.is_file())
    assert b"ann@example" not in held


def test_masking_can_be_switched_off(recording: Any, store: EventStore) -> None:
    recorder = recording(mask=False)
    recorder.record(fields(1, prompt=PRIVATE))
    assert recorder.close(WAIT) == 0
    assert [event.prompt for event in store.read()] == [PRIVATE]


def test_what_is_too_old_is_deleted_a_little_at_a_time(
    recording: Any, store: EventStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "MOST_ROWS", 10)
    now = time.time()
    store.add(Event(**fields(number, time=now - 1_000)) for number in range(35))
    store.add([Event(**fields(99, time=now))])
    recording(retention=Retention(most_age_seconds=100.0))
    until = time.monotonic() + WAIT
    while store.counts(()) != {(): 1} and time.monotonic() < until:
        time.sleep(0.02)
    assert ids(store.read()) == ["cmpl-99"]


def test_a_bound_of_bytes_holds_while_events_come(
    recording: Any, store: EventStore, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)
    recorder = recording(retention=Retention(most_bytes=100_000))
    for number in range(100):
        recorder.record(fields(number, prompt="x" * 5_000))
    assert recorder.flush(WAIT)
    until = time.monotonic() + WAIT
    while store.size_bytes() > 100_000 and time.monotonic() < until:
        time.sleep(0.02)
    assert store.size_bytes() <= 100_000
    assert ids(store.read(newest_first=True, limit=1)) == ["cmpl-99"]


def test_old_events_that_cannot_be_deleted_are_told_of_once(
    recording: Any, caplog: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(module, "EVERY_SECONDS", 0.0)
    stuck = Stuck()
    stuck.go.set()
    tries = threading.Semaphore(0)

    def no(*limits: Any, **more: Any) -> int:
        tries.release()
        raise StorageError("no")

    monkeypatch.setattr(stuck, "prune", no)
    recorder = recording(store=stuck, retention=Retention(1.0))
    for _ in range(3):
        assert tries.acquire(timeout=WAIT)
    recorder.record(fields(1))
    assert recorder.flush(WAIT)
    assert [record.message for record in caplog.records] == ["old events cannot be deleted: no"]


def test_an_end_in_order_leaves_nothing_behind(recording: Any, store: EventStore, tmp_path: Path) -> None:
    tallies = tmp_path / "recorders"
    recorder = recording(tallies=tallies)
    recorder.record(fields(1))
    assert recorder.flush(WAIT)
    assert len(list(tallies.glob("*.tally"))) == 1
    assert recorder.close(WAIT) == 0
    assert list(tallies.iterdir()) == []
    with store._connections.reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM bowerbird_event_writers").scalar() == 0
    assert recording(tallies=tallies).lost_before == 0


def test_one_that_lives_is_not_taken_for_dead(recording: Any, tmp_path: Path) -> None:
    stuck = recording(tallies=tmp_path / "recorders")
    stuck.record(fields(1))
    assert recording(tallies=tmp_path / "recorders").lost_before == 0
    assert stuck.close(WAIT) == 0


@pytest.mark.skipif(os.name != "posix", reason="signals are of POSIX systems")
@pytest.mark.parametrize("enough", [300, 5_000, 40_000])
def test_after_a_kill_in_mid_write_the_next_says_exactly_how_many_were_lost(
    tmp_path: Path, enough: int, caplog: pytest.LogCaptureFixture
) -> None:
    path, tallies = tmp_path / "events.sqlite", tmp_path / "recorders"
    child = subprocess.Popen([sys.executable, "-c", CHILD, path, tallies], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    recorded = 0
    for line in child.stdout:
        recorded = int(line)
        if recorded >= enough:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    [tally] = tallies.glob("*.tally")
    submitted, given_up = struct.unpack("<QQ", tally.read_bytes())
    with EventStore(path) as store:
        kept = [int(event.id.removeprefix("cmpl-")) for event in store.read()]
        assert kept == sorted(set(kept)), "none twice, all in order"
        with caplog.at_level(logging.WARNING):
            recorder = Recorder(store, tallies=tallies)
        assert given_up == 0
        assert recorder.lost_before == submitted - len(kept)
        assert 0 < recorder.lost_before <= 10_000, "no more than what waited"
        assert f"{recorder.lost_before} events were lost" in caplog.text
        assert recorder.close(WAIT) == 0
        assert list(tallies.iterdir()) == []
        again = Recorder(store, tallies=tallies)
        assert again.lost_before == 0, "it is said once"
        again.close(WAIT)


def test_what_was_told_as_lost_is_not_told_again_after_a_kill(tmp_path: Path, store: EventStore) -> None:
    from bowerbird.monitoring.store import Progress
    from bowerbird.monitoring.tally import Tally

    dead = Tally(tmp_path, store.key)
    dead.note(20, 5)
    store.add([Event(**fields(number)) for number in range(12)], Progress(dead.writer, 12))
    dead._lock.release()
    recorder = Recorder(store, tallies=tmp_path)
    assert recorder.lost_before == 3
    recorder.close(WAIT)


def test_a_damaged_tally_is_nothing_to_stop_at(tmp_path: Path, store: EventStore) -> None:
    (tmp_path / f"{store.key}-0123456789abcdef.tally").write_bytes(b"\1")
    recorder = Recorder(store, tallies=tmp_path)
    assert recorder.lost_before == 0
    assert recorder.close(WAIT) == 0
    assert list(tmp_path.glob("*.tally")) == []


def test_that_of_another_store_is_left_to_it(tmp_path: Path, store: EventStore) -> None:
    other = tmp_path / "another00000-0123456789abcdef.tally"
    other.write_bytes(struct.pack("<QQ", 9, 0))
    recorder = Recorder(store, tallies=tmp_path)
    assert recorder.lost_before == 0
    recorder.close(WAIT)
    assert other.exists()
