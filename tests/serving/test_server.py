"""`bowerbird serve` as a user runs it: ready, answering, stopped; and refusing what it must."""

from __future__ import annotations

import importlib.util
import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from bowerbird.base.errors import BowerbirdError, MissingExtra, Refused, UsageError
from bowerbird.serving.page import page
from bowerbird.serving.server import check_installed, listen, url_of


def test_serve_answers_until_sigterm_lets_streams_end_and_exits_0(tiny_run: Path) -> None:
    command = [sys.executable, "-m", "bowerbird", "serve", str(tiny_run), "--port", "0", "--json"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        assert told["models"] == ["tiny"]
        url = told["url"]
        assert httpx.get(f"{url}/ready").status_code == 200
        asked = {"model": "tiny", "prompt": "private words", "max_tokens": 400, "stream": True, "n": 8}
        with httpx.stream("POST", f"{url}/v1/completions", json=asked, timeout=20) as answer:
            parts = answer.iter_text()
            body = next(parts)
            server.send_signal(signal.SIGTERM)
            body += "".join(parts)
        assert body.endswith("data: [DONE]\n\n")
        assert body.count('"finish_reason":"stop"') + body.count('"finish_reason":"length"') == 8
        out, err = server.communicate(timeout=15)
        assert server.returncode == 0, err
        assert out == ""
        assert f"curl {url}/v1/completions" in err
        assert "private words" not in err
        assert "Traceback" not in err
    finally:
        server.kill()
        server.communicate()


@pytest.mark.skipif(shutil.which("sh") is None or shutil.which("curl") is None, reason="curl is not here")
def test_the_curl_line_that_is_shown_works_and_ctrl_c_exits_0(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's a poem"
    shutil.copytree(tiny_run, folder)
    command = [sys.executable, "-m", "bowerbird", "serve", str(folder), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        lines = [server.stderr.readline() for _ in range(3)]
        assert lines[0].startswith("serving it's a poem at http://127.0.0.1:")
        shown = lines[1].removeprefix("ask: ")
        answer = json.loads(subprocess.run(["sh", "-c", shown], capture_output=True, check=True).stdout)
        assert answer["choices"][0]["text"]
        server.send_signal(signal.SIGINT)
        assert server.wait(15) == 0
    finally:
        server.kill()
        server.communicate()


def test_without_its_packages_serve_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        check_installed()
    assert "bowerbird[serve]" in (caught.value.hint or "")


def test_a_model_s_name_is_only_text_on_the_page() -> None:
    assert '<option data-kind="text">&lt;img src=x&gt; &amp; $5</option>' in page(
        {"<img src=x> & $5": "text"}
    )


def test_the_page_asks_in_one_way_and_shows_why_it_was_refused() -> None:
    written = page({})
    assert written.count("fetch(") == 1
    for path in ("/v1/completions", "/v1/melodies/generations", "/v1/images/generations"):
        assert written.count(f'ask("{path}", ') == 1


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.0.7", "example.org", "", "127.0.0.1.example.org"])
def test_without_keys_only_this_machine_is_served(host: str) -> None:
    with pytest.raises(Refused) as caught:
        listen(host, 0)
    assert caught.value.exit_code == 5
    assert "127.0.0.1" in (caught.value.hint or "")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_addresses_are_served(host: str) -> None:
    try:
        bound = listen(host, 0)
    except BowerbirdError:
        if host == "::1" and not _has_ipv6():
            pytest.skip("this machine has no IPv6")
        raise
    with bound:
        assert url_of(bound).startswith("http://[::1]:" if host == "::1" else "http://127.0.0.1:")


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_port_in_use_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BowerbirdError, match="in use") as caught:
            listen("127.0.0.1", port)
    assert (caught.value.exit_code, caught.value.where) == (3, f"127.0.0.1:{port}")


@pytest.mark.parametrize("port", [-1, 65536, 10**12])
def test_a_port_that_cannot_be_is_refused(port: int) -> None:
    with pytest.raises(UsageError):
        listen("127.0.0.1", port)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name at least one model"),
        (["nothing-here", "--port", "0"], 4, "nothing-here"),
        (["TINY", "TINY", "--port", "0"], 2, "two models would be called `tiny`"),
        (["TINY", "--host", "0.0.0.0"], 5, "this machine only"),
        (["TINY", "--port", "70000"], 2, "there is no port 70000"),
    ],
)
def test_serve_says_what_is_wrong_before_it_serves(
    bowerbird: Callable[..., Any], tiny_run: Path, arguments: list[str], code: int, said: str
) -> None:
    ran = bowerbird("serve", *[tiny_run if part == "TINY" else part for part in arguments])
    assert ran.code == code, ran.err
    assert said in ran.err
    assert "hint:" in ran.err
    assert ran.out == ""
