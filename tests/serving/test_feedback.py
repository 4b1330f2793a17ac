"""`POST /v1/feedback`: verdicts are kept whole, private and on the disk, and go nowhere else."""

from __future__ import annotations

import errno
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient
from tests.serving.answers import error, events

from bowerbird.kinds.loaded import Model
from bowerbird.serving.access import AccessLog
from bowerbird.serving.app import create_app
from bowerbird.serving.errors import UnknownAnswer
from bowerbird.serving.feedback import Remembered
from bowerbird.serving.keys import KeyRing

PATH = "/v1/feedback"
COMPLETIONS = "/v1/completions"
CHATS = "/v1/chat/completions"
FIELDS = {
    "id",
    "time",
    "origin",
    "owner",
    "model",
    "digest",
    "prompt",
    "text",
    "rating",
    "comment",
    "correction",
}


def kept(folder: Path, model: str = "tiny") -> list[dict[str, Any]]:
    """The records of a model's file."""
    content = (folder / f"{model}.jsonl").read_bytes()
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.decode("utf-8").split("\n")[:-1]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "made" / "feedback"


@pytest.fixture
def client(model: Model, folder: Path) -> Iterator[TestClient]:
    with TestClient(create_app({"tiny": model}, feedback=folder)) as client:
        yield client


def made(client: Any, path: str = COMPLETIONS, **body: Any) -> Any:
    answer = client.post(path, json={"model": "tiny", "max_tokens": 9, "seed": 1, **body})
    assert answer.status_code == 200, answer.text
    return answer.json()


def take(client: Any, **body: Any) -> Any:
    answer = client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def refused(client: Any, **body: Any) -> tuple[int, str | None, str | None]:
    return error(client.post(PATH, json=body))


def test_a_verdict_names_an_answer_by_its_id(client: TestClient, folder: Path, model: Model) -> None:
    answer = made(client, prompt="the sea")
    told = take(client, id=answer["id"], rating="up", comment="well said", correction="the sea.")
    assert set(told) == {"object", "id", "created", "model", "rating"}
    assert (told["object"], told["model"], told["rating"]) == ("feedback", "tiny", 1.0)
    assert abs(told["created"] - time.time()) < 60
    [record] = kept(folder)
    assert set(record) == FIELDS
    assert record["id"] == told["id"]
    assert abs(record["time"] - time.time()) < 60
    assert {**record, "id": None, "time": None} == {
        "id": None,
        "time": None,
        "origin": answer["id"],
        "owner": "",
        "model": "tiny",
        "digest": model.digest,
        "prompt": "the sea",
        "text": answer["choices"][0]["text"],
        "rating": 1.0,
        "comment": "well said",
        "correction": "the sea.",
    }


def test_a_verdict_names_one_of_several_choices(client: TestClient, folder: Path) -> None:
    answer = made(client, prompt=["the sea", "so"], n=2, best_of=3, echo=True, temperature=1.2)
    for choice in range(4):
        take(client, id=answer["id"], choice=choice, rating=choice / 4)
    found = kept(folder)
    assert [record["prompt"] for record in found] == ["the sea", "the sea", "so", "so"]
    texts = [choice["text"] for choice in answer["choices"]]
    assert [record["prompt"] + record["text"] for record in found] == texts
    assert refused(client, id=answer["id"], choice=4, rating=1) == (404, "answer_not_found", "id")
    assert refused(client, id=answer["id"], choice=1024, rating=1) == (400, "invalid_value", "choice")
    assert refused(client, model="tiny", text="x", choice=0, rating=1) == (400, "invalid_value", "choice")
    assert len(kept(folder)) == 4


@pytest.mark.parametrize("extra", [{}, {"best_of": 2}, {"max_tokens": 0}], ids=str)
def test_a_streamed_answer_can_be_named_too(client: TestClient, folder: Path, extra: dict[str, Any]) -> None:
    body = {"model": "tiny", "prompt": "the ", "seed": 3, "max_tokens": 20, **extra}
    answer: Any = client.post(COMPLETIONS, json={**body, "stream": True})
    told = events(answer)
    take(client, id=told[0]["id"], rating=-1)
    [record] = kept(folder)
    assert record["text"] == "".join(event["choices"][0]["text"] for event in told)
    assert record["prompt"] == "the "


def test_a_chat_is_kept_with_its_turns(everything: Any) -> None:
    messages = [
        {"role": "developer", "content": "be kind"},
        {"role": "user", "content": [{"type": "text", "text": "hi "}, {"type": "text", "text": "there"}]},
    ]
    answer = everything.made(CHATS, model="talk", messages=messages, max_tokens=9, n=2, seed=1)
    everything.made(PATH, id=answer["id"], choice=1, rating="down", correction="hello")
    record = kept(everything.feedback, "talk")[-1]
    assert record["origin"] == answer["id"]
    assert record["prompt"] == [
        {"role": "system", "content": "be kind"},
        {"role": "user", "content": "hi there"},
    ]
    assert record["text"] == answer["choices"][1]["message"]["content"]
    assert (record["rating"], record["correction"]) == (-1.0, "hello")


def test_a_verdict_may_bring_its_text_and_model(client: TestClient, folder: Path, model: Model) -> None:
    text = 'a "text"\n\u2028 of \U0001f30a\x00'
    take(client, model="tiny", text=text, prompt="once", rating=0.25)
    take(client, model="tiny", text="", comment="nothing came")
    take(client, model="tiny", text="x", correction="")
    first, second, third = kept(folder)
    assert (first["origin"], first["prompt"], first["text"]) == (None, "once", text)
    assert (first["model"], first["digest"]) == ("tiny", model.digest)
    assert (second["text"], second["rating"], second["comment"]) == ("", None, "nothing came")
    assert third["correction"] == ""


@pytest.mark.parametrize(
    ("given", "rating"), [("up", 1.0), ("down", -1.0), (1, 1.0), (-1, -1.0), (0, 0.0), (0.5, 0.5)]
)
def test_ratings_are_words_or_numbers(client: TestClient, folder: Path, given: Any, rating: float) -> None:
    assert take(client, model="tiny", text="x", rating=given)["rating"] == rating
    assert kept(folder)[0]["rating"] == rating


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"rating": 1}, (400, "missing_parameter", "model")),
        ({"rating": 1, "model": "tiny"}, (400, "missing_parameter", "text")),
        ({"rating": 1, "text": "x"}, (400, "missing_parameter", "model")),
        ({"model": "tiny", "text": "x"}, (400, "missing_parameter", "rating")),
        ({"id": "cmpl-0"}, (400, "missing_parameter", "rating")),
        ({"id": "cmpl-0", "rating": 1}, (404, "answer_not_found", "id")),
        ({"id": "", "rating": 1}, (404, "answer_not_found", "id")),
        ({"id": "x" * 101, "rating": 1}, (400, "invalid_value", "id")),
        ({"id": 5, "rating": 1}, (400, "invalid_value", "id")),
        ({"id": "cmpl-0", "choice": -1, "rating": 1}, (400, "invalid_value", "choice")),
        ({"id": "cmpl-0", "choice": "0", "rating": 1}, (400, "invalid_value", "choice")),
        ({"model": "tinny", "text": "x", "rating": 1}, (404, "model_not_found", "model")),
        ({"model": 5, "text": "x", "rating": 1}, (400, "invalid_value", "model")),
        ({"model": "tiny", "text": ["x"], "rating": 1}, (400, "invalid_value", "text")),
        ({"model": "tiny", "text": "x" * 100_001, "rating": 1}, (400, "invalid_value", "text")),
        ({"model": "tiny", "text": "x", "rating": 1.01}, (400, "invalid_value", "rating")),
        ({"model": "tiny", "text": "x", "rating": -2}, (400, "invalid_value", "rating")),
        ({"model": "tiny", "text": "x", "rating": 10**400}, (400, "invalid_value", "rating")),
        ({"model": "tiny", "text": "x", "rating": "good"}, (400, "invalid_value", "rating")),
        ({"model": "tiny", "text": "x", "rating": "1"}, (400, "invalid_value", "rating")),
        ({"model": "tiny", "text": "x", "rating": True}, (400, "invalid_value", "rating")),
        ({"model": "tiny", "text": "x", "comment": 5}, (400, "invalid_value", "comment")),
        ({"model": "tiny", "text": "x", "rating": 1, "stars": 5}, (400, "unknown_parameter", "stars")),
    ],
    ids=range(23),
)
def test_a_verdict_that_says_nothing_or_on_nothing_is_refused(
    client: TestClient, folder: Path, body: dict[str, Any], expected: Any
) -> None:
    assert refused(client, **body) == expected
    assert not folder.exists()


@pytest.mark.parametrize("field", ["prompt", "text", "comment", "correction"])
def test_half_a_surrogate_pair_is_refused(client: TestClient, folder: Path, field: str) -> None:
    body = json.dumps({"model": "tiny", "text": "x", "rating": 1, field: "sea \ud800"})
    answer: Any = client.post(PATH, content=body)
    assert error(answer) == (400, "invalid_value", field)
    assert not folder.exists()


def test_an_answer_is_remembered_for_its_asker_alone(model: Model, folder: Path, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    (mine, secret), (_, other) = ring.new("phone"), ring.new("laptop")
    with TestClient(create_app({"tiny": model}, feedback=folder, keys=ring)) as client:
        client.headers["Authorization"] = f"Bearer {secret}"
        answer = made(client)
        client.headers["Authorization"] = f"Bearer {other}"
        assert refused(client, id=answer["id"], rating=1) == (404, "answer_not_found", "id")
        client.headers["Authorization"] = f"Bearer {secret}"
        take(client, id=answer["id"], rating=1)
        del client.headers["Authorization"]
        assert refused(client, id=answer["id"], rating=1)[0] == 401
    [record] = kept(folder)
    assert record["owner"] == mine.id
    assert secret not in json.dumps(record)


@pytest.mark.skipif(os.name != "posix", reason="modes are of POSIX systems")
def test_files_are_for_the_user_of_this_machine_alone(client: TestClient, folder: Path) -> None:
    before = os.umask(0)
    try:
        take(client, model="tiny", text="x", rating=1)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_verdicts_at_once_are_a_line_each(client: TestClient, folder: Path) -> None:
    def verdict(number: int) -> None:
        take(client, model="tiny", text="x" * 20_000, comment=str(number))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(verdict, range(24)))
    assert sorted(int(record["comment"]) for record in kept(folder)) == list(range(24))


@pytest.mark.parametrize(
    "name", ["../up", "..", ".hidden", "a/b", "a\\b", "poems@live", "\u00e4 b", "con", "%2e"]
)
def test_any_models_name_is_a_file_within_the_folder(model: Model, folder: Path, name: str) -> None:
    with TestClient(create_app({name: model}, feedback=folder)) as client:
        take(client, model=name, text="x", rating=1)
    [path] = folder.glob("*.jsonl")
    assert sorted(inside.name for inside in folder.parent.iterdir()) == ["feedback"]
    assert json.loads(path.read_text(encoding="utf-8"))["model"] == name
    assert not path.name.startswith(".")


@contextmanager
def failing(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """The disk says no, once the line is written and is to be put on it."""

    def full(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("bowerbird.serving.feedback.os.fsync", full)
        yield


@pytest.mark.parametrize(("number", "status"), [(errno.ENOSPC, 507), (errno.EDQUOT, 507), (errno.EIO, 500)])
def test_a_full_disk_is_told_and_leaves_no_half_line(
    client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch, number: int, status: int
) -> None:
    take(client, model="tiny", text="x", rating=1)
    before = (folder / "tiny.jsonl").read_bytes()
    with failing(monkeypatch, number):
        answer: Any = client.post(PATH, json={"model": "tiny", "text": "y", "rating": 1})
    assert error(answer)[0] == status
    assert str(folder) not in answer.text
    assert (folder / "tiny.jsonl").read_bytes() == before
    take(client, model="tiny", text="z", rating=1)
    assert [record["text"] for record in kept(folder)] == ["x", "z"]


def test_a_folder_that_cannot_be_made_is_told(client: TestClient, folder: Path) -> None:
    folder.parent.mkdir()
    folder.write_text("a file")
    answer: Any = client.post(PATH, json={"model": "tiny", "text": "y", "rating": 1})
    assert error(answer)[0] == 507
    assert folder.read_text() == "a file"
    assert client.get("/health").status_code == 200


def test_nothing_that_is_said_is_in_a_log(
    model: Model,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "the asker's own words"
    app = create_app({"tiny": model}, feedback=folder)
    access = AccessLog(tmp_path / "access.jsonl")
    app.state.exchanges.listeners.append(access)
    with TestClient(app, raise_server_exceptions=False) as client:
        body = {"model": "tiny", "text": secret, "prompt": secret, "comment": secret, "correction": secret}
        take(client, **body)
        refused(client, **body, rating=secret)
        with failing(monkeypatch, errno.ENOSPC):
            refused(client, **body)
        with monkeypatch.context() as patched:
            patched.setattr("bowerbird.serving.feedback._file_name", lambda model: 1 / 0)
            assert refused(client, **body) == (500, "internal_error", None)
    access.close()
    written = (tmp_path / "access.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["status"] for line in written.splitlines()] == [200, 400, 507, 500]
    assert json.loads(written.splitlines()[0])["model"] == "tiny"
    assert secret not in written
    assert secret not in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert kept(folder)[0]["text"] == secret


def test_a_server_that_keeps_none_has_no_such_path(model: Model) -> None:
    with TestClient(create_app({"tiny": model})) as client:
        assert refused(client, model="tiny", text="x", rating=1) == (404, "not_found", None)
        assert PATH not in client.get("/openapi.json").json()["paths"]


def test_an_answer_that_was_left_is_not_remembered(everything: Any) -> None:
    body: dict[str, Any] = {"model": "tiny", "max_tokens": 90_000, "stream": True}
    body["logit_bias"] = {"0": -100}
    with httpx.stream("POST", f"{everything.url}{COMPLETIONS}", json=body, timeout=30) as answer:
        first = next(answer.iter_text()).partition("\n\n")[0]
    name = json.loads(first.removeprefix("data: "))["id"]
    assert error(everything.ask(PATH, id=name, rating=1)) == (404, "answer_not_found", "id")


# What is remembered


def an_answer(name: str, text: str = "x", prompt: str = "p") -> Any:
    return SimpleNamespace(
        id=name,
        digest="sha256:0",
        asked=SimpleNamespace(model="tiny", n=1),
        prompts=[SimpleNamespace(text=prompt, turns=())],
        given=lambda: [SimpleNamespace(text=text)],
    )


def test_the_oldest_answers_are_forgotten_first() -> None:
    remembered = Remembered(most=3)
    for number in range(5):
        remembered.add(an_answer(f"a{number}"), "")
    for number in range(5):
        if number < 2:
            with pytest.raises(UnknownAnswer):
                remembered.find(f"a{number}", "")
        else:
            assert remembered.find(f"a{number}", "").texts == ("x",)


def test_answers_are_forgotten_when_they_take_much_room() -> None:
    remembered = Remembered(most_bytes=40_000)
    for number in range(100):
        remembered.add(an_answer(f"a{number}", "x" * 1000), "")
    assert remembered.find("a99", "").texts == ("x" * 1000,)
    with pytest.raises(UnknownAnswer):
        remembered.find("a80", "")
    for large in (an_answer("large", "x" * 4000), an_answer("large", prompt="x" * 4000)):
        remembered.add(large, "")
        with pytest.raises(UnknownAnswer):
            remembered.find("large", "")
    assert remembered.find("a99", "")
