"""What no client should do on a socket: slow, half closed, garbled, huge, in crowds. Others are not harmed.

Every answer is awaited however long it takes: no test here looks at a clock.
"""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.running_server import running

from bowerbird import lifecycle
from bowerbird.serving.app import create_app
from bowerbird.serving.connections import room_for
from bowerbird.serving.limits import Limits

HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ASKED = {"model": "tiny", "prompt": "the sea", "max_tokens": 5, "seed": 1}
QUICK = Limits(connections=40, head_seconds=1, body_seconds=1, write_seconds=1)


@pytest.fixture(scope="module")
def model(tiny_run: Path) -> Any:
    return lifecycle.load(tiny_run)


@pytest.fixture(scope="module")
def quick(model: Any) -> Iterator[str]:
    """A server that soon loses patience."""
    with running(create_app({"tiny": model}, local=True, limits=QUICK), limits=QUICK) as url:
        yield url


@pytest.fixture(scope="module")
def patient(model: Any) -> Iterator[str]:
    """A server with all limits as they are, but for four connections."""
    limits = Limits(connections=4)
    with running(create_app({"tiny": model}, local=True, limits=limits), limits=limits) as url:
        yield url


@pytest.fixture(autouse=True)
def others_are_not_harmed(quick: str, patient: str) -> Iterator[None]:
    """Whatever a test did, the next one who asks gets the answer of this seed."""
    yield
    texts = {
        httpx.post(f"{url}/v1/completions", json=ASKED, timeout=60).json()["choices"][0]["text"]
        for url in (quick, patient)
    }
    assert len(texts) == 1


def connect(url: str) -> socket.socket:
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=60)


def read(line: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := line.recv(1 << 16):
            parts.append(part)
    return b"".join(parts)


def parsed(answer: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and JSON of the one answer that came."""
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
    assert headers["content-type"] == "application/json", answer
    assert int(headers["content-length"]) == len(body), answer
    return int(first.split()[1]), headers, json.loads(body)


def refused(answer: bytes, status: int, code: str) -> dict[str, str]:
    """The headers of an answer that must be this error."""
    found, headers, body = parsed(answer)
    assert found == status, answer
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert (body["error"]["code"], body["error"]["param"]) == (code, None)
    return headers


def trickle(line: socket.socket, byte: bytes) -> bytes:
    """Send a byte now and then until the other side has had enough; what it said."""
    line.settimeout(0.05)
    said = b""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        while True:
            with contextlib.suppress(TimeoutError):
                part = line.recv(1 << 16)
                said += part
                if not part:
                    break
            line.sendall(byte)
    return said


def test_a_head_that_never_ends_is_408(quick: str) -> None:
    with connect(quick) as line:
        line.sendall(b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
        headers = refused(trickle(line, b"a"), 408, "body_too_slow")
    assert headers["connection"] == "close"


def test_a_second_head_that_never_ends_is_408(quick: str) -> None:
    with connect(quick) as line:
        line.sendall(HEALTH)
        said = b""
        while b'"ok"' not in said:
            said += line.recv(1 << 16)
        line.sendall(b"GET /hea")
        refused(trickle(line, b"l"), 408, "body_too_slow")


def test_a_body_that_never_ends_is_408(quick: str) -> None:
    with connect(quick) as line:
        line.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
        refused(trickle(line, b" "), 408, "body_too_slow")


def test_who_says_nothing_is_let_go(quick: str) -> None:
    with connect(quick) as line:
        assert read(line) == b""
    with connect(quick) as line:
        line.sendall(HEALTH)
        assert read(line).endswith(b'{"status":"ok"}')


def test_who_never_reads_is_let_go(model: Any) -> None:
    gone = threading.Event()

    async def flood(scope: Any, receive: Any, send: Any) -> None:
        """Sends more than any buffer holds."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(1024):
            await send({"type": "http.response.body", "body": bytes(1 << 18), "more_body": True})
        gone.set()

    app = create_app({"tiny": model}, local=True, limits=QUICK)
    app.mount("/flood", flood)
    with running(app, limits=QUICK) as url, connect(url) as line:
        line.sendall(HEALTH.replace(b"health", b"flood/"))
        assert gone.wait(60)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"hello\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nA b: c\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nA: \x00\r\n\r\n",
        b"GET /he\x80lth HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: 127.0.0.1\r\nA: " + b"b" * 1_000_000,
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1e3\r\n\r\n",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        HEAD + b"Transfer-Encoding: gzip\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}XX",
    ],
    ids=range(18),
)
def test_what_is_not_http_is_400(quick: str, sent: bytes) -> None:
    with connect(quick) as line:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sendall(sent)
        refused(read(line), 400, "malformed_http")


def test_an_upgrade_that_is_not_offered_is_an_ordinary_request(quick: str) -> None:
    with connect(quick) as line:
        line.sendall(
            b"GET /v1/nothing HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade, close\r\n"
            b"Upgrade: websocket\r\nSec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        refused(read(line), 404, "not_found")


@pytest.mark.parametrize(
    "path", [b"/%ff%fe", b"/%00", b"/v1/models/%ed%a0%80", b"/v1/models/" + b"%f0" * 2000]
)
def test_a_path_that_is_no_text_is_404(quick: str, path: bytes) -> None:
    with connect(quick) as line:
        line.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        found, _, body = parsed(read(line))
    assert found == 404
    assert set(body["error"]) == {"message", "type", "param", "code"}


def test_who_closes_his_side_after_asking_still_gets_a_short_answer(quick: str) -> None:
    body = json.dumps(ASKED).encode()
    with connect(quick) as line:
        line.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        line.shutdown(socket.SHUT_WR)
        found, _, answer = parsed(read(line))
    assert (found, answer["usage"]["completion_tokens"]) == (200, 5)
    with connect(quick) as line:
        line.sendall(HEAD + b"Content-Length: 2\r\n\r\n{]")
        line.shutdown(socket.SHUT_WR)
        refused(read(line), 400, "invalid_json")


def test_who_closes_his_side_within_his_body_is_told(patient: str) -> None:
    with connect(patient) as line:
        line.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        line.shutdown(socket.SHUT_WR)
        refused(read(line), 400, "client_closed")


@pytest.mark.parametrize("sent", [b"", b"GET /hea", HEAD])
def test_who_closes_his_side_within_his_head_is_let_go(quick: str, sent: bytes) -> None:
    with connect(quick) as line:
        line.sendall(sent)
        line.shutdown(socket.SHUT_WR)
        assert read(line) == b""


def test_a_stream_whose_reader_resets_the_line_ends(quick: str) -> None:
    body = json.dumps({**ASKED, "max_tokens": 100_000, "stream": True}).encode()
    for _ in range(30):
        line = connect(quick)
        line.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        line.recv(100)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()


def test_two_requests_in_one_packet_get_two_answers_in_order(quick: str) -> None:
    with connect(quick) as line:
        line.sendall(
            HEALTH
            + HEALTH.replace(b"health", b"nothing").replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        )
        said = read(line)
    assert [part[:3] for part in said.split(b"HTTP/1.1 ")[1:]] == [b"200", b"404"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_50_mb_is_413(patient: str, chunked: bool) -> None:
    size = 50 << 20

    def parts() -> Iterator[bytes]:
        for _ in range(size >> 20):
            yield b"a" * (1 << 20)

    content: Any = parts() if chunked else b"a" * size
    answer = httpx.post(f"{patient}/v1/completions", content=content, timeout=60)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")


def test_a_crowd_that_only_connects_keeps_nobody_out(patient: str) -> None:
    crowd: list[socket.socket] = []
    try:
        for number in range(200):
            crowd.append(connect(patient))
            if number % 20 == 19:
                answer = httpx.post(f"{patient}/v1/completions", json=ASKED, timeout=60)
                assert answer.status_code == 200
        for line in crowd[:100]:  # these had to make room, and were told
            headers = refused(read(line), 503, "too_many_connections")
            assert int(headers["retry-after"]) >= 1
    finally:
        for line in crowd:
            line.close()


def test_where_all_are_asking_one_more_is_503_until_one_has_ended(patient: str) -> None:
    asking = [connect(patient) for _ in range(4)]
    try:
        for line in asking:
            line.sendall(HEAD + b"Content-Length: 100\r\nExpect: 100-continue\r\n\r\n")
            assert line.recv(100).startswith(b"HTTP/1.1 100")
        with connect(patient) as line:
            line.sendall(HEALTH)
            headers = refused(read(line), 503, "too_many_connections")
        assert int(headers["retry-after"]) >= 1
    finally:
        for line in asking:
            line.close()
    while httpx.get(f"{patient}/health", timeout=60).status_code == 503:
        pass


def test_a_crowd_that_hangs_up_at_once_harms_nobody(quick: str) -> None:
    for _ in range(300):
        line = connect(quick)
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.close()


def test_many_wrong_requests_at_once_are_each_told_why(quick: str) -> None:
    bodies = [
        b"{",
        b"\xff",
        b"[]",
        b'{"model": "tiny", "max_tokens": -1}',
        b'{"model": "tiny", "stop": "' + b"x" * 10_000 + b'"}',
    ]
    found: list[tuple[int, set[str]]] = []

    def send(body: bytes) -> None:
        with httpx.Client(timeout=60) as client:
            for _ in range(20):
                answer = client.post(f"{quick}/v1/completions", content=body)
                found.append((answer.status_code, set(answer.json()["error"])))

    threads = [threading.Thread(target=send, args=(body,)) for body in bodies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(400, {"message", "type", "param", "code"})] * 100


@pytest.mark.slow
def test_ten_thousand_connections_at_once_harm_nobody(tiny_run: Path) -> None:
    command = [sys.executable, "-m", "bowerbird", "serve", str(tiny_run), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    crowd: list[socket.socket] = []
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"]
        alone = httpx.post(f"{url}/v1/completions", json=ASKED, timeout=60).json()["choices"]
        assert room_for(10_000) == 10_000, "this system lets a process open too few files for this test"
        for number in range(10_000):
            crowd.append(connect(url))
            if number % 500 == 499:
                answer = httpx.post(f"{url}/v1/completions", json=ASKED, timeout=60)
                assert answer.json()["choices"] == alone
        told = [parsed(said)[0] for line in crowd[:9_000] if (said := read(line))]
        assert told.count(503) == len(told) > 0
        assert httpx.get(f"{url}/ready", timeout=60).status_code == 200
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=60)
        assert (server.returncode, "Traceback" in err) == (0, False), err
    finally:
        for line in crowd:
            line.close()
        server.kill()
        server.communicate()
