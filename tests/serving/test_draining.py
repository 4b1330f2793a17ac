"""The end of a server: what runs is let end, what comes is refused at once, and a second word waits for nothing.

A lane whose steps wait for the test holds the engine's thread, so that what runs is still running when it is looked
at. Signals reach the main thread: there the servers run, and what asks them is beside it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from tests.serving.paced import PacedModel, asking, until
from tests.serving.scraped import scraped

from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.exchange import Exchange
from bowerbird.serving.metrics import Metrics
from bowerbird.serving.server import listen, make_server, url_of

PATH = "/v1/completions"
ENDLESS = {"logit_bias": {"0": -100}}  # no document ends
LONG = {"model": "tiny", "prompt": "the ", "max_tokens": 2000, "n": 2, "stream": True, **ENDLESS}


@dataclass
class Under:
    """A server under test, seen from beside it."""

    url: str
    app: Any
    server: Any
    metrics: Metrics
    pace: threading.Semaphore

    def hold(self) -> None:
        """From here on the engine makes nothing until it is let go."""
        paced: Any = PacedModel(self.pace)
        self.app.state.engine.add("paced", paced)
        self.app.state.engine.submit("paced", asking("held", 1))
        until(lambda: bool(paced.admitted))

    def let_go(self) -> None:
        self.pace.release(1000)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=60)

    def ask(self, **fields: Any) -> httpx.Response:
        asked = {"model": "tiny", "prompt": "so", "max_tokens": 3, **fields}
        return httpx.post(f"{self.url}{PATH}", json=asked, timeout=60)

    @property
    def stopping(self) -> bool:
        return bool(self.get("/ready").json()["status"] == "stopping")


Serve = Callable[..., None]


@pytest.fixture
def serve(model: Model, caplog: pytest.LogCaptureFixture) -> Iterator[Serve]:
    """Runs a server in this thread, and what is done to it in another; the server must end with that."""
    pace = threading.Semaphore(0)

    def run(done: Callable[[Under], None], *, drain_seconds: float = 60) -> None:
        metrics = Metrics()
        app = create_app({"tiny": model}, local=True, observer=metrics)
        failed: list[BaseException] = []
        ready = threading.Event()
        with listen("127.0.0.1", 0) as bound:
            server = make_server(app, bound, on_ready=ready.set, drain_seconds=drain_seconds)
            under = Under(url_of(bound), app, server, metrics, pace)

            def beside() -> None:
                try:
                    assert ready.wait(60)
                    done(under)
                except BaseException as error:
                    failed.append(error)
                    server.should_exit = server.force_exit = True
                finally:
                    under.let_go()

            thread = threading.Thread(target=beside)
            thread.start()
            server.run()
            thread.join(60)
        if failed:
            raise failed[0]
        assert server.failure is None
        assert caplog.text == ""

    yield run
    pace.release(1000)


def events(body: str) -> list[Any]:
    """What a stream told, but for its last word."""
    parts = body.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""], body
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def word(number: int) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_streams_end_properly_and_what_comes_meanwhile_is_503(serve: Serve, number: int) -> None:
    def done(under: Under) -> None:
        assert under.get("/ready").status_code == 200
        with httpx.stream("POST", f"{under.url}{PATH}", json=LONG, timeout=60) as answer:
            parts = answer.iter_text()
            body = next(parts)
            under.hold()
            word(number)
            until(lambda: under.stopping)
            assert under.get("/ready").status_code == 503
            assert under.get("/health").status_code == 200
            for fields in ({}, {"stream": True}, {"n": 3}):
                refused = under.ask(**fields)
                assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stopping")
            under.let_go()
            body += "".join(parts)
        ends = [choice["finish_reason"] for event in events(body) for choice in event["choices"]]
        assert [end for end in ends if end] == ["length", "length"]

    serve(done)


def test_an_answer_that_is_told_whole_is_waited_for_too(serve: Serve) -> None:
    def done(under: Under) -> None:
        under.hold()
        got: list[httpx.Response] = []
        asker = threading.Thread(target=lambda: got.append(under.ask(max_tokens=200)))
        asker.start()
        until(lambda: under.app.state.engine.load("tiny") != (0, 0))
        word(signal.SIGTERM)
        until(lambda: under.stopping)
        under.let_go()
        asker.join(60)
        assert got[0].status_code == 200
        assert got[0].json()["choices"][0]["finish_reason"] in {"stop", "length"}

    serve(done)


def test_what_is_not_done_in_time_ends_with_the_error_stopping(serve: Serve) -> None:
    ended: list[Exchange] = []

    def done(under: Under) -> None:
        under.app.state.exchanges.listeners.append(ended.append)
        longer = {**LONG, "max_tokens": 100_000}
        with httpx.stream("POST", f"{under.url}{PATH}", json=longer, timeout=60) as answer:
            parts = answer.iter_text()
            body = next(parts)
            word(signal.SIGTERM)
            body += "".join(parts)
        last = events(body)[-1]
        assert set(last) == {"error"}
        assert (last["error"]["code"], last["error"]["type"]) == ("stopping", "server_error")
        until(lambda: bool(ended))
        assert scraped(under.metrics.text()).value("errors_total", code="stopping") == 1

    serve(done, drain_seconds=0)
    assert [(exchange.status, exchange.code, exchange.left) for exchange in ended] == [
        (200, "stopping", False)
    ]


def test_where_nothing_runs_the_end_comes_at_once(serve: Serve) -> None:
    serve(lambda under: word(signal.SIGTERM), drain_seconds=3600)


def test_a_second_sigterm_changes_nothing(serve: Serve) -> None:
    def done(under: Under) -> None:
        with httpx.stream("POST", f"{under.url}{PATH}", json=LONG, timeout=60) as answer:
            parts = answer.iter_text()
            body = next(parts)
            under.hold()
            for _ in range(3):
                word(signal.SIGTERM)
            until(lambda: under.stopping)
            assert not under.server.force_exit
            under.let_go()
            assert "error" not in events(body + "".join(parts))[-1]

    serve(done, drain_seconds=3600)


def test_a_second_ctrl_c_waits_for_nothing(serve: Serve) -> None:
    def done(under: Under) -> None:
        with httpx.stream("POST", f"{under.url}{PATH}", json=LONG, timeout=60) as answer:
            parts = answer.iter_text()
            next(parts)
            under.hold()
            word(signal.SIGINT)
            until(lambda: under.stopping)
            word(signal.SIGINT)
            with pytest.raises(httpx.TransportError):  # it breaks off
                for _ in parts:
                    pass

    serve(done, drain_seconds=3600)


def test_what_signals_meant_before_they_mean_again(serve: Serve) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    serve(lambda under: word(signal.SIGTERM))
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_request_that_comes_while_others_end_keeps_nobody_waiting(serve: Serve) -> None:
    """Those that are refused meanwhile, again and again, are not what the server waits for."""

    def done(under: Under) -> None:
        def pester() -> None:
            with contextlib.suppress(httpx.TransportError):
                while True:
                    under.ask()

        threads = [threading.Thread(target=pester) for _ in range(3)]
        with httpx.stream("POST", f"{under.url}{PATH}", json=LONG, timeout=60) as answer:
            parts = answer.iter_text()
            body = next(parts)
            under.hold()
            word(signal.SIGTERM)
            until(lambda: under.stopping)
            for thread in threads:
                thread.start()
            under.let_go()
            assert "error" not in events(body + "".join(parts))[-1]
        for thread in threads:  # until nobody answers them
            thread.join(60)
            assert not thread.is_alive()

    serve(done, drain_seconds=3600)
