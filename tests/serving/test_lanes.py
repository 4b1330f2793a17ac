"""Several models and owners in one engine: taking turns, and models that come, go and replace each other."""

from __future__ import annotations

import gc
import threading
import weakref
from types import SimpleNamespace
from typing import Any

import pytest
from tests.serving.paced import PacedModel, Unpaced, asking, engine_of, jobs, texts, until

from bowerbird.base.errors import UsageError
from bowerbird.serving.engine import Engine
from bowerbird.serving.errors import Busy, UnknownModel
from bowerbird.serving.lanes import Lanes
from bowerbird.serving.waiting import WaitingLine


def lanes_of(*names: str) -> tuple[Lanes, dict[str, Any]]:
    """Lanes with work that never ends, without sessions."""
    made: dict[str, Any] = {}

    def open_lane(model_id: str, model: Any) -> Any:
        made[model_id] = SimpleNamespace(
            model_id=model_id, model=model, used=0.0, idle=True, ready=True, background=False
        )
        return made[model_id]

    models: Any = dict.fromkeys(names)
    return Lanes(models, open_lane), made


def turns(lanes: Lanes, count: int, **seconds: float) -> list[str]:
    """Whose turns come next, where a turn takes so long."""
    found = []
    for _ in range(count):
        lane = lanes.next()
        assert lane is not None
        lane.used += seconds[lane.model_id]
        found.append(lane.model_id)
    return found


def test_a_slow_model_takes_no_more_time_than_a_quick_one_beside_it() -> None:
    lanes, _ = lanes_of("slow", "quick")
    found = turns(lanes, 110, slow=10.0, quick=1.0)
    assert 9 <= found.count("slow") <= 11


def test_a_lane_in_the_background_has_a_turn_when_no_other_has_work() -> None:
    lanes, made = lanes_of("live", "challenger")
    made["challenger"].background = True
    assert turns(lanes, 20, live=1.0, challenger=1.0) == ["live"] * 20
    made["live"].ready = False
    assert turns(lanes, 20, challenger=1.0) == ["challenger"] * 20
    made["live"].ready = True
    assert turns(lanes, 20, live=1.0, challenger=1.0) == ["live"] * 20


def test_a_model_that_was_idle_has_no_turns_saved_up() -> None:
    lanes, made = lanes_of("busy", "idle")
    made["idle"].ready = False
    assert turns(lanes, 100, busy=1.0) == ["busy"] * 100
    made["idle"].ready = True
    found = turns(lanes, 20, busy=1.0, idle=1.0)
    assert 9 <= found.count("busy") <= 11
    made["idle"].ready = made["busy"].ready = False
    assert lanes.next() is None


def test_two_models_are_made_side_by_side() -> None:
    models = {name: PacedModel(Unpaced(), name) for name in ("one", "two")}
    with engine_of(models, slots=4) as engine:
        tickets = [engine.submit(name, asking("ok", 20, n=2)) for name in models]
        assert [texts(ticket) for ticket in tickets] == [["".join(map(str, reversed(range(20))))] * 2] * 2


def test_owners_take_turns_for_slots() -> None:
    pace = threading.Semaphore(0)
    model = PacedModel(pace)
    with engine_of({"paced": model}, slots=1, queue=100) as engine:
        first = engine.submit_jobs("paced", jobs("first", 1), owner="much")
        until(lambda: engine.load("paced") == (1, 0))
        much = engine.submit_jobs("paced", jobs("much", 1, n=5), owner="much")
        few = [engine.submit_jobs("paced", jobs(name, 1), owner=name) for name in ("b", "c")]
        pace.release(100)
        for ticket in (first, much, *few):
            texts(ticket)
    assert model.admitted == ["first", "much", "b", "c", "much", "much", "much", "much"]


def test_no_owner_can_fill_the_line() -> None:
    pace = threading.Semaphore(0)
    with engine_of({"paced": PacedModel(pace)}, slots=1, queue=8) as engine:
        engine.submit_jobs("paced", jobs("ok", 1), owner="greedy")
        until(lambda: engine.load("paced") == (1, 0))
        engine.submit_jobs("paced", jobs("ok", 1, n=6), owner="greedy")
        with pytest.raises(Busy):
            engine.submit_jobs("paced", jobs("ok", 1), owner="greedy")
        engine.submit_jobs("paced", jobs("ok", 1), owner="modest")
        engine.submit_jobs("paced", jobs("ok", 1))
        pace.release(100)


def test_a_waiting_line_serves_owners_in_turn_and_each_in_order() -> None:
    line = WaitingLine[str]()
    line.join("a", ["a1", "a2", "a3"])
    line.join("b", ["b1"])
    taken = line.take(2)
    assert [item for _, item in taken] == ["a1", "b1"]
    line.put_back(taken)
    assert len(line) == 4
    line.leave("a", lambda item: item == "a2")
    line.leave("nobody", lambda item: True)
    assert [item for _, item in line.take(9)] == ["a1", "b1", "a3"]
    assert len(line) == 0


def test_a_replaced_model_ends_what_it_was_asked_and_the_new_one_does_the_rest() -> None:
    pace = threading.Semaphore(0)
    old, new = PacedModel(pace, "old"), PacedModel(Unpaced(), "new")
    given: Any = new
    with engine_of({"poems": old}, slots=1) as engine:
        running = engine.submit("poems", asking("running", 3))
        until(lambda: engine.load("poems") == (1, 0))
        waiting = engine.submit("poems", asking("waiting", 2))
        engine.replace("poems", given)
        assert engine.model("poems") is given
        after = engine.submit("poems", asking("after", 2))
        pace.release(100)
        assert [texts(ticket) for ticket in (running, waiting, after)] == [["210"], ["10"], ["10"]]
    assert (old.admitted, new.admitted) == (["running", "waiting"], ["after"])


def test_what_the_old_model_encoded_is_made_by_it_whenever_it_arrives() -> None:
    old, new = PacedModel(Unpaced(), "old"), PacedModel(Unpaced(), "new")
    with engine_of({"poems": old}, slots=1) as engine:
        before: Any = engine.model("poems")
        given: Any = new
        engine.replace("poems", given)
        for _ in range(2):
            assert texts(engine.submit_jobs("poems", jobs("late", 2), model=before)) == ["10"]
    assert (old.admitted, new.admitted) == (["late"] * 2, [])


def replaced(engine: Engine, *, leaves: bool) -> weakref.ref[PacedModel]:
    """Another model in the place of one that still has something to do; a weak reference to the old one."""
    gone: Any = PacedModel(Unpaced(), "gone")
    engine.replace("poems", gone)
    running = engine.submit("poems", asking("ok", 10**9 if leaves else 200))
    given: Any = PacedModel(Unpaced(), "new")
    engine.replace("poems", given)
    if leaves:
        running.cancel()
    else:
        texts(running)
    return weakref.ref(gone)


@pytest.mark.parametrize("leaves", [False, True], ids=["ended", "left"])
def test_a_replaced_model_is_let_go_of_when_its_last_answer_has(leaves: bool) -> None:
    with engine_of({"poems": PacedModel(Unpaced(), "first")}) as engine:
        gone = replaced(engine, leaves=leaves)
        until(lambda: gc.collect() >= 0 and gone() is None)


def test_models_come_and_go_while_others_are_served() -> None:
    with engine_of({"one": PacedModel(Unpaced())}) as engine:
        other: Any = PacedModel(Unpaced(), "other")
        engine.add("two", other)
        assert list(engine.models) == ["one", "two"]
        with pytest.raises(UsageError):
            engine.add("two", other)
        running = engine.submit("two", asking("ok", 500))
        engine.remove("two")
        assert len(texts(running)[0]) > 500
        for act in (engine.remove, engine.model, lambda name: engine.replace(name, other)):
            with pytest.raises(UnknownModel):
                act("two")
        assert texts(engine.submit("one", asking("ok", 2))) == ["10"]


def test_a_model_whose_session_does_not_open_again_fails_alone() -> None:
    broken, sound = PacedModel(Unpaced(), "broken"), PacedModel(Unpaced(), "sound")
    with engine_of({"broken": broken, "sound": sound}) as engine:
        broken.opens = False
        for name in ("bad", "ok"):
            with pytest.raises(Exception, match="the server's log"):
                texts(engine.submit("broken", asking(name, 2)))
        assert texts(engine.submit("sound", asking("ok", 2))) == ["10"]
        broken.opens = True
        assert texts(engine.submit("broken", asking("ok", 2))) == ["10"]
