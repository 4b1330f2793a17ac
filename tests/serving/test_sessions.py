"""Sessions: they go on to the bit, survive a restart, are their owner's alone, and stay within their bounds."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import openai
import pytest
import uvicorn

from bowerbird.base.errors import CorruptFile, StorageError
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import run_all
from bowerbird.sampling.state import StreamState
from bowerbird.serving.app import create_app
from bowerbird.serving.errors import (
    BadRequest,
    SessionBusy,
    SessionModelChanged,
    SessionTaken,
    UnknownPoint,
    UnknownSession,
)
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.server import listen, url_of
from bowerbird.serving.session_files import _place
from bowerbird.serving.sessions import MOST_POINTS, SessionStore

MODEL: Any = SimpleNamespace(name="tiny", digest="sha256:one")
OTHER: Any = SimpleNamespace(name="tiny", digest="sha256:two")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.seconds = 1e9

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture(autouse=True)
def _closed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stores that a test makes let go of their files at its end."""
    made: list[SessionStore] = []
    begin = SessionStore.__init__

    def noted(self: SessionStore, *arguments: Any, **named: Any) -> None:
        begin(self, *arguments, **named)
        made.append(self)

    monkeypatch.setattr(SessionStore, "__init__", noted)
    yield
    for store in made:
        store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def state(model: Model) -> StreamState:
    """What the tiny model remembers after a few words and an answer."""
    return state_after(model, "the sea", 5)


def state_after(model: Model, prompt: str, length: int, start: StreamState | None = None) -> StreamState:
    from dataclasses import replace

    request = model.request(prompt=prompt, length=length, temperature=0.0, seed=0)
    content = model.kind.encode_request(model, request, 0)
    whole = content.prompt if start is None else content.prompt[1:]
    job = replace(content, prompt=whole, start=start, keep_state=True, ends=frozenset())
    [*_, last] = run_all(model.kind.open_session(model.network, 1), [job])
    assert last.chunk.state is not None
    return last.chunk.state


def begin(store: SessionStore, name: str, state: StreamState, owner: str = "", characters: int = 3) -> None:
    with store.use(name, owner, MODEL, "tiny") as use:
        assert use.start is None
        use.keep(state, characters)


def alike(one: StreamState | None, two: StreamState | None) -> bool:
    """Every bit, and what they have read."""
    assert one is not None
    assert two is not None
    first, second = one.to_arrays(), two.to_arrays()
    return list(first) == list(second) and all(
        first[name].dtype == second[name].dtype and np.array_equal(first[name], second[name])
        for name in first
    )


def names(store: SessionStore, owner: str = "") -> list[str]:
    return [about.name for about in store.owned_by(owner)]


@pytest.fixture(params=["memory", "disk"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    return tmp_path / "sessions" if request.param == "disk" else None


def test_a_session_is_kept_and_gone_on_with(folder: Path | None, state: StreamState, clock: Clock) -> None:
    store = SessionStore(folder, now=clock)
    begin(store, "tale", state, characters=11)
    clock.seconds += 10
    with store.use("tale", "", MODEL, "tiny") as use:
        assert alike(use.start, state)
        use.keep(state, 5)
    about = store.get("tale", "")
    assert (about.name, about.owner, about.model, about.digest) == ("tale", "", "tiny", MODEL.digest)
    assert (about.created, about.used) == (1e9, 1e9 + 10)
    assert (about.tokens, about.characters) == (state.read, 16)
    assert about.bytes == state.nbytes


def test_a_request_that_fails_leaves_the_session_as_it_was(folder: Path | None, state: StreamState) -> None:
    store = SessionStore(folder)
    with pytest.raises(ZeroDivisionError), store.use("tale", "", MODEL, "tiny"):
        raise ZeroDivisionError
    with pytest.raises(UnknownSession):
        store.get("tale", "")
    begin(store, "tale", state)
    before = store.get("tale", "")
    with pytest.raises(ZeroDivisionError), store.use("tale", "", MODEL, "tiny"):
        raise ZeroDivisionError
    assert store.get("tale", "") == before


def test_one_request_at_a_time(folder: Path | None, state: StreamState) -> None:
    store = SessionStore(folder)
    begin(store, "tale", state)
    with store.use("tale", "", MODEL, "tiny"):
        with pytest.raises(SessionBusy):
            store.use("tale", "", MODEL, "tiny")
        with pytest.raises(SessionBusy):
            store.delete("tale", "")
        assert store.get("tale", "").name == "tale"  # looking on is allowed
        store.use("tale", "another's", MODEL, "tiny").close()
    store.use("tale", "", MODEL, "tiny").close()


def test_closing_while_the_state_is_written_lets_go_of_it_afterwards(
    folder: Path | None, state: StreamState, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(folder)
    writing, going_on = threading.Event(), threading.Event()
    save = store._cache.save

    def slow(*arguments: Any, **named: Any) -> None:
        writing.set()
        assert going_on.wait(10)
        save(*arguments, **named)

    monkeypatch.setattr(store._cache, "save", slow)
    use = store.use("tale", "", MODEL, "tiny")
    thread = threading.Thread(target=use.keep, args=(state, 3))
    thread.start()
    assert writing.wait(10)
    use.close()
    with pytest.raises(SessionBusy):
        store.use("tale", "", MODEL, "tiny")
    going_on.set()
    thread.join(10)
    with store.use("tale", "", MODEL, "tiny") as again:
        assert alike(again.start, state)


def test_what_comes_after_closing_is_not_kept(folder: Path | None, state: StreamState) -> None:
    store = SessionStore(folder)
    use = store.use("tale", "", MODEL, "tiny")
    use.close()
    use.close()
    use.keep(state, 3)
    assert names(store) == []


def test_points_forks_and_rewinding(folder: Path | None, model: Model, state: StreamState) -> None:
    store = SessionStore(folder)
    begin(store, "tale", state, characters=4)
    store.mark("tale", "", "dawn")
    later = state_after(model, " and", 3, state)
    with store.use("tale", "", MODEL, "tiny") as use:
        use.keep(later, 5)
    forked = store.fork("tale", "", "other")
    assert (forked.tokens, forked.characters) == (later.read, 9)
    back = store.rewind("tale", "", "dawn")
    assert (back.tokens, back.characters, list(back.points)) == (state.read, 4, ["dawn"])
    with store.use("tale", "", MODEL, "tiny") as use, store.use("other", "", MODEL, "tiny") as fork:
        assert alike(use.start, state)
        assert alike(fork.start, later)
    store.rewind("other", "", "dawn")
    with store.use("other", "", MODEL, "tiny") as fork:
        assert alike(fork.start, state)
    assert store.unmark("tale", "", "dawn").points == {}
    assert store.get("tale", "").bytes == state.nbytes
    for act in (store.rewind, store.unmark):
        with pytest.raises(UnknownPoint):
            act("tale", "", "dawn")
    with pytest.raises(SessionTaken):
        store.fork("tale", "", "other")
    with pytest.raises(SessionTaken):
        store.fork("tale", "", "tale")
    assert names(store) == ["other", "tale"] or names(store) == ["tale", "other"]


def test_points_are_bounded_and_move(state: StreamState) -> None:
    store = SessionStore(None)
    begin(store, "tale", state)
    for number in range(MOST_POINTS):
        store.mark("tale", "", f"p{number}")
    with pytest.raises(BadRequest) as caught:
        store.mark("tale", "", "one-more")
    assert caught.value.code == "too_many_points"
    assert len(store.mark("tale", "", "p3").points) == MOST_POINTS


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a b", "-a", "a" * 101, "ä", "a\n", "a\0"])
def test_names_that_are_none(name: str, state: StreamState) -> None:
    store = SessionStore(None)
    begin(store, "tale", state)
    with pytest.raises(BadRequest):
        store.use(name, "", MODEL, "tiny")
    with pytest.raises(BadRequest):
        store.fork("tale", "", name)
    with pytest.raises(BadRequest):
        store.mark("tale", "", name)
    with pytest.raises(UnknownSession):
        store.get(name, "")


def test_another_owners_session_is_not_there(folder: Path | None, state: StreamState) -> None:
    store = SessionStore(folder)
    begin(store, "tale", state, "ann")
    store.mark("tale", "ann", "dawn")
    for act in (
        lambda: store.get("tale", "ben"),
        lambda: store.delete("tale", "ben"),
        lambda: store.fork("tale", "ben", "mine"),
        lambda: store.mark("tale", "ben", "dawn"),
        lambda: store.unmark("tale", "ben", "dawn"),
        lambda: store.rewind("tale", "ben", "dawn"),
    ):
        with pytest.raises(UnknownSession):
            act()
    assert names(store, "ben") == []
    begin(store, "tale", state, "ben", characters=1)
    assert store.get("tale", "ann").characters == 3
    store.delete("tale", "ben")
    assert names(store, "ann") == ["tale"]


def test_another_model_cannot_go_on(folder: Path | None, state: StreamState) -> None:
    store = SessionStore(folder)
    begin(store, "tale", state)
    with pytest.raises(SessionModelChanged) as caught:
        store.use("tale", "", OTHER, "tiny")
    assert "tiny" in caught.value.what
    store.use("tale", "", MODEL, "tiny").close()  # it was let go of


def test_after_a_swap_a_session_stays_with_its_model_where_that_is_still_there(state: StreamState) -> None:
    store = SessionStore(None)
    begin(store, "tale", state)
    assert store.model_for("tale", "", "tiny", {"tiny": MODEL}) == "tiny"
    assert store.model_for("tale", "", "tiny", {"tiny": OTHER, "tiny@1": MODEL}) == "tiny@1"
    assert store.model_for("tale", "", "tiny", {"tiny": OTHER}) == "tiny"
    assert store.model_for("tale", "", "prose", {"prose": OTHER, "tiny": MODEL}) == "prose"
    assert store.model_for("new", "", "tiny", {"tiny": OTHER}) == "tiny"


def test_the_one_not_used_for_longest_goes(folder: Path | None, state: StreamState, clock: Clock) -> None:
    store = SessionStore(folder, most=3, now=clock)
    for name in ("a", "b", "c"):
        begin(store, name, state)
        clock.seconds += 1
    with store.use("a", "", MODEL, "tiny") as use:
        use.keep(state, 0)
    clock.seconds += 1
    begin(store, "d", state)
    assert names(store) == ["d", "a", "c"]


def test_no_owner_pushes_out_anothers(folder: Path | None, state: StreamState, clock: Clock) -> None:
    store = SessionStore(folder, most=4, now=clock)
    begin(store, "old", state, "ann")
    for number in range(9):
        clock.seconds += 1
        begin(store, f"n{number}", state, "ben")
    assert names(store, "ann") == ["old"]
    assert names(store, "ben") == ["n8", "n7", "n6"]


def test_one_in_use_is_not_pushed_out(folder: Path | None, state: StreamState, clock: Clock) -> None:
    store = SessionStore(folder, most=1, now=clock)
    begin(store, "a", state)
    with store.use("a", "", MODEL, "tiny"):
        clock.seconds += 1
        begin(store, "b", state)
        assert names(store) == ["b", "a"]
    clock.seconds += 1
    begin(store, "c", state)
    assert names(store) == ["c"]


def test_bytes_are_bounded(folder: Path | None, state: StreamState, clock: Clock) -> None:
    store = SessionStore(folder, most_bytes=3 * state.nbytes, now=clock)
    for name in ("a", "b", "c"):
        begin(store, name, state)
        clock.seconds += 1
    store.mark("c", "", "p")
    assert names(store) == ["c", "b"]


def test_old_ones_go(folder: Path | None, state: StreamState, clock: Clock) -> None:
    store = SessionStore(folder, most_age_seconds=100, now=clock)
    begin(store, "a", state)
    clock.seconds += 101
    with pytest.raises(UnknownSession):
        store.get("a", "")
    assert names(store) == []
    with store.use("a", "", MODEL, "tiny") as use:
        assert use.start is None
    begin(store, "b", state)
    if folder is not None:
        assert len(list(folder.glob("*.safetensors"))) == 1
    begin(store, "a", state)
    assert store.get("a", "").created == clock.seconds


def test_memory_holds_those_used_last_and_the_disk_all(tmp_path: Path, state: StreamState) -> None:
    store = SessionStore(tmp_path, most_memory_bytes=2 * state.nbytes)
    for number in range(5):
        begin(store, f"n{number}", state)
    assert [key[1] for key in store._cache._kept] == ["n3", "n4"]
    with store.use("n0", "", MODEL, "tiny") as use:
        assert alike(use.start, state)
    assert [key[1] for key in store._cache._kept] == ["n4", "n0"]
    assert len(names(store)) == 5


def test_a_restart_finds_everything_as_it_was(tmp_path: Path, model: Model, state: StreamState) -> None:
    store = SessionStore(tmp_path)
    begin(store, "tale", state, "ann")
    store.mark("tale", "ann", "dawn")
    later = state_after(model, " and", 3, state)
    with store.use("tale", "ann", MODEL, "tiny") as use:
        use.keep(later, 4)
    before = store.owned_by("ann")
    store.close()
    store = SessionStore(tmp_path)
    assert store.owned_by("ann") == before
    assert store.get("tale", "ann") == before[0]
    with store.use("tale", "ann", MODEL, "tiny") as use:
        assert alike(use.start, later)
    store.rewind("tale", "ann", "dawn")
    with store.use("tale", "ann", MODEL, "tiny") as use:
        assert alike(use.start, state)


def test_what_another_process_wrote_is_seen(tmp_path: Path, model: Model, state: StreamState) -> None:
    one = SessionStore(tmp_path)
    begin(one, "tale", state)
    later = state_after(model, " and", 3, state)
    two = SessionStore(tmp_path)
    with two.use("tale", "", MODEL, "tiny") as use:
        use.keep(later, 0)
    assert one.get("tale", "").tokens == later.read
    with one.use("tale", "", MODEL, "tiny") as use:
        assert alike(use.start, later)
    two.delete("tale", "")
    assert names(one) == []
    with one.use("tale", "", MODEL, "tiny") as use:
        assert use.start is None


_HOLD = """
import fcntl, sys
with open(sys.argv[1], "ab") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, int(sys.argv[2]))
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_session_that_another_process_uses_is_busy_until_it_ends(
    tmp_path: Path, state: StreamState
) -> None:
    store = SessionStore(tmp_path)
    begin(store, "tale", state)
    begin(store, "free", state)
    place = str(_place(("", "tale")))
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path / ".lock"), place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(SessionBusy):
            store.use("tale", "", MODEL, "tiny")
        store.use("free", "", MODEL, "tiny").close()
        holder.kill()
    store.use("tale", "", MODEL, "tiny").close()


def test_files_are_for_the_user_of_this_machine_alone(tmp_path: Path, state: StreamState) -> None:
    folder = tmp_path / "made" / "sessions"
    store = SessionStore(folder)
    begin(store, "tale", state)
    [path] = folder.glob("*.safetensors")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert sorted(inner.name for inner in folder.iterdir()) == [".lock", path.name]


def test_a_damaged_file_is_refused_and_can_be_deleted(tmp_path: Path, state: StreamState) -> None:
    store = SessionStore(tmp_path)
    begin(store, "tale", state)
    [path] = tmp_path.glob("*.safetensors")
    content = path.read_bytes()
    for damaged in (content[:-4], content[:-1] + bytes([content[-1] ^ 1]), b"", b"x" * 100):
        path.write_bytes(damaged)
        with pytest.raises(CorruptFile):
            store.use("tale", "", MODEL, "tiny")
    assert names(store) == []
    store.delete("tale", "")
    begin(store, "tale", state)
    text = path.read_bytes().replace(b'"format":"1"', b'"format":"9"')
    path.write_bytes(text)
    with pytest.raises(CorruptFile, match=r"newer|reads up to"):
        store.use("tale", "", MODEL, "tiny")


def test_a_file_under_anothers_name_is_not_theirs(tmp_path: Path, state: StreamState) -> None:
    store = SessionStore(tmp_path)
    begin(store, "tale", state, "ann")
    begin(store, "tale", state, "ben")
    mine, other = sorted(tmp_path.glob("*.safetensors"))
    content = other.read_bytes()
    mine.write_bytes(content)
    owner = "ann" if b'\\"owner\\":\\"ben\\"' in content else "ben"
    assert names(store, owner) == []
    with pytest.raises(CorruptFile):
        store.use("tale", owner, MODEL, "tiny")


def test_a_full_disk_leaves_the_session_as_it_was(
    tmp_path: Path, model: Model, state: StreamState, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SessionStore(tmp_path)
    begin(store, "tale", state)
    later = state_after(model, " and", 3, state)

    def full(*arguments: Any) -> None:
        raise StorageError("the disk is full")

    with store.use("tale", "", MODEL, "tiny") as use, monkeypatch.context() as patched:
        patched.setattr("bowerbird.serving.session_files.write_whole", full)
        with pytest.raises(StorageError):
            use.keep(later, 4)
    with store.use("tale", "", MODEL, "tiny") as use:
        assert alike(use.start, state)
    assert store.get("tale", "").characters == 3


def test_no_session_grows_with_its_text(tmp_path: Path, model: Model) -> None:
    """20,000 characters; a million are read by `make bench-serve`."""
    store = SessionStore(tmp_path)
    text = "the sea was under the stone and so be it " * 25
    state, sizes, files = None, set(), []
    for _ in range(20):
        with store.use("long", "", MODEL, "tiny") as use:
            state = state_after(model, text, 1, use.start)
            use.keep(state, len(text))
        [path] = tmp_path.glob("*.safetensors")
        sizes.add(store.get("long", "").bytes)
        files.append(path.stat().st_size)
    assert store.get("long", "").characters == 20 * len(text) > 20_000
    assert sizes == {state.nbytes} if state else False
    assert max(files) - min(files) <= 64  # numbers in the header get longer
    store.close()
    store = SessionStore(tmp_path)
    with store.use("long", "", MODEL, "tiny") as use:
        assert alike(use.start, state)
        use.keep(state_after(model, text, 1, use.start), len(text))
    assert store.get("long", "").bytes in sizes
    assert path.stat().st_size - min(files) <= 64


# Over HTTP


@contextmanager
def serving(
    models: dict[str, Model], store: SessionStore | None, keys: KeyRing | None = None
) -> Iterator[str]:
    """The address of a server."""
    app = create_app(models, sessions=store, keys=keys)
    bound = listen("127.0.0.1", 0)
    server = uvicorn.Server(
        uvicorn.Config(app, log_config=None, ws="none", lifespan="on", timeout_graceful_shutdown=2)
    )
    thread = threading.Thread(target=server.run, args=([bound],))
    thread.start()
    try:
        yield url_of(bound)
    finally:
        server.should_exit = True
        thread.join(10)
        if store is not None:
            store.close()
    assert not thread.is_alive()


def asked(url: str, session: str | None, prompt: str = "", **fields: Any) -> Any:
    body = {"model": "tiny", "prompt": prompt, "temperature": 0, "max_tokens": 12, **fields}
    if session is not None:
        body["session"] = session
    answer = httpx.post(f"{url}/v1/completions", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["text"]


def error(answer: httpx.Response) -> tuple[int, str, str | None]:
    told = answer.json()["error"]
    assert sorted(told) == ["code", "message", "param", "type"]
    return answer.status_code, told["code"], told["param"]


@pytest.fixture(scope="module")
def url(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that keeps sessions."""
    with serving({"tiny": model}, SessionStore(tmp_path_factory.mktemp("sessions"))) as url:
        yield url


def test_a_text_goes_on_as_if_it_had_never_ended(url: str) -> None:
    whole = asked(url, None, "the sea", max_tokens=36)
    first = asked(url, "on", "the sea")
    second, third = asked(url, "on"), asked(url, "on")
    assert first + second + third == whole
    told = httpx.get(f"{url}/v1/sessions/on").json()
    assert told["characters"] == len("the sea" + whole)
    assert told["tokens"] == 1 + len("the sea" + whole)  # and the marker that begins every document


def test_what_is_new_is_read_after_what_was_there(url: str) -> None:
    first = asked(url, "after", "the sea")
    assert asked(url, "after", " was under") == asked(url, None, f"the sea{first} was under")


def test_a_stream_goes_on_too(url: str) -> None:
    whole = asked(url, None, "the sea", max_tokens=24)
    with openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        text = ""
        for prompt in ("the sea", ""):
            parts = client.completions.create(
                model="tiny",
                prompt=prompt,
                temperature=0,
                max_tokens=12,
                stream=True,
                extra_body={"session": "streamed"},
            )
            text += "".join(choice.text for part in parts for choice in part.choices)
    assert text == whole
    assert httpx.get(f"{url}/v1/sessions/streamed").json()["characters"] == len("the sea" + whole)


def test_a_restart_goes_on_to_the_bit(model: Model, tmp_path: Path) -> None:
    with serving({"tiny": model}, SessionStore(tmp_path)) as url:
        whole = asked(url, "through", "the sea", max_tokens=30)
        first = asked(url, "broken", "the sea", max_tokens=10)
        before = httpx.get(f"{url}/v1/sessions").json()
    with serving({"tiny": model}, SessionStore(tmp_path)) as url:
        assert httpx.get(f"{url}/v1/sessions").json() == before
        second = asked(url, "broken", max_tokens=20)
    assert first + second == whole
    store = SessionStore(tmp_path)
    with store.use("through", "", model, "tiny") as one, store.use("broken", "", model, "tiny") as other:
        assert alike(one.start, other.start)


def test_a_fork_and_a_rewound_session_go_on_alike(url: str) -> None:
    drawn: dict[str, Any] = {"temperature": 1.0, "top_p": 0.9, "seed": 11, "max_tokens": 30}
    asked(url, "trunk", "the lark", **drawn)
    path = f"{url}/v1/sessions/trunk"
    marked = httpx.post(f"{path}/points", json={"name": "here"}).json()
    assert [point["name"] for point in marked["points"]] == ["here"]
    assert httpx.post(f"{path}/fork", json={"to": "branch"}).json()["id"] == "branch"
    one = asked(url, "trunk", " and", **drawn)
    assert asked(url, "branch", " and", **drawn) == one
    assert httpx.post(f"{path}/rewind", json={"to": "here"}).json()["tokens"] == marked["tokens"]
    assert asked(url, "trunk", " and", **drawn) == one
    assert httpx.get(path).json()["characters"] == marked["characters"] + len(" and" + one)
    assert httpx.get(f"{url}/v1/sessions/branch").json()["tokens"] == httpx.get(path).json()["tokens"]
    assert httpx.delete(f"{path}/points/here").json()["points"] == []
    assert error(httpx.post(f"{path}/rewind", json={"to": "here"})) == (404, "point_not_found", "to")
    assert error(httpx.post(f"{path}/fork", json={"to": "branch"})) == (409, "session_exists", "to")


def test_a_stop_string_is_not_in_the_session(url: str) -> None:
    whole = asked(url, None, "the sea", max_tokens=40)
    stop = whole[17:20]
    before = whole[: whole.index(stop)]
    assert asked(url, "stopped", "the sea", max_tokens=40, stop=stop) == before
    told = httpx.get(f"{url}/v1/sessions/stopped").json()
    assert told["tokens"] == 1 + len("the sea" + before)
    assert told["characters"] == len("the sea" + before)
    assert (before + asked(url, "stopped", max_tokens=12))[: len(whole)] == whole[: len(before) + 12]


def test_a_prompt_can_be_read_without_an_answer(url: str) -> None:
    assert asked(url, "read", "the sea", max_tokens=0) == ""
    assert httpx.get(f"{url}/v1/sessions/read").json()["tokens"] == 1 + len("the sea")
    assert asked(url, "read", max_tokens=20) == asked(url, None, "the sea", max_tokens=20)


def test_two_requests_at_once_on_one_session(url: str) -> None:
    body = {"model": "tiny", "prompt": "the ", "session": "held", "max_tokens": 20_000, "stream": True}
    never_ends = {"logit_bias": {"0": -100}}
    with httpx.stream("POST", f"{url}/v1/completions", json=body | never_ends, timeout=30) as streamed:
        parts = streamed.iter_bytes()
        next(parts)
        second = httpx.post(f"{url}/v1/completions", json=body | {"stream": False})
        assert error(second) == (409, "session_busy", "session")
        assert error(httpx.delete(f"{url}/v1/sessions/held"))[:2] == (409, "session_busy")
        asked(url, "another")
    deadline = 200
    while True:  # the first one's asker has left: the session was never begun, and is free
        answer = httpx.post(f"{url}/v1/completions", json=body | {"stream": False, "max_tokens": 5})
        if answer.status_code == 200 or not deadline:
            break
        deadline -= 1
    assert answer.status_code == 200
    assert httpx.get(f"{url}/v1/sessions/held").json()["tokens"] <= 1 + 4 + 5


def test_a_session_is_for_one_answer(url: str) -> None:
    body = {"model": "tiny", "prompt": "the ", "session": "one"}
    for more, param in (
        ({"n": 2}, "n"),
        ({"best_of": 2}, "best_of"),
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"session": "no/name"}, "session"),
        ({"session": ""}, "session"),
        ({"session": 3}, "session"),
    ):
        answer = httpx.post(f"{url}/v1/completions", json=body | more)
        assert error(answer) == (400, "invalid_value", param)
    assert error(httpx.get(f"{url}/v1/sessions/one"))[0] == 404


def test_sessions_are_their_owners_alone(model: Model, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    bearers = [{"Authorization": f"Bearer {ring.new(name)[1]}"} for name in ("ann", "ben")]
    with (
        serving({"tiny": model}, SessionStore(tmp_path / "sessions"), ring) as url,
        httpx.Client(base_url=url, headers=bearers[0]) as ann,
        httpx.Client(base_url=url, headers=bearers[1]) as ben,
    ):
        body = {"model": "tiny", "prompt": "the ", "session": "mine", "max_tokens": 4}
        assert ann.post("/v1/completions", json=body).status_code == 200
        assert ann.post("/v1/sessions/mine/points", json={"name": "here"}).status_code == 200
        before = ann.get("/v1/sessions/mine").json()
        for answer in (
            ben.get("/v1/sessions/mine"),
            ben.delete("/v1/sessions/mine"),
            ben.post("/v1/sessions/mine/fork", json={"to": "his"}),
            ben.post("/v1/sessions/mine/points", json={"name": "p"}),
            ben.delete("/v1/sessions/mine/points/here"),
            ben.post("/v1/sessions/mine/rewind", json={"to": "here"}),
        ):
            assert error(answer)[:2] == (404, "session_not_found")
        assert ben.get("/v1/sessions").json() == {"object": "list", "data": []}
        assert ben.post("/v1/completions", json=body).status_code == 200
        assert ann.get("/v1/sessions").json()["data"] == [before]
        assert ann.delete("/v1/sessions/mine").json() == {
            "id": "mine",
            "object": "session.deleted",
            "deleted": True,
        }
        assert error(ann.get("/v1/sessions/mine"))[0] == 404


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("fork", {}, "to"),
        ("fork", {"to": 3}, "to"),
        ("fork", {"to": "../up"}, "to"),
        ("fork", {"to": "x", "too": "y"}, "too"),
        ("points", {"name": ""}, "name"),
        ("rewind", {"to": None}, "to"),
    ],
)
def test_wrong_bodies(url: str, path: str, body: Any, param: str) -> None:
    asked(url, "wrong", "the ", max_tokens=1)
    status, _, told = error(httpx.post(f"{url}/v1/sessions/wrong/{path}", json=body))
    assert (status, told) == (400, param)


def test_odd_names_in_paths_are_no_sessions(url: str) -> None:
    for name in ("%00", "%2E%2E", "a%20b", "%FF%FE", "\u00e4", "a" * 5000):
        for answer in (httpx.get(f"{url}/v1/sessions/{name}"), httpx.delete(f"{url}/v1/sessions/{name}")):
            assert error(answer)[0] == 404


def test_a_session_of_a_model_that_was_replaced(model: Model, tmp_path: Path) -> None:
    class Retrained:
        """The same model, as if it had learnt since."""

        digest = "sha256:" + "0" * 64

        def __getattr__(self, name: str) -> Any:
            return getattr(model, name)

    retrained: Any = Retrained()
    with serving({"tiny": model}, SessionStore(tmp_path)) as url:
        whole = asked(url, None, "the sea", max_tokens=20)
        first = asked(url, "tale", "the sea", max_tokens=10)
    body = {"model": "tiny", "session": "tale"}
    with serving({"tiny": retrained}, SessionStore(tmp_path)) as url:
        answer = httpx.post(f"{url}/v1/completions", json=body)
        assert error(answer) == (409, "session_model_changed", "session")
        assert "tiny" in answer.json()["error"]["message"]
    with serving({"tiny": retrained, "tiny@1": model}, SessionStore(tmp_path)) as url:
        assert first + asked(url, "tale", max_tokens=10) == whole
        assert httpx.get(f"{url}/v1/sessions/tale").json()["model"] == "tiny"


def test_a_server_without_sessions_says_so(model: Model) -> None:
    with serving({"tiny": model}, None) as url:
        answer = httpx.post(f"{url}/v1/completions", json={"model": "tiny", "session": "tale"})
        assert error(answer) == (400, "unsupported_parameter", "session")
        assert httpx.get(f"{url}/v1/sessions").status_code == 404
