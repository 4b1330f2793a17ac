"""Loaders in processes of their own: arrays go there and back, and a death is an error that says why."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from bowerbird.base.errors import BowerbirdError
from bowerbird.store.exporters.apart import run, running
from bowerbird.store.exporters.frames import receive, send

DOUBLED = """
from bowerbird.store.exporters.frames import serve
def load():
    print("printed on the way")
    return lambda given: [2 * part for part in given]
serve(load)
"""
DYING = """
import sys
print("first words", file=sys.stderr)
raise SystemExit("last words")
"""


def test_arrays_come_as_they_were_sent() -> None:
    sent = [np.arange(3), np.ones((2, 0), np.float32), np.float32(7)]
    stream = io.BytesIO()
    send(stream, sent)
    send(stream, sent[:1])
    stream.seek(0)
    found = receive(stream)
    assert found is not None
    for one, other in zip(sent, found, strict=True):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    assert len(receive(stream) or []) == 1
    assert receive(stream) is None


@pytest.mark.parametrize("kept", [0, 3, 8, 20, -1])
def test_what_is_cut_off_is_nothing(kept: int) -> None:
    stream = io.BytesIO()
    send(stream, [np.arange(3)])
    assert receive(io.BytesIO(stream.getvalue()[:kept])) is None


def test_a_process_answers_whatever_it_prints() -> None:
    with running([sys.executable, "-c", DOUBLED], {}, "it failed") as step:
        for size in (1, 5):
            assert np.array_equal(step([np.arange(size)])[0], 2 * np.arange(size))


def test_a_process_that_dies_tells_its_last_words() -> None:
    with (
        pytest.raises(BowerbirdError, match="it failed\n  hint: it said: last words"),
        running([sys.executable, "-c", DYING], {}, "it failed") as step,
    ):
        step([np.arange(3)])
    with pytest.raises(BowerbirdError, match="it said: last words"):
        run([sys.executable, "-c", DYING], {}, "it failed")
