"""`bowerbird serve` with all that its operator may ask for: what is written where, and what the manager is told."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.scraped import scraped
from tests.untrained_bundles import text_model

from bowerbird import lifecycle

SECRET = "the asker's own words"
posix = pytest.mark.skipif(os.name != "posix", reason="signals, modes and the like are of POSIX systems")


@contextmanager
def serving(*arguments: Any, **environment: str) -> Iterator[tuple[dict[str, Any], subprocess.Popen[str]]]:
    """What `serve --json` told once it was ready, and its process."""
    command = [sys.executable, "-m", "bowerbird", "serve", *map(str, arguments), "--port", "0", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
    ) as server:
        try:
            assert server.stdout is not None
            said = server.stdout.readline()
            assert said, server.communicate()[1]
            yield json.loads(said), server
        finally:
            if server.poll() is None:
                server.kill()
            server.communicate()


def stopped(server: subprocess.Popen[str]) -> str:
    """What a server has said on stderr, once it was asked to stop."""
    server.send_signal(signal.SIGTERM)
    out, err = server.communicate(timeout=60)
    assert (server.returncode, out) == (0, ""), err
    assert "Traceback" not in err
    return err


@posix
def test_what_an_operator_asks_for_is_done(tmp_path: Path) -> None:
    lifecycle.publish(text_model(tmp_path / "one"), "poems", alias="live")
    lifecycle.publish(text_model(tmp_path / "two", width=16), "poems", alias="live")
    log, manager = tmp_path / "logs" / "access.jsonl", tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(manager))
        options = [
            "--access-log",
            log,
            "--metrics-port",
            "0",
            "--slots",
            "3",
            "--queue",
            "5",
            "--drain-seconds",
            "5",
        ]
        options += ["--sessions", tmp_path / "kept", "--set", "limits.output_tokens=50"]
        with serving("poems@live", *options, NOTIFY_SOCKET=str(manager)) as (told, server):
            line.settimeout(60)
            assert line.recv(100) == b"READY=1"
            assert set(told) == {"url", "models", "metrics"}
            assert told["models"] == ["poems@live"]
            url = told["url"]
            assert httpx.get(f"{url}/ready").json() == {"status": "ready", "models": ["poems@live"]}
            asked = {"model": "poems@live", "prompt": SECRET, "max_tokens": 9, "session": "mine"}
            answer = httpx.post(
                f"{url}/v1/completions", json=asked, headers={"X-Request-Id": "mine-7"}, timeout=60
            )
            assert answer.status_code == 200, answer.text
            refused = httpx.post(f"{url}/v1/completions", json={**asked, "max_tokens": 51}, timeout=60)
            assert "50 is the most" in refused.json()["error"]["message"]
            too_many = httpx.post(f"{url}/v1/completions", json={"model": "poems@live", "n": 9}, timeout=60)
            assert (too_many.status_code, too_many.json()["error"]["param"]) == (
                400,
                "n",
            )  # 3 slots and a queue of 5
            assert told["metrics"] != f"{url}/metrics"
            found = scraped(httpx.get(told["metrics"]).text)
            same = scraped(httpx.get(f"{url}/metrics").text)
            with pytest.raises(BlockingIOError):  # it is told once
                line.recv(100, socket.MSG_DONTWAIT)
            err = stopped(server)
    usage = answer.json()["usage"]
    path = "/v1/completions"
    for numbers in (found, same):
        assert numbers.value("requests_total", model="poems@live", path=path, status="200") == 1
        assert numbers.value("errors_total", code="invalid_value") == 2
        assert numbers.value("tokens_total", model="poems@live", direction="prompt") == usage["prompt_tokens"]
        assert numbers.total("model_info", model="poems@live", version="2") == 1
    lines = [json.loads(each) for each in log.read_text(encoding="utf-8").splitlines()]
    mine = next(each for each in lines if each["request_id"] == "mine-7")
    assert (mine["path"], mine["status"], mine["model"], mine["code"]) == (path, 200, "poems@live", "")
    assert (mine["prompt_tokens"], mine["completion_tokens"]) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    assert [each["status"] for each in lines if each["path"] == path] == [200, 400, 400]
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert SECRET not in log.read_text() + err
    assert list((tmp_path / "kept").iterdir()), "the session is where it was told to be"
    assert f"metrics: {told['metrics']}" in err


@posix
@pytest.mark.slow
def test_the_access_log_may_go_to_stderr_and_options_come_from_the_environment(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "poems")
    with serving(folder, BOWERBIRD_ACCESS_LOG="-", BOWERBIRD_QUIET="true") as (told, server):
        assert httpx.get(f"{told['url']}/v1/models").status_code == 200
        err = stopped(server)
    assert [json.loads(line)["path"] for line in err.splitlines()] == ["/v1/models"]


@posix
@pytest.mark.slow
def test_a_model_that_cannot_be_warmed_ends_the_server(tmp_path: Path) -> None:
    folder = text_model(tmp_path / "poems")
    program = (
        "import sys\nfrom bowerbird.serving import warming\n"
        "def fail(model):\n    raise RuntimeError('it makes nothing')\n"
        "warming.warm = fail\nfrom bowerbird.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", program, "serve", str(folder), "--port", "0", "--json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "a model cannot be used" in ran.stderr
