"""`events list`, `events delete`, `events export`, and `serve --events` as a user types them."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.conftest import Ran

from bowerbird.monitoring.events import Event
from bowerbird.monitoring.store import FILE, EventStore

Bowerbird = Callable[..., Ran]


def event(number: int, **fields: Any) -> Event:
    given = {"id": f"cmpl-{number}", "time": 86_400.0 * number, "model": "poems", "digest": "sha256:a"}
    return Event(**{**given, "kind": "text", "path": "/v1/completions", **fields})


@pytest.fixture
def store(workspace: Path) -> Iterator[EventStore]:
    """Three events, in the workspace."""
    with EventStore(workspace / FILE) as store:
        store.add(
            [
                event(
                    1, owner="k1", session="tea", prompt="the sea", output="and [bold]more", prompt_tokens=7
                ),
                event(2, owner="k2", status=504, code="timeout"),
                event(3, model="songs", owner="k1"),
            ]
        )
        yield store


def test_they_are_listed_newest_first_and_counted(bowerbird: Bowerbird, store: EventStore) -> None:
    ran = bowerbird("events", "list", "--limit", 2)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    head = "number time (UTC) model owner arm status ended tokens seconds"
    assert lines[0].split() == head.split()
    assert [line.split()[0] for line in lines[1:3]] == ["3", "2"]
    assert "1970-01-03 00:00:00" in lines[2]
    assert "timeout" in lines[2]
    assert lines[3] == f"3 events in {store.where}"
    assert "the sea" not in ran.out
    assert "next: bowerbird events export" in ran.err


def test_texts_are_shown_only_when_they_are_asked_for(bowerbird: Bowerbird, store: EventStore) -> None:
    ran = bowerbird("events", "list", "--texts", "--model", "poems", "--before", "1970-01-02T01:00")
    assert ran.out.splitlines()[2:4] == ["    'the sea'", "    'and [bold]more'"]
    assert ran.out.splitlines()[4].startswith("1 events")


def test_json_tells_the_same(bowerbird: Bowerbird, store: EventStore) -> None:
    told = json.loads(bowerbird("events", "list", "--json", "--owner", "k1").out)
    assert (told["store"], told["bytes"]) == (store.where, store.size_bytes())
    assert [each["id"] for each in told["events"]] == ["cmpl-3", "cmpl-1"]
    assert "prompt" not in told["events"][1]
    assert told["counts"] == [
        {"model": "poems", "status": 200, "events": 1},
        {"model": "songs", "status": 200, "events": 1},
    ]
    told = json.loads(bowerbird("events", "list", "--json", "--texts", "--session", "tea").out)
    assert told["events"][0]["prompt"] == "the sea"


def test_nothing_is_deleted_without_a_yes(bowerbird: Bowerbird, store: EventStore) -> None:
    ran = bowerbird("events", "delete", "--owner", "k1")
    assert (ran.code, ran.out) == (5, "")
    assert "2 events would be deleted" in ran.err
    assert "--yes" in ran.err
    assert store.counts(()) == {(): 3}


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--owner", "k1"], ["cmpl-2"]),
        (["--session", "tea"], ["cmpl-2", "cmpl-3"]),
        (["--before", "1970-01-03"], ["cmpl-2", "cmpl-3"]),
        (["--model", "songs"], ["cmpl-1", "cmpl-2"]),
        (["--owner", "k1", "--model", "songs"], ["cmpl-1", "cmpl-2"]),
        (["--owner", "nobody"], ["cmpl-1", "cmpl-2", "cmpl-3"]),
    ],
    ids=" ".join,
)
def test_they_are_deleted_by_key_session_time_and_model(
    bowerbird: Bowerbird, store: EventStore, arguments: list[str], left: list[str]
) -> None:
    ran = bowerbird("events", "delete", *arguments, "--yes", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out) == {"store": store.where, "deleted": 3 - len(left)}
    assert [found.id for found in store.read()] == left


def test_they_are_exported_as_lines(bowerbird: Bowerbird, store: EventStore, tmp_path: Path) -> None:
    out = tmp_path / "out" / "events.jsonl"
    ran = bowerbird("events", "export", "--out", out, "--json")
    assert json.loads(ran.out) == {"path": str(out), "events": 3}
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["cmpl-1", "cmpl-2", "cmpl-3"]
    assert Event(**lines[0]) == next(store.read())
    if os.name == "posix":
        assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert bowerbird("events", "export", "--out", out).code == 5
    assert bowerbird("events", "export", "--out", tmp_path / "texts", "--texts-only").code == 0
    assert len((tmp_path / "texts").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["list"], 4, "no events have been recorded"),
        (["list", "--since", "soon"], 2, "`soon` is no time"),
        (["list", "--events-store", "duck://x"], 2, "no database called `duck`"),
        (["delete", "--yes"], 2, "--owner KEY_ID"),
        (["delete", "--since", "7d", "--yes"], 2, "--before"),
        (["export"], 2, "--out"),
        (["lst"], 2, "list"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_is_named_and_makes_nothing(
    bowerbird: Bowerbird, workspace: Path, arguments: list[str], code: int, said: str
) -> None:
    ran = bowerbird("events", *arguments)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    assert said in ran.err
    assert list(workspace.iterdir()) == []


@pytest.mark.parametrize("command", ["list", "delete", "export"])
def test_each_has_help_with_an_example_and_the_shared_options(bowerbird: Bowerbird, command: str) -> None:
    ran = bowerbird("events", command, "--help")
    assert ran.code == 0
    assert f"Example: bowerbird events {command}" in ran.out
    for option in ("--json", "--quiet", "--workspace", "--events-store", "--owner", "--before"):
        assert option in ran.out


def test_listing_loads_no_torch(store: EventStore) -> None:
    code = (
        "import sys; from bowerbird.cli.main import main; "
        "code = main(['events', 'list']); sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--events", "some"], 2, "some"),
        (["--events-store", "duck://x"], 2, "no database called `duck`"),
        (["--events-store", "POEMS"], 3, "this is a folder"),
        (["--set", "events.share=2"], 2, "events.share"),
        (["--set", "events.most_byte=5"], 2, "`events.most_bytes`"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_serve_says_what_is_wrong_before_it_serves(
    bowerbird: Bowerbird, tiny_run: Path, tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    given = [tmp_path if part == "POEMS" else part for part in arguments]
    ran = bowerbird("serve", tiny_run, "--port", 0, *given)
    assert (ran.code, ran.out) == (code, ""), ran.err
    assert said in ran.err


@contextmanager
def serving(tiny_run: Path, *arguments: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "bowerbird", "serve", tiny_run, "--port", 0, "--json", *arguments]
    server = subprocess.Popen(
        [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        yield server, json.loads(server.stdout.readline())["url"]
    finally:
        server.kill()
        server.communicate()


def test_a_server_says_what_it_records_and_what_one_that_was_killed_lost(
    tiny_run: Path, workspace: Path
) -> None:
    asked = {"model": "tiny", "prompt": "write to ann@example.org", "max_tokens": 5}
    with serving(tiny_run) as (server, url):
        with httpx.Client(base_url=url, timeout=60) as client:
            for _ in range(5):
                client.post("/v1/completions", json=asked)
            client.get("/health")  # an answer can be here before its event is taken in; by a next one it is
        server.kill()  # within the half second that events wait for others
        _, err = server.communicate()
    assert f"events: counts, no texts, for 90 days, in {workspace / FILE}" in " ".join(err.split())
    with EventStore(workspace / FILE) as store:
        lost = 5 - store.counts(())[()]
    assert lost > 0
    with serving(tiny_run, "--events", "full") as (server, url):
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.post("/v1/completions", json=asked).status_code == 200
            assert client.get("/v1/models/tiny").json()["events"] == "full"
        server.send_signal(signal.SIGTERM)
        _, err = server.communicate(timeout=60)
    assert server.returncode == 0, err
    assert f"{lost} events were lost" in err
    assert "events: full, all texts, masked, for 90 days" in " ".join(err.split())
    with EventStore(workspace / FILE, create=False) as store:
        assert [found.prompt for found in store.read(newest_first=True, limit=1)] == ["write to <email>"]
        assert store.counts(("model", "status")) == {("tiny", 200): 6 - lost}
    assert list((workspace / "recorders").iterdir()) == []
