"""The port of `/metrics` alone: it answers scrapers, tells of nothing else, and nobody can keep it busy."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx
import pytest
from tests.serving.paced import until

from bowerbird.serving import metrics_port
from bowerbird.serving.metrics import CONTENT_TYPE
from bowerbird.serving.metrics_port import metrics_on
from bowerbird.serving.server import listen, url_of

SECRET = "what a metric was about to say"
TEXT = b"bowerbird_queue_length 3.0\n"


@contextmanager
def answering(text: Callable[[], bytes] = lambda: TEXT) -> Iterator[str]:
    with listen("127.0.0.1", 0) as bound:
        url = url_of(bound)
        with metrics_on(bound, text):
            yield url


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read(line: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    while part := line.recv(1 << 16):
        parts.append(part)
    return b"".join(parts)


def is_answered(url: str) -> bool:
    try:
        return httpx.get(f"{url}/metrics").content == TEXT
    except httpx.TransportError:
        return False


def test_the_metrics_are_told_as_often_as_they_are_asked_for() -> None:
    told = iter([b"a 1\n", b"a 2\n", b"a 3\n"])
    with answering(lambda: next(told)) as url, httpx.Client() as client:
        answers = [client.get(f"{url}/metrics{query}") for query in ("", "?x=1", "")]
    assert [answer.text for answer in answers] == ["a 1\n", "a 2\n", "a 3\n"]
    assert {answer.headers["content-type"] for answer in answers} == {CONTENT_TYPE}
    assert {answer.status_code for answer in answers} == {200}
    assert "Python" not in answers[0].headers["server"]


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/metrics/", "/../metrics"])
def test_nothing_else_is_there(path: str) -> None:
    with answering() as url, connect(url) as line:
        line.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        said = read(line)
    assert said.startswith(b"HTTP/1.0 404")
    assert TEXT not in said


def test_other_methods_are_not_taken() -> None:
    with answering() as url:
        assert httpx.post(f"{url}/metrics").status_code == 501


def test_a_fault_is_answered_with_500_and_logged_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    faults = iter([True, False])

    def text() -> bytes:
        if next(faults):
            raise RuntimeError(SECRET)
        return TEXT

    with answering(text) as url:
        answer = httpx.get(f"{url}/metrics")
        assert (answer.status_code, httpx.get(f"{url}/metrics").content) == (500, TEXT)
    assert SECRET not in answer.text + caplog.text
    assert "RuntimeError" in caplog.text


def test_who_says_nothing_or_never_ends_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_port, "SECONDS", 0.2)
    with answering() as url:
        with connect(url) as line:
            assert read(line) == b""
        with connect(url) as line:
            line.sendall(b"GET /metrics HTTP/1.0\r\nX-Slow: ")
            assert read(line) == b""
        assert httpx.get(f"{url}/metrics").content == TEXT


def test_a_crowd_takes_no_more_than_its_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics_port, "MOST_CONNECTIONS", 2)
    with answering() as url:
        first, second = connect(url), connect(url)
        with first, second:
            with connect(url) as third:
                assert read(third) == b""
            for line in (first, second):  # those that were there are answered
                line.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                assert read(line).endswith(TEXT)
        until(lambda: is_answered(url))  # their places are free a moment after they have read all


def test_who_leaves_without_reading_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    with answering(lambda: TEXT * 100_000) as url:
        for _ in range(5):
            with connect(url) as line:
                line.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        assert httpx.get(f"{url}/metrics").content == TEXT * 100_000
    assert caplog.text == ""


def test_with_the_block_the_port_is_closed() -> None:
    with answering() as url:
        pass
    with pytest.raises(ConnectionRefusedError):
        connect(url)
