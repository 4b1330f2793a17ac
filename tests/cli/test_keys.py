"""`keys new`, `keys list`, `keys revoke`, and `serve` with keys, origins and TLS files as a user types them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import Ran

from bowerbird.serving.keys import KeyRing

Bowerbird = Callable[..., Ran]


def test_a_key_is_shown_once_and_listed_without_it(bowerbird: Bowerbird, workspace: Path) -> None:
    ran = bowerbird("keys", "new", "phone", "--requests-per-minute", 60, "--concurrent", 2, "--expires", 30)
    assert ran.code == 0, ran.err
    secret, about = ran.out.splitlines()
    key = KeyRing(workspace / "keys.json").check(secret)
    assert key.id in about
    assert "never shown again" in about
    assert f"next: bowerbird serve MODEL --keys {workspace / 'keys.json'}" in ran.err.replace("\n", "")
    assert secret not in ran.err
    listed = bowerbird("keys", "list")
    for told in (key.id, "phone", "valid", "60", key.created, key.expires):
        assert told is not None
        assert told in listed.out
    assert secret not in listed.out + listed.err
    assert secret not in (workspace / "keys.json").read_text()
    if os.name == "posix":
        assert stat.S_IMODE((workspace / "keys.json").stat().st_mode) == 0o600


def test_json_tells_all_but_the_hash(bowerbird: Bowerbird, tmp_path: Path) -> None:
    file = tmp_path / "in" / "keys.json"
    ran = bowerbird("keys", "new", "phone", "--keys", file, "--json")
    made = json.loads(ran.out)
    assert ran.err == ""
    assert set(made) == {"id", "name", "created", "expires", "revoked", "requests_per_minute", "concurrent", "state",
                         "key", "file"}  # fmt: skip
    assert KeyRing(file).check(made["key"]).id == made["id"]
    revoked = json.loads(bowerbird("keys", "revoke", made["id"], "--keys", file, "--json").out)
    assert (revoked["id"], revoked["state"]) == (made["id"], "revoked")
    listed = json.loads(bowerbird("keys", "list", "--keys", file, "--json").out)
    assert [key["state"] for key in listed["keys"]] == ["revoked"]
    assert "key" not in listed["keys"][0]
    assert "sha256" not in ran.out


def test_the_file_of_keys_comes_from_the_environment_too(
    bowerbird: Bowerbird, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BOWERBIRD_KEYS", str(tmp_path / "keys.json"))
    assert bowerbird("keys", "new", "phone").code == 0
    assert "phone" in bowerbird("keys", "list").out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["new"], 2, "--name"),
        (["new", ""], 2, "1 to 100 characters"),
        (["new", "x", "--requests-per-minute", "0"], 2, "--requests-per-minute must be 1 or more"),
        (["new", "x", "--concurrent", "-1"], 2, "--concurrent must be 1 or more"),
        (["new", "x", "--concurrent", "few"], 2, "few"),
        (["new", "x", "--expires", "nan"], 2, "--expires must be above 0"),
        (["revoke"], 2, "--key-id"),
        (["revoke", "12345678"], 4, "there is no key `12345678`"),
        (["neww", "x"], 2, "new"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_named_and_makes_nothing(
    bowerbird: Bowerbird, workspace: Path, arguments: list[str], code: int, said: str
) -> None:
    ran = bowerbird("keys", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize("command", ["new", "list", "revoke"])
def test_each_has_help_with_an_example_and_the_shared_options(bowerbird: Bowerbird, command: str) -> None:
    ran = bowerbird("keys", command, "--help")
    assert ran.code == 0
    assert f"Example: bowerbird keys {command}" in ran.out
    for option in ("--json", "--quiet", "--workspace", "--keys"):
        assert option in ran.out


def test_making_a_key_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from bowerbird.cli.main import main; "
        "code = main(['keys', 'new', 'x', '--keys', sys.argv[1]]); sys.exit(code or 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "keys.json")]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--keys", "NOTHING"], 4, "bowerbird keys new NAME --keys"),
        (["--keys", "DAMAGED"], 3, "not JSON"),
        (["--allow-origin", "*"], 2, "`*` is no origin"),
        (["--tls-cert", "DAMAGED"], 2, "--tls-key"),
        (["--tls-cert", "DAMAGED", "--tls-key", "DAMAGED"], 3, "cannot be used"),
        (["--set", "limits.body_byte=5000"], 2, "`limits.body_bytes`"),
        (["--set", "limits.body_bytes=5"], 2, "limits.body_bytes"),
        (["--set", "limits.concurrent=0"], 2, "limits.concurrent"),
        (["--host", "0.0.0.0"], 5, "--keys FILE"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_serve_says_what_is_wrong_before_it_serves(
    bowerbird: Bowerbird, tiny_run: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    (tmp_path / "damaged").write_text("{")
    (tmp_path / "damaged").chmod(0o600)
    places = {"NOTHING": tmp_path / "nothing", "DAMAGED": tmp_path / "damaged"}
    ran = bowerbird("serve", tiny_run, "--port", 0, *[places.get(part, part) for part in arguments])
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.err


def test_serve_with_keys_answers_on_all_addresses_and_never_tells_one(tiny_run: Path, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    key, secret = ring.new("phone", requests_per_minute=3)
    command = [sys.executable, "-m", "bowerbird", "serve", str(tiny_run), "--port", "0", "--json", "--keys",
               str(ring.path), "--host", "0.0.0.0", "--set", "limits.body_bytes=2048"]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = json.loads(server.stdout.readline())["url"].replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=url, timeout=60, headers={"Host": "poems.example"}) as client:
            asked = {"model": "tiny", "max_tokens": 2}
            bearer = {"Authorization": f"Bearer {secret}"}
            found: list[Any] = [client.get("/health"), client.get("/v1/models"), client.get("/")]
            found += [client.post("/v1/completions", json=asked, headers=bearer) for _ in range(2)]
            long = {**asked, "prompt": "a" * 4000}
            found += [
                client.post("/v1/completions", json=long, headers=bearer),
                client.get("/", headers=bearer),
            ]
            assert [answer.status_code for answer in found] == [200, 401, 401, 200, 200, 413, 429]
            ring.revoke(key.id)
            assert client.get("/v1/models", headers=bearer).json()["error"]["code"] == "revoked_api_key"
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=60)
        assert server.returncode == 0, err
        assert "warning: keys and texts travel readable" in err.replace("\n", " ")
        assert "Authorization: Bearer YOUR_KEY" in err
        assert secret not in err
    finally:
        server.kill()
        server.communicate()
