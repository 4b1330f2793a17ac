"""Every request that asks for something made becomes one record, whole or streamed, failed or broken off."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.pictures import new_model, write_dataset
from tests.running_server import running

import bowerbird as bb
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring import events
from bowerbird.monitoring.events import Event
from bowerbird.monitoring.recorder import Recorder
from bowerbird.monitoring.store import EventStore
from bowerbird.serving import recording, sink
from bowerbird.serving.answer import Prompt
from bowerbird.serving.app import create_app
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.metrics import Metrics
from bowerbird.serving.recording import said
from bowerbird.serving.sessions import SessionStore
from bowerbird.serving.sink import MOST_CHARACTERS, AnsweredRequest, EventSettings, EventSink, Mode

PATH = "/v1/completions"
ASKED = {"model": "tiny", "prompt": "the sea", "seed": 7, "max_tokens": 20}
NEVER_ENDS = {**ASKED, "max_tokens": 90_000, "logit_bias": {"0": -100}}


class Kept:
    """A sink that keeps records in a list."""

    def __init__(self, mode: Mode = "full"):
        self.mode: Mode = mode
        self.records: list[AnsweredRequest] = []
        self.broken = ""
        """What it fails with, where it does."""
        self.came = threading.Event()

    def wants_text(self, answer_id: str) -> bool:
        if self.broken:
            raise ValueError(self.broken)
        return self.mode == "full"

    def record(self, answered: AnsweredRequest) -> None:
        if self.broken:
            raise ValueError(self.broken)
        self.records.append(answered)
        self.came.set()

    def counts(self) -> dict[str, int]:
        return {"written": len(self.records), "dropped": 2, "failed": 0}

    @property
    def one(self) -> AnsweredRequest:
        [record] = self.records
        return record


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def client(model: Model, kept: Kept) -> Iterator[TestClient]:
    with TestClient(create_app({"tiny": model}, sink=kept, sessions=SessionStore(None))) as client:
        yield client


def test_a_completion_is_recorded_with_its_words(client: TestClient, model: Model, kept: Kept) -> None:
    answer = client.post(PATH, json={**ASKED, "temperature": 0.7, "top_p": 0.9}).json()
    record = kept.one
    assert record["id"] == answer["id"]
    assert abs(record["time"] - time.time()) < 60
    assert (record["model"], record["digest"], record["kind"], record["path"]) == (
        "tiny",
        model.digest,
        "text",
        PATH,
    )
    assert (record["owner"], record["session"], record["arm"]) == ("", "", "")
    assert (record["status"], record["code"]) == (200, "")
    assert record["finish_reason"] == answer["choices"][0]["finish_reason"]
    assert record["prompt_tokens"] == answer["usage"]["prompt_tokens"]
    assert record["completion_tokens"] == answer["usage"]["completion_tokens"]
    assert 0 < (record["first_token_seconds"] or 0.0) < record["seconds"] + 1
    settings = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 20, "n": 1, "seed": 7, "stream": False}
    assert record["settings"] == settings
    assert (record["prompt"], record["output"]) == ("the sea", answer["choices"][0]["text"])


def test_a_stream_is_recorded_as_the_whole_answer_is(client: TestClient, kept: Kept) -> None:
    client.post(PATH, json=ASKED)
    client.post(PATH, json={**ASKED, "stream": True})
    whole, streamed = kept.records
    alike = [
        name for name in whole if name not in ("id", "time", "seconds", "first_token_seconds", "settings")
    ]
    assert {name: whole[name] for name in alike} == {name: streamed[name] for name in alike}  # type: ignore[literal-required]
    assert streamed["settings"] == {**whole["settings"], "stream": True}
    assert streamed["output"]


def test_without_texts_the_numbers_are_the_same(model: Model) -> None:
    kept = Kept("counts")
    with TestClient(create_app({"tiny": model}, sink=kept)) as client:
        for stream in (False, True):
            client.post(PATH, json={**ASKED, "stream": stream})
    for record in kept.records:
        assert (record["prompt"], record["output"]) == (None, None)
        assert record["completion_tokens"] > 0
        assert record["finish_reason"]


def test_several_choices_and_prompts_are_one_record(client: TestClient, kept: Kept) -> None:
    asked = {**ASKED, "prompt": ["the sea", "a stone"], "n": 2, "best_of": 3}
    answer = client.post(PATH, json=asked).json()
    record = kept.one
    assert record["prompt"] == "the sea\n\na stone"
    assert record["output"] == "\n\n".join(choice["text"] for choice in answer["choices"])
    assert (record["settings"]["n"], record["settings"]["prompts"]) == (2, 2)
    assert set(record["finish_reason"].split(",")) == {each["finish_reason"] for each in answer["choices"]}


def test_penalties_are_told_only_where_they_do_something(client: TestClient, kept: Kept) -> None:
    client.post(
        PATH, json={**ASKED, "presence_penalty": 0.5, "frequency_penalty": 0, "stop": "private words"}
    )
    assert kept.one["settings"]["presence_penalty"] == 0.5
    assert "frequency_penalty" not in kept.one["settings"]
    assert "private" not in json.dumps(kept.one["settings"])


def test_the_seed_that_was_drawn_is_told(client: TestClient, kept: Kept) -> None:
    asked = {name: value for name, value in ASKED.items() if name != "seed"}
    first = client.post(PATH, json=asked).json()
    again = client.post(PATH, json={**asked, "seed": kept.one["settings"]["seed"]}).json()
    assert again["choices"] == first["choices"]


def test_a_session_is_named(client: TestClient, kept: Kept) -> None:
    client.post(PATH, json={**ASKED, "session": "tea"})
    assert kept.one["session"] == "tea"


@pytest.mark.parametrize(
    ("body", "status", "code", "model_id"),
    [
        ({"model": "tiny", "temperature": 9}, 400, "invalid_value", ""),
        ({"model": "other"}, 404, "model_not_found", ""),
        ({"model": "tiny", "logit_bias": {"999999": 1}}, 400, "invalid_value", "tiny"),
        ({"model": "tiny", "n": 3000}, 400, "invalid_value", ""),
    ],
)
def test_what_is_refused_is_recorded_too(
    client: TestClient, model: Model, kept: Kept, body: dict[str, Any], status: int, code: str, model_id: str
) -> None:
    found = client.post(PATH, json=body)
    assert found.status_code == status
    record = kept.one
    assert (record["status"], record["code"], record["model"]) == (status, code, model_id)
    assert record["id"] == found.headers["x-request-id"]
    assert record["digest"] == (model.digest if model_id else "")
    assert (record["kind"], record["path"]) == ("text", PATH)
    assert (record["prompt"], record["output"]) == (None, None)


def test_what_makes_nothing_is_no_event(client: TestClient, kept: Kept) -> None:
    for path in ("/v1/models", "/health", "/", "/v1/sessions", "/openapi.json", "/nothing", PATH):
        client.get(path)
    client.post("/nothing", json={})
    assert kept.records == []


def test_an_asker_who_leaves_is_recorded_with_what_was_made(model: Model) -> None:
    kept = Kept()
    with running(create_app({"tiny": model}, sink=kept)) as url:
        asked = {**NEVER_ENDS, "stream": True}
        with httpx.stream("POST", f"{url}{PATH}", json=asked, timeout=60) as streamed:
            next(streamed.iter_bytes())
        assert kept.came.wait(60)
        record = kept.one
        assert (record["status"], record["code"]) == (200, "client_closed_request")
        assert record["completion_tokens"] < 90_000
        assert record["finish_reason"] == ""
        assert record["output"]


def test_one_who_leaves_before_a_whole_answer_is_recorded(model: Model) -> None:
    kept = Kept()
    with running(create_app({"tiny": model}, sink=kept)) as url:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{url}{PATH}", json=NEVER_ENDS, timeout=0.3)
        assert kept.came.wait(60)
        assert (kept.one["status"], kept.one["code"]) == (499, "client_closed_request")


def test_the_key_is_told_by_its_id(model: Model, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    key, secret = ring.new("phone")
    kept = Kept()
    with TestClient(create_app({"tiny": model}, sink=kept, keys=ring)) as client:
        assert client.post(PATH, json=ASKED).status_code == 401
        client.post(PATH, json=ASKED, headers={"Authorization": f"Bearer {secret}"})
    assert [record["owner"] for record in kept.records] == [key.id]


@pytest.mark.parametrize("stream", [False, True])
def test_a_sink_that_breaks_breaks_no_answer(
    client: TestClient, kept: Kept, caplog: Any, stream: bool
) -> None:
    kept.broken = "somebody's words"
    found = client.post(PATH, json={**ASKED, "stream": stream})
    assert found.status_code == 200
    assert "choices" in found.text
    assert "ValueError" in caplog.text
    assert "somebody" not in caplog.text


@pytest.mark.parametrize("mode", ["counts", "sampled", "full"])
def test_what_is_recorded_is_told_with_the_models(model: Model, mode: Mode) -> None:
    with TestClient(create_app({"tiny": model}, sink=Kept(mode))) as client:
        assert client.get("/v1/models").json()["data"][0]["events"] == mode
        assert client.get("/v1/models/tiny").json()["events"] == mode


def test_where_nothing_is_recorded_that_is_told(model: Model) -> None:
    with TestClient(create_app({"tiny": model})) as client:
        assert client.get("/v1/models/tiny").json()["events"] == "off"


def test_the_metrics_count_events_by_what_became_of_them(model: Model) -> None:
    kept = Kept()
    with TestClient(create_app({"tiny": model}, sink=kept, observer=Metrics())) as client:
        for count in (1, 2):
            client.post(PATH, json=ASKED)
            lines = client.get("/metrics").text.splitlines()
            assert f'bowerbird_events_total{{outcome="written"}} {float(count)}' in lines
            assert 'bowerbird_events_total{outcome="dropped"} 2.0' in lines
            assert 'bowerbird_events_total{outcome="failed"} 0.0' in lines


def test_pictures_are_recorded_by_class_and_seed(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder, kept = tmp_path_factory.mktemp("drawer"), Kept()
    drawer = bb.load(new_model(write_dataset(folder / "dataset"), folder / "run"))
    with TestClient(create_app({"shapes": drawer}, sink=kept)) as client:
        asked = {"model": "shapes", "prompt": "square", "n": 2, "seed": 11, "truncation": 0.5, "user": "ann"}
        found = client.post("/v1/images/generations", json=asked)
    record = kept.one
    assert (record["kind"], record["path"]) == ("image", "/v1/images/generations")
    assert record["id"] == found.headers["x-request-id"]
    assert record["settings"] == {"label": "square", "n": 2, "seed": 11, "truncation": 0.5}
    assert (record["prompt"], record["output"], record["digest"]) == ("square", None, drawer.digest)


def test_of_a_chat_the_new_words_of_its_user_are_recorded() -> None:
    def of(*turns: tuple[str, str]) -> str:
        return said(Prompt(np.zeros(1, np.int64), "", chat=True, turns=turns))

    system, hello, hi = ("system", "be kind"), ("user", "hello"), ("assistant", "hi")
    assert of(system, hello) == "hello"
    assert of(system, hello, hi, ("user", "and"), ("user", "now?")) == "and\n\nnow?"
    assert of(hello, hi) == ""
    assert said(Prompt(np.zeros(1, np.int64), "the sea")) == "the sea"


def test_long_texts_are_cut_between_words() -> None:
    words = "word " * MOST_CHARACTERS
    cut = recording._text([words, words])
    assert len(cut) <= MOST_CHARACTERS
    assert cut.endswith("word")
    assert recording._text(["a", "b"]) == "a\n\nb"


def test_records_and_events_have_the_same_fields() -> None:
    assert set(AnsweredRequest.__annotations__) == {field.name for field in fields_of(Event)} - {"number"}
    assert (sink.JOINT, recording.LEFT) == (events.JOINT, events.LEFT)


def test_a_recorder_is_a_sink_and_keeps_what_the_server_tells(model: Model, tmp_path: Path) -> None:
    settings = EventSettings()
    with EventStore(tmp_path / "events.sqlite") as store:
        keeper: EventSink = Recorder(store, "full", settings.share, mask=settings.mask)
        with TestClient(create_app({"tiny": model}, sink=keeper)) as client:
            answer = client.post(PATH, json={**ASKED, "prompt": "write to ann@example.org"}).json()
        assert isinstance(keeper, Recorder)
        assert keeper.close(30) == 0
        [event] = store.read()
        assert (event.id, event.prompt, event.output) == (
            answer["id"],
            "write to <email>",
            answer["choices"][0]["text"],
        )
        assert not event.failed


def test_requests_are_answered_while_the_store_is_locked_and_gone(model: Model, tmp_path: Path) -> None:
    path = tmp_path / "events.sqlite"
    with EventStore(path, timeout_seconds=0.05) as store:
        keeper = Recorder(store, tallies=tmp_path / "recorders")
        app = create_app({"tiny": model}, sink=keeper, observer=Metrics())
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        with TestClient(app) as client:
            for _ in range(3):
                assert client.post(PATH, json=ASKED).status_code == 200
            assert not keeper.flush(1.0)
            other.execute("COMMIT")
            other.close()
            assert keeper.flush(60)
            for file in tmp_path.glob("events.sqlite*"):
                file.unlink()
            assert client.post(PATH, json=ASKED).status_code == 200
            assert keeper.flush(60)
            assert 'bowerbird_events_total{outcome="written"} 4.0' in client.get("/metrics").text
        assert store.counts(()) == {(): 1}
        assert keeper.close(30) == 0
