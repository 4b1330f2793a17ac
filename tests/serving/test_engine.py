"""The engine without HTTP: answers that do not depend on company, faults, bounds, leaving and ending."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving.paced import SECRET, PacedModel, Recorder, Unpaced, asking, engine_of, jobs, texts, until

from bowerbird.kinds.loaded import Model
from bowerbird.serving.engine import Engine
from bowerbird.serving.errors import Busy, Fault, Stopping, TimedOut, UnknownModel


@pytest.fixture
def pace() -> threading.Semaphore:
    return threading.Semaphore(0)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def paced(pace: threading.Semaphore, recorder: Recorder) -> Iterator[Engine]:
    """An engine with two slots and room for two more, whose steps wait for `pace`."""
    engine = engine_of({"paced": PacedModel(pace)}, slots=2, queue=2, observer=recorder)
    yield engine
    pace.release(1000)
    engine.close(0)


def test_an_answer_from_a_busy_engine_is_what_the_model_gives_alone(model: Model) -> None:
    wanted = [
        {
            "prompt": f"the {index}",
            "n": 1 + index % 3,
            "length": 30 + 7 * index,
            "temperature": 0.5 + index / 10,
        }
        | {"top_p": 0.9 if index % 2 else None, "top_k": 5 if index % 5 == 0 else None, "seed": 100 + index}
        for index in range(12)
    ]
    with Engine({"tiny": model}, slots=8) as engine:
        tickets = [engine.submit("tiny", model.request(**fields)) for fields in wanted]
        busy = [texts(ticket) for ticket in tickets]
    assert busy == [[sample.text for sample in model.generate(**fields)] for fields in wanted]


def test_pieces_say_how_many_tokens_and_why_they_end(model: Model) -> None:
    with Engine({"tiny": model}) as engine:
        request = model.request(prompt="the ", n=3, length=25, seed=5)
        pieces = list(engine.submit("tiny", request))
    alone = model.generate(prompt="the ", n=3, length=25, seed=5)
    for index, sample in enumerate(alone):
        mine = [piece for piece in pieces if piece.index == index]
        assert [piece.finished for piece in mine if piece.finished] == [sample.finish_reason]
        made = sum(piece.tokens for piece in mine)
        assert made == 25 if sample.finish_reason == "length" else made < 25


def test_tokens_made_after_a_stop_string_are_not_counted(model: Model) -> None:
    text = model.generate(prompt="the ", length=40, seed=5)[0].text
    stop = text[20:23]
    end = text.find(stop) + len(stop)
    with Engine({"tiny": model}) as engine:
        request = model.request(prompt="the ", length=40, seed=5, stop=(stop,))
        pieces = list(engine.submit("tiny", request))
    assert "".join(piece.text for piece in pieces) == text[: end - len(stop)]
    assert sum(piece.tokens for piece in pieces) == len(model.codec.encode(text[:end]))


def test_one_hand_over_a_step_brings_all_pieces_to_an_event_loop(
    paced: Engine, pace: threading.Semaphore
) -> None:
    async def ask() -> tuple[int, list[str]]:
        loop, handed = asyncio.get_running_loop(), 0
        real = loop.call_soon_threadsafe

        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal handed
            handed += 1
            return real(*arguments, **options)

        loop.call_soon_threadsafe = counted  # type: ignore[method-assign]
        both = paced.submit("paced", asking("ok", 3, n=2), loop=loop)
        pace.release(3)
        found = ["", ""]
        async for piece in both:
            found[piece.index] += piece.text
        return handed, found

    assert asyncio.run(ask()) == (3, ["210", "210"])


def test_what_is_not_fetched_in_time_is_joined_to_one_piece_a_sample(
    paced: Engine, pace: threading.Semaphore, recorder: Recorder
) -> None:
    ticket = paced.submit("paced", asking("ok", 9, n=2))
    pace.release(9)
    until(lambda: len(recorder.of("ended")) == 2)
    news = ticket.wait()
    assert [(piece.text, piece.tokens, piece.finished) for piece in news] == [("876543210", 9, "length")] * 2
    assert ticket.wait() == []


def test_a_fault_inside_a_step_fails_its_requests_and_the_engine_lives_on(
    paced: Engine, pace: threading.Semaphore, caplog: pytest.LogCaptureFixture
) -> None:
    pace.release(100)
    with pytest.raises(Fault):
        list(paced.submit("paced", asking("bad", 2)))
    assert "RuntimeError" in caplog.text
    assert SECRET not in caplog.text
    assert texts(paced.submit("paced", asking("ok", 4))) == ["3210"]
    assert paced.alive


@pytest.mark.parametrize("name", ["unreadable", "unwritable"])
def test_a_fault_of_one_request_spares_those_beside_it(
    paced: Engine, pace: threading.Semaphore, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    good = paced.submit("paced", asking("ok", 4))
    bad = paced.submit("paced", asking(name, 4, n=2))
    pace.release(100)
    with pytest.raises(Fault):
        list(bad)
    assert texts(good) == ["3210"]
    assert SECRET not in caplog.text
    until(lambda: paced.load("paced") == (0, 0))


def test_a_full_queue_refuses_at_once_and_takes_requests_whole(
    paced: Engine, pace: threading.Semaphore
) -> None:
    running = paced.submit("paced", asking("ok", 3, n=2))
    until(lambda: paced.load("paced") == (2, 0))
    with pytest.raises(Busy):
        paced.submit("paced", asking("ok", 3, n=3))
    waiting = paced.submit("paced", asking("ok", 3, n=2))
    with pytest.raises(Busy):
        paced.submit("paced", asking("ok", 3))
    pace.release(100)
    assert texts(running) == texts(waiting) == ["210", "210"]


def test_who_leaves_frees_slots_and_places_in_the_queue(paced: Engine, pace: threading.Semaphore) -> None:
    leaving = paced.submit("paced", asking("ok", 1000, n=2))
    gone = paced.submit("paced", asking("ok", 1000, n=2))
    until(lambda: paced.load("paced") == (2, 2))
    gone.cancel()
    staying = paced.submit("paced", asking("ok", 2, n=2))
    leaving.cancel()
    assert leaving.wait() == []
    pace.release(10)
    assert texts(staying) == ["10", "10"]


def test_stopping_lets_what_was_asked_end_and_refuses_the_rest(
    paced: Engine, pace: threading.Semaphore
) -> None:
    running = paced.submit("paced", asking("ok", 3, n=3))
    paced.stop(5)
    with pytest.raises(Stopping):
        paced.submit("paced", asking("ok", 3))
    assert not paced.ready
    pace.release(100)
    assert texts(running) == ["210"] * 3
    until(lambda: not paced.alive)


def test_stopping_ends_what_takes_too_long(paced: Engine, pace: threading.Semaphore) -> None:
    running = paced.submit("paced", asking("ok", 100, n=3))
    pace.release(1)
    paced.stop(0)
    pace.release(1)
    with pytest.raises(Stopping):
        list(running)
    until(lambda: not paced.alive)


def test_an_unknown_model_is_an_error_that_names_the_nearest(paced: Engine) -> None:
    with pytest.raises(UnknownModel, match="there is no model `pace`") as caught:
        paced.submit("pace", asking("ok", 1))
    assert "did you mean `paced`?" in (caught.value.hint or "")


def test_a_time_limit_ends_what_runs_and_what_waits(recorder: Recorder) -> None:
    with engine_of({"paced": PacedModel(Unpaced())}, slots=1, observer=recorder) as engine:
        endless = engine.submit("paced", asking("ok", 10**9))
        waiting = engine.submit_jobs("paced", jobs("ok", 1), seconds=0.01)
        with pytest.raises(TimedOut):
            list(waiting)
        endless.cancel()
        limited = engine.submit_jobs("paced", jobs("ok", 10**9, n=2), seconds=0.05)
        with pytest.raises(TimedOut) as caught:
            list(limited)
        assert caught.value.http_status == 504
        until(lambda: engine.load("paced") == (0, 0))
        assert texts(engine.submit("paced", asking("ok", 3))) == ["210"]
    assert recorder.of("failed") == [("paced", "timeout")] * 2


def test_every_sample_is_queued_once_and_ends_once(
    paced: Engine, pace: threading.Semaphore, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    pace.release(1000)
    assert texts(paced.submit("paced", asking("ok", 3, n=2))) == ["210"] * 2
    with pytest.raises(Fault):
        list(paced.submit("paced", asking("bad", 1, n=2)))
    with pytest.raises(Fault):
        list(paced.submit("paced", asking("unreadable", 1, n=3)))
    left = paced.submit("paced", asking("ok", 10**6, n=2))
    until(lambda: left.queue_seconds is not None)
    left.cancel()
    pace.release(10)
    until(lambda: len(recorder.of("ended")) + len(recorder.of("failed")) == 9)
    assert recorder.of("queued") == [("paced", "")] * 9
    assert recorder.of("failed") == [("paced", "internal_error")] * 2
    ends = [(reason, tokens) for _, reason, tokens, _ in recorder.of("ended")]
    assert ends[:2] == [("length", 3)] * 2
    assert [reason for reason, _ in ends[2:]] == ["cancelled"] * 5
    assert [call[:3] for call in recorder.of("stepped")[:3]] == [("paced", 2, 2)] * 3
    assert len(recorder.of("first_token")) >= 2


def test_an_observer_that_fails_ends_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Recorder):
        def stepped(self, *arguments: Any) -> None:
            raise RuntimeError(SECRET)

    with engine_of({"paced": PacedModel(Unpaced())}, slots=2, observer=Failing()) as engine:
        assert texts(engine.submit("paced", asking("ok", 3))) == ["210"]
        assert engine.alive
    assert "an observer failed: RuntimeError" in caplog.text
    assert SECRET not in caplog.text
