"""Tickets: readers that are slow, how content is held back where many streams run, and hand-overs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving.paced import PacedModel, Recorder, Unpaced, asking, engine_of, texts, until

from bowerbird.serving import samples, scheduler
from bowerbird.serving.engine import Engine
from bowerbird.serving.errors import Stopping, TimedOut
from bowerbird.serving.ticket import MOST_UNREAD_BYTES, Piece, Ticket

WHOLE = "".join(str(left) * 40_000 for left in reversed(range(30)))
"""What a reader in capitals writes in 30 steps."""


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def engine(recorder: Recorder) -> Iterator[Engine]:
    """An engine with two slots and steps that wait for nothing."""
    with engine_of({"paced": PacedModel(Unpaced())}, slots=2, observer=recorder) as engine:
        yield engine


def test_who_does_not_read_is_parked_and_stops_nobody(engine: Engine) -> None:
    slow = engine.submit("paced", asking("BIG", 30, n=2))
    until(lambda: slow.parked)
    for _ in range(3):
        assert texts(engine.submit("paced", asking("ok", 5, n=2))) == ["43210"] * 2
    assert engine.load("paced") == (2, 0)
    assert slow.unread < MOST_UNREAD_BYTES + 4 * 80_000
    assert texts(slow) == [WHOLE] * 2
    until(lambda: engine.load("paced") == (0, 0))


def test_a_slow_reader_on_an_event_loop_gets_everything(engine: Engine) -> None:
    async def read() -> str:
        slow = engine.submit("paced", asking("BIG", 30), loop=asyncio.get_running_loop())
        found = ""
        while news := await slow.arrival():
            found += "".join(piece.text for piece in news)
            await asyncio.sleep(0.005)
        return found

    assert asyncio.run(read()) == WHOLE


def test_a_parked_answer_that_nobody_reads_ends(
    engine: Engine, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "SLOW_SECONDS", 0.01)
    slow = engine.submit("paced", asking("BIG", 30, n=2))
    until(lambda: recorder.of("failed") == [("paced", "timeout")])
    assert engine.load("paced") == (0, 0)
    assert slow.wait()
    with pytest.raises(TimedOut, match="nothing of this answer was read"):
        slow.wait()


def test_who_leaves_while_parked_frees_its_slots(engine: Engine) -> None:
    slow = engine.submit("paced", asking("BIG", 10**6, n=2))
    until(lambda: slow.parked)
    slow.cancel()
    until(lambda: engine.load("paced") == (0, 0))


def test_parked_ones_hold_no_more_than_as_many_slots_again(engine: Engine) -> None:
    slow = [engine.submit("paced", asking("BIG", 10**6)) for _ in range(4)]
    until(lambda: all(ticket.parked for ticket in slow))
    waiting = engine.submit("paced", asking("ok", 3))
    until(lambda: engine.load("paced") == (4, 1))
    slow[0].cancel()
    assert texts(waiting) == ["210"]


def test_a_mailbox_joins_what_waits_and_counts_what_is_read() -> None:
    rung: list[bool] = []
    ticket = Ticket(2, ring=lambda: rung.append(True))
    pieces = [Piece(0, "caf", 2, None), Piece(1, "x", 1, "stop"), Piece(0, "\u00e9", 1, "length")]
    ticket.handed = sum(piece.size for piece in pieces)
    ticket.receive(pieces)
    assert ticket.unread == 6
    ticket.parked = True
    assert ticket.wait() == [Piece(0, "caf\u00e9", 3, "length"), Piece(1, "x", 1, "stop")]
    assert (ticket.unread, rung) == (0, [True])
    assert ticket.wait() == []


class Counted:
    """In place of an event loop: keeps what is handed over, hand-over by hand-over."""

    def __init__(self) -> None:
        self.handed: list[dict[Ticket, list[Piece]]] = []

    def call_soon_threadsafe(self, hand_out: Any, letters: dict[Ticket, list[Piece]]) -> None:
        self.handed.append(letters)


@pytest.mark.parametrize(
    ("streams", "hold_seconds", "tokens"),
    [(16, 1e9, [1] * 18), (17, 1e9, [1, 17]), (17, 0.0, [1] * 18)],
    ids=["few at once", "many held back", "many by time"],
)
def test_where_many_streams_run_their_content_is_held_back(
    streams: int, hold_seconds: float, tokens: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(samples, "HOLD_SECONDS", hold_seconds)
    monkeypatch.setattr(samples, "MOST_HOLD_SECONDS", hold_seconds)
    loop: Any = Counted()
    recorder = Recorder()
    with engine_of({"paced": PacedModel(Unpaced())}, slots=32, observer=recorder) as engine:
        ticket = engine.submit("paced", asking("ok", 18, n=streams), loop=loop)
        until(lambda: len(recorder.of("ended")) == streams)
    pieces = [piece for letters in loop.handed for piece in letters[ticket]]
    for index in range(streams):
        mine = [piece for piece in pieces if piece.index == index]
        assert [piece.tokens for piece in mine] == tokens
        assert "".join(piece.text for piece in mine) == "".join(map(str, reversed(range(18))))
        assert [piece.finished for piece in mine] == [None] * (len(mine) - 1) + ["length"]


def test_what_is_held_back_is_told_before_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_HOLD_SECONDS", 1e9)
    monkeypatch.setattr(samples, "HOLD_SECONDS", 1e9)
    pace, recorder = threading.Semaphore(4), Recorder()
    with engine_of({"paced": PacedModel(pace)}, slots=32, observer=recorder) as engine:
        ticket = engine.submit("paced", asking("ok", 18, n=17))
        until(lambda: len(recorder.of("stepped")) == 4)
        engine.stop(0)
        pace.release(1000)
        found = [""] * 17

        def read() -> None:
            for piece in ticket:
                found[piece.index] += piece.text

        with pytest.raises(Stopping):
            read()
    assert {text[:8] for text in found} == {"17161514"}


def test_a_loop_that_is_closed_lets_its_slots_go(engine: Engine) -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    engine.submit("paced", asking("ok", 10**9, n=2), loop=loop)
    until(lambda: engine.load("paced") == (0, 0))
