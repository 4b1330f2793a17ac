"""A challenger beside a live model: who gets which, sessions stay, shadows cost nobody, trials begin and end live."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.paced import texts, until
from tests.untrained_bundles import melody_model, text_model

from bowerbird import lifecycle
from bowerbird.base.errors import DataError
from bowerbird.kinds.loaded import Model
from bowerbird.serving import shadow as shadowing
from bowerbird.serving.app import create_app
from bowerbird.serving.challenger import ChallengerWatch
from bowerbird.serving.engine import Engine
from bowerbird.serving.sessions import SessionStore
from bowerbird.serving.sink import AnsweredRequest, Mode
from bowerbird.store.rollout import Rollout, end_rollout, write_rollout
from bowerbird.workspace import Workspace

LIVE = "poems@live"


class Kept:
    """A sink that keeps all in memory."""

    mode: Mode = "full"

    def __init__(self) -> None:
        self.records: list[AnsweredRequest] = []

    def wants_text(self, answer_id: str) -> bool:
        return True

    def record(self, answered: AnsweredRequest) -> None:
        self.records.append(answered)

    def counts(self) -> Mapping[str, int]:
        return {}

    def of(self, arm: str) -> list[AnsweredRequest]:
        return [record for record in self.records if record["arm"] == arm]


class Server:
    """An app with a live model and, once there is a trial, its challenger; asked without a network."""

    def __init__(self, kind: str, folder: Path, ends: ExitStack):
        make = {"text": text_model, "melody": melody_model}[kind]
        bundles = [make(folder / "one"), make(folder / "two", width=20)]
        self.old = lifecycle.publish(bundles[0], "poems", alias="live")
        self.new = lifecycle.publish(bundles[1], "poems", alias="challenger")
        self.space = Workspace()
        self.sink = Kept()
        sessions = SessionStore(None)
        self.app = create_app(
            {LIVE: lifecycle.load(LIVE)}, sink=self.sink, sessions=sessions, feedback=folder / "feedback"
        )
        self.engine: Engine = self.app.state.engine
        ends.callback(self.engine.close, 0.0)
        self.served = self.app.state.served
        self.watch = ChallengerWatch(self.engine, self.served.challengers, {LIVE: LIVE}, lifecycle.load)

    def begin(self, mode: str, share: float = 1.0) -> None:
        rollout = Rollout.model_validate(
            {
                "name": "poems",
                "version": self.new.version,
                "digest": self.new.digest,
                "live_version": self.old.version,
                "live_digest": self.old.digest,
                "mode": mode,
                "share": share,
            }
        )
        write_rollout(self.space.root, rollout)
        assert self.watch.look() == [LIVE]

    def post(self, path: str, **body: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.post(path, json={"model": LIVE, **body})

        return asyncio.run(ask())

    def get(self, path: str) -> Any:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.get(path)

        return asyncio.run(ask()).json()

    def answered_by(self, **body: Any) -> str:
        """The digest of the model that answered, by its fingerprint."""
        answer = self.post("/v1/completions", prompt="the lark", max_tokens=4, **body).json()
        return str(answer["system_fingerprint"])[3:]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with ExitStack() as ends:
        yield Server("text", tmp_path, ends)


def short(digest: str) -> str:
    return digest.rpartition(":")[2][:12]


def test_a_trial_begins_changes_and_ends_while_the_server_runs(server: Server) -> None:
    assert server.watch.look() == []
    assert server.answered_by() == short(server.old.digest)
    assert server.get(f"/v1/models/{LIVE}")["challenger"] is None
    server.begin("share")
    assert server.watch.look() == []
    assert server.answered_by() == short(server.new.digest)
    told = server.get(f"/v1/models/{LIVE}")["challenger"]
    assert (told["version"], told["mode"], told["digest"]) == (2, "share", server.new.digest)
    assert [model["id"] for model in server.get("/v1/models")["data"]] == [LIVE]
    server.begin("shadow")
    assert server.answered_by() == short(server.old.digest)
    end_rollout(server.space.root, "poems")
    assert server.watch.look() == [LIVE]
    assert server.answered_by() == short(server.old.digest)
    assert [record["arm"] for record in server.sink.records if record["arm"] != "shadow"] == [
        "",
        "challenger",
        "live",
        "",
    ]


def test_a_share_is_by_caller_and_each_answer_is_its_model_s_own(server: Server) -> None:
    server.begin("share", 0.5)
    trial = server.served.challengers.trials[LIVE]
    live = server.engine.model(LIVE)
    owners = [f"key-{number}" for number in range(200)]
    arms = [trial.of_caller(owner, live)[1] for owner in owners]
    assert arms == [trial.of_caller(owner, live)[1] for owner in owners]
    assert 60 < arms.count("challenger") < 140
    found = [server.answered_by(seed=3) for _ in range(40)]
    assert set(found) == {short(server.old.digest), short(server.new.digest)}
    own = {
        short(model.digest): model.generate(prompt="the lark", length=30, seed=5)[0].text
        for model in (live, trial.model)
    }
    for _ in range(10):
        answer = server.post(
            "/v1/completions", prompt="the lark", max_tokens=30, seed=5, temperature=0.8
        ).json()
        assert answer["choices"][0]["text"] == own[answer["system_fingerprint"][3:]]


def test_a_session_stays_with_whom_it_began(server: Server) -> None:
    before = server.answered_by(session="early")
    assert before == short(server.old.digest)
    server.begin("share", 1.0)
    assert server.answered_by(session="early") == before
    assert server.answered_by(session="late") == short(server.new.digest)
    assert server.answered_by(session="late") == short(server.new.digest)
    # Promoted, the session of the challenger goes on with what is live then.
    server.engine.replace(LIVE, lifecycle.load("poems@2"))
    end_rollout(server.space.root, "poems")
    assert server.watch.look() == [LIVE]
    assert server.answered_by(session="late") == short(server.new.digest)
    assert server.post("/v1/completions", prompt="a", max_tokens=2, session="early").status_code == 409


def test_verdicts_tell_of_the_model_that_answered(server: Server) -> None:
    server.begin("share")
    answer = server.post("/v1/completions", prompt="the lark", max_tokens=4).json()
    server.post("/v1/feedback", id=answer["id"], rating="up", model=None)
    assert server.new.digest in (server.served.feedback.folder / "poems@live.jsonl").read_text()


def test_a_shadow_answers_nobody_and_its_answer_goes_to_the_events(server: Server) -> None:
    server.begin("shadow")
    answer = server.post("/v1/completions", prompt="the lark", max_tokens=20, seed=5, temperature=0.8).json()
    until(lambda: bool(server.sink.of("shadow")))
    [shadow] = server.sink.of("shadow")
    [live] = server.sink.of("live")
    challenger = server.served.challengers.trials[LIVE].model
    assert answer["choices"][0]["text"] == live["output"]
    assert shadow["id"] == live["id"] == answer["id"]
    assert (shadow["digest"], live["digest"]) == (server.new.digest, server.old.digest)
    assert shadow["output"] == challenger.generate(prompt="the lark", length=20, seed=5)[0].text
    assert shadow["prompt"] == live["prompt"] == "the lark"
    assert shadow["completion_tokens"] == 20
    assert server.get(f"/v1/models/{LIVE}")["challenger"]["shadows"] == 1


def test_streams_are_shadowed_and_sessions_are_not(server: Server) -> None:
    server.begin("shadow")
    assert server.post("/v1/completions", prompt="a", max_tokens=8, stream=True).text.endswith(
        "data: [DONE]\n\n"
    )
    until(lambda: len(server.sink.of("shadow")) == 1)
    assert server.sink.of("shadow")[0]["output"]
    server.answered_by(session="one")
    time.sleep(0.1)
    assert len(server.sink.of("shadow")) == 1


def test_tunes_are_shared_and_shadowed_too(tmp_path: Path) -> None:
    with ExitStack() as ends:
        server = Server("melody", tmp_path, ends)
        server.begin("share")
        assert server.post("/v1/melodies/generations", bars=1, max_tokens=40, seed=1).status_code == 200
        assert server.sink.of("challenger")[0]["digest"] == server.new.digest
        server.begin("shadow")
        assert server.post("/v1/melodies/generations", bars=1, max_tokens=40, seed=1).status_code == 200
        until(lambda: bool(server.sink.of("shadow")))
        assert server.sink.of("shadow")[0]["kind"] == "melody"


def test_a_busy_engine_makes_no_shadows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shadowing, "PATIENCE_SECONDS", 0.05)
    monkeypatch.setattr(type(server.engine), "busy", property(lambda engine: True))
    server.begin("shadow")
    server.answered_by()
    until(lambda: server.served.shadow.dropped == 1)
    assert server.sink.of("shadow") == []


def test_a_challenger_that_fails_costs_the_live_model_nothing(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.begin("shadow")
    challenger = server.served.challengers.trials[LIVE].model
    monkeypatch.setattr(challenger, "normaliser", _broken)
    assert server.answered_by() == short(server.old.digest)
    until(lambda: bool(server.sink.of("shadow")))
    [record] = server.sink.of("shadow")
    assert record["status"] == 500
    assert record["code"]


def _broken(text: str) -> str:
    raise RuntimeError("it reads nothing")


def test_a_lane_in_the_background_waits_for_all_others(server: Server) -> None:
    live, challenger = server.engine.model(LIVE), lifecycle.load("poems@2")
    server.engine.open_beside(LIVE, challenger, background=True)
    long = server.engine.submit_jobs(LIVE, _jobs(challenger, 2_000), model=challenger)
    assert not server.engine.busy
    quick = [server.engine.submit(LIVE, live.request(prompt="a", length=50, seed=seed)) for seed in range(4)]
    assert server.engine.busy
    for ticket in quick:
        assert texts(ticket)
    assert texts(long) == [challenger.generate(prompt="a", length=2_000, seed=0)[0].text]
    server.engine.close_beside(LIVE, challenger)
    assert texts(server.engine.submit_jobs(LIVE, _jobs(challenger, 5), model=challenger))


def _jobs(model: Model, length: int) -> Any:
    from bowerbird.serving.engine import jobs_of

    return jobs_of(model, model.request(prompt="a", length=length, seed=0))


def test_a_challenger_that_cannot_be_loaded_is_told_once(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[str] = []

    def load(reference: str) -> Model:
        tried.append(reference)
        raise DataError("it is not signed")

    watch = ChallengerWatch(
        server.engine, server.served.challengers, {LIVE: LIVE, "poems@1": "poems@1"}, load
    )
    server.begin("share")
    server.served.challengers.take_away(LIVE)
    assert watch.look() == watch.look() == []
    assert tried == ["poems@2"]
    assert caplog.text.count("it is not signed") == 1
    assert server.answered_by() == short(server.old.digest)


def test_what_is_served_by_number_is_never_tried_against(server: Server) -> None:
    server.engine.add("poems@1", server.engine.model(LIVE))
    watch = ChallengerWatch(server.engine, server.served.challengers, {"poems@1": "poems@1"}, lifecycle.load)
    server.begin("share")
    assert watch.look() == []
    assert "poems@1" not in server.served.challengers.trials


def test_a_watch_looks_by_itself(server: Server) -> None:
    with ChallengerWatch(server.engine, server.served.challengers, {LIVE: LIVE}, lifecycle.load, 0.01):
        server.begin("share")
        until(lambda: LIVE in server.served.challengers.trials)
        end_rollout(server.space.root, "poems")
        until(lambda: LIVE not in server.served.challengers.trials)
