"""Before a server calls itself ready, every model has made a little; one that cannot ends the server."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from tests.serving.paced import until
from tests.untrained_bundles import image_model, melody_model, text_model

from bowerbird import lifecycle
from bowerbird.base.errors import CorruptFile
from bowerbird.kinds.loaded import Model
from bowerbird.serving import warming
from bowerbird.serving.app import create_app
from bowerbird.serving.engine import Engine
from bowerbird.serving.metrics import Metrics
from bowerbird.serving.server import listen, make_server, run, url_of
from bowerbird.serving.warming import Warming, warm


class Noting:
    """A model that notes what it is asked to make, once it may."""

    kind = SimpleNamespace(name="text")

    def __init__(self, error: Exception | None = None):
        self.may = threading.Event()
        self.asked: list[dict[str, Any]] = []
        self._error = error

    def generate(self, **fields: Any) -> None:
        self.asked.append(fields)
        assert self.may.wait(60)
        if self._error is not None:
            raise self._error


def started(*models: Any) -> Warming:
    found = Warming(lambda: {f"model{number}": model for number, model in enumerate(models)})
    assert found.state == "cold"
    found.start()
    return found


@pytest.mark.parametrize("make", [text_model, melody_model, image_model])
def test_a_model_of_any_kind_is_warmed(make: Callable[[Path], Path], tmp_path: Path) -> None:
    warm(lifecycle.load(make(tmp_path / "model")))


def test_one_by_itself_and_two_together_are_made() -> None:
    model = Noting()
    model.may.set()
    given: Any = model
    warm(given)
    assert [fields["n"] for fields in model.asked] == [1, 2]
    assert all(fields["length"] <= 32 for fields in model.asked)


def test_the_state_goes_from_cold_to_warm() -> None:
    model = Noting()
    found = started(model)
    until(lambda: len(model.asked) == 1)
    assert found.state == "warming"
    model.may.set()
    asyncio.run(found.done())
    assert found.state == "warm"
    found.start()  # once is enough
    assert len(model.asked) == 2


def test_a_model_that_is_served_by_two_names_is_warmed_once() -> None:
    one, other = Noting(), Noting()
    one.may.set()
    other.may.set()
    asyncio.run(started(one, one, other).done())
    assert (len(one.asked), len(other.asked)) == (2, 2)


@pytest.mark.parametrize("make", [text_model, melody_model, image_model])
def test_a_model_that_was_warmed_needs_no_collector_to_go(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    """For the collector passes over all that was there once the server was warm, old models too."""
    make(tmp_path / "model")
    old, new = lifecycle.load(tmp_path / "model"), lifecycle.load(tmp_path / "model")
    asyncio.run(started(old).done())
    network = weakref.ref(old.network)
    gc.collect()
    gc.disable()
    try:
        with Engine({"poems": old}) as engine:
            engine.replace("poems", new)
            del old
            until(lambda: network() is None)
    finally:
        gc.enable()


def test_a_model_that_cannot_make_anything_is_told_to_who_waits(caplog: pytest.LogCaptureFixture) -> None:
    error = RuntimeError("it makes nothing")
    model = Noting(error)
    model.may.set()
    found = started(model)
    with pytest.raises(RuntimeError) as caught:
        asyncio.run(found.done())
    assert caught.value is error
    assert found.state == "failed"
    assert "a model cannot be used" in caplog.text


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Models are warm once it is set."""
    may = threading.Event()

    def wait(model: Model) -> None:
        assert may.wait(60)

    monkeypatch.setattr(warming, "warm", wait)
    yield may
    may.set()


def test_readiness_is_503_until_all_are_warm(model: Model, held: threading.Event) -> None:
    with TestClient(create_app({"tiny": model})) as client:
        answer = client.get("/ready")
        assert (answer.status_code, answer.json()) == (503, {"status": "warming", "models": ["tiny"]})
        assert client.get("/health").status_code == 200  # no reason to start it anew
        held.set()
        until(lambda: client.get("/ready").status_code == 200)
        assert client.get("/ready").json() == {"status": "ready", "models": ["tiny"]}


def test_readiness_tells_of_a_model_that_failed(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(model: Model) -> None:
        raise RuntimeError

    monkeypatch.setattr(warming, "warm", fail)
    with TestClient(create_app({"tiny": model})) as client:
        until(lambda: client.get("/ready").json()["status"] == "failed")
        assert client.get("/ready").status_code == 503


def test_what_is_made_to_be_warm_is_in_no_metric(model: Model) -> None:
    metrics = Metrics()
    with TestClient(create_app({"tiny": model}, observer=metrics)) as client:
        until(lambda: client.get("/ready").status_code == 200)
        assert "bowerbird_tokens_total{" not in client.get("/metrics").text


@pytest.mark.parametrize("error", [RuntimeError("it makes nothing"), CorruptFile("it is damaged")])
def test_a_server_whose_model_fails_ends_with_that_error_and_was_never_ready(
    model: Model, monkeypatch: pytest.MonkeyPatch, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(model: Model) -> None:
        raise error

    monkeypatch.setattr(warming, "warm", fail)
    told: list[str] = []
    bound = listen("127.0.0.1", 0)
    port = bound.getsockname()[1]
    with caplog.at_level(logging.CRITICAL), pytest.raises(type(error)) as caught:
        run(create_app({"tiny": model}), bound, on_ready=lambda: told.append("ready"))
    assert caught.value is error
    assert told == []
    listen("127.0.0.1", port).close()  # the port is free again


def test_a_server_may_be_stopped_while_it_warms(model: Model, held: threading.Event) -> None:
    told: list[str] = []
    with listen("127.0.0.1", 0) as bound:
        server = make_server(create_app({"tiny": model}), bound, on_ready=lambda: told.append("ready"))
        thread = threading.Thread(target=server.run)
        thread.start()
        assert httpx.get(f"{url_of(bound)}/ready", timeout=60).json()["status"] == "warming"
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()
    assert (told, server.failure) == ([], None)


def test_what_fails_when_it_is_told_to_be_ready_ends_the_server(model: Model) -> None:
    def fail() -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run(create_app({"tiny": model}), listen("127.0.0.1", 0), on_ready=fail)
