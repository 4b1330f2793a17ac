"""Alerts reach a file, a command and a webhook; what fails is told and ends nothing."""

from __future__ import annotations

import json
import stat
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bowerbird.base.errors import UsageError
from bowerbird.monitoring import alerts
from bowerbird.monitoring.alerts import Alerts

ALERT = {"verdict": "moved", "words": "préfixe"}


class Hook(BaseHTTPRequestHandler):
    """Keeps what it is sent; answers as the path says."""

    got: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.path, self.headers["Content-Type"], json.loads(body)))
        code = int(self.path.strip("/").split("/")[0] or 200)
        self.send_response(code)
        if code in (302, 307):
            self.send_header("Location", "http://127.0.0.2:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quietly."""


@pytest.fixture
def hook() -> Iterator[tuple[str, list[Any]]]:
    got: list[Any] = []
    server = HTTPServer(("127.0.0.1", 0), type("Own", (Hook,), {"got": got}))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", got
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_file_gets_a_line_each_time(tmp_path: Path) -> None:
    sent = Alerts(file=tmp_path / "alerts.jsonl")
    assert sent.send(ALERT) == []
    assert sent.send(ALERT) == []
    lines = (tmp_path / "alerts.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [ALERT, ALERT]
    assert stat.S_IMODE((tmp_path / "alerts.jsonl").stat().st_mode) & 0o077 == 0


def test_a_command_is_run_without_a_shell(tmp_path: Path) -> None:
    out = tmp_path / "out file"
    script = "import sys; open(sys.argv[1], 'wb').write(sys.stdin.buffer.read() + sys.argv[2].encode())"
    command = f'{sys.executable} -c "{script}" "{out}" "$HOME;ls"'
    assert Alerts(command=command).send(ALERT) == []
    assert out.read_text(encoding="utf-8").endswith("$HOME;ls")
    assert json.loads(out.read_text(encoding="utf-8").removesuffix("$HOME;ls")) == ALERT


def test_a_command_that_fails_is_told_and_the_rest_is_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails = f"{sys.executable} -c \"import sys; sys.exit('no such luck')\""
    [told] = Alerts(file=tmp_path / "a", command=fails).send(ALERT)
    assert "was not told: it ended with 1: no such luck" in told
    assert (tmp_path / "a").is_file()
    [told] = Alerts(command="/no/such/program").send(ALERT)
    assert "cannot be run" in told
    [told] = Alerts(file=tmp_path / "a" / "b").send(ALERT)
    assert "was not told" in told
    monkeypatch.setattr(alerts, "TIMEOUT_SECONDS", 0.2)
    [told] = Alerts(command=f'{sys.executable} -c "import time; time.sleep(60)"').send(ALERT)
    assert "it took more than" in told


def test_a_webhook_is_sent_json(hook: tuple[str, list[Any]]) -> None:
    address, got = hook
    assert Alerts(webhook=f"{address}/200").send(ALERT) == []
    assert got == [("/200", "application/json", ALERT)]


@pytest.mark.parametrize(
    ("path", "said"), [("500", "it answered 500"), ("302", "another host"), ("307", "another host")]
)
def test_a_webhook_that_says_no_or_leads_elsewhere_is_told(
    hook: tuple[str, list[Any]], path: str, said: str
) -> None:
    address, _ = hook
    [told] = Alerts(webhook=f"{address}/{path}").send(ALERT)
    assert said in told


def test_a_webhook_that_is_not_there_is_told() -> None:
    [told] = Alerts(webhook="http://127.0.0.1:1/x").send(ALERT)
    assert "the webhook at 127.0.0.1 was not told: it cannot be reached" in told


@pytest.mark.parametrize(
    "wrong", [{"webhook": "file:///etc/passwd"}, {"webhook": "https://"}, {"command": ""}, {"command": "'a"}]
)
def test_wrong_ways_are_refused_at_once(wrong: dict[str, str]) -> None:
    with pytest.raises(UsageError):
        Alerts(**wrong)


def test_nothing_asked_for_is_nothing_done() -> None:
    assert not Alerts()
    assert Alerts().send(ALERT) == []
