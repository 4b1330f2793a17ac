"""A process that records events without end, for tests that kill it."""

CHILD = """
import sys
from pathlib import Path
from bowerbird.monitoring import recorder
from bowerbird.monitoring.recorder import Recorder
from bowerbird.monitoring.store import EventStore
recorder.FLUSH_SECONDS = 0.02
made = Recorder(EventStore(sys.argv[1]), tallies=Path(sys.argv[2]))
number = 0
while True:
    made.record({"id": f"cmpl-{number}", "time": 0.0, "model": "m", "digest": "d", "kind": "text", "path": "/v1",
                 "prompt": "x" * 300, "output": "y" * 300})
    number += 1
    if number % 100 == 0:
        print(number, flush=True)
"""
