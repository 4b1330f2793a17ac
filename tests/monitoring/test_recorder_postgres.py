"""Recording into a real PostgreSQL server: it may stop and come back, and a killed recorder is accounted for."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.monitoring.recording_child import CHILD
from tests.postgres import Server, running_postgres

from bowerbird.monitoring import recorder as module
from bowerbird.monitoring.recorder import Recorder
from bowerbird.monitoring.store import EventStore

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    with running_postgres() as server:
        yield server


def test_a_server_that_stops_and_comes_back_loses_nothing(
    postgres: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "WAITS", (0.1,))
    with EventStore(postgres.new_database()) as store:
        recorder = Recorder(store, tallies=tmp_path)

        def record(first: int, last: int) -> None:
            for number in range(first, last):
                about = {"id": f"cmpl-{number}", "time": 0.0, "model": "m", "digest": "d", "kind": "text"}
                recorder.record({**about, "path": "/v1/completions", "prompt": "the sea"})

        record(0, 100)
        assert recorder.flush(60)
        postgres.stop()
        record(100, 200)
        assert not recorder.flush(2)
        postgres.start()
        assert recorder.flush(60)
        assert recorder.counts() == {"written": 200, "dropped": 0, "failed": 0}
        assert [event.id for event in store.read()] == [f"cmpl-{number}" for number in range(200)]
        assert sum("cannot be written" in record.message for record in caplog.records) == 1
        assert recorder.close(30) == 0


def test_after_a_kill_the_next_says_exactly_how_many_were_lost(postgres: Server, tmp_path: Path) -> None:
    place = postgres.new_database()
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, place, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= 5_000:
            break
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    time.sleep(1.0)  # the server ends what it was told to commit
    [tally] = tmp_path.glob("*.tally")
    submitted, _ = struct.unpack("<QQ", tally.read_bytes())
    with EventStore(place) as store:
        kept = store.counts(())[()]
        recorder = Recorder(store, tallies=tmp_path)
        assert 0 < recorder.lost_before == submitted - kept
        recorder.close(30)
