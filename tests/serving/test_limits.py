"""What one request may take: each limit holds on every path that makes something, and says its number."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import httpx
import pytest
from tests.serving.paced import PacedModel, Recorder, asking, until
from tests.untrained_bundles import image_model, melody_model, text_model

from bowerbird import lifecycle
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.limits import Limits

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
IMAGES, MELODIES = "/v1/images/generations", "/v1/melodies/generations"
MAKING: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"model": "text", "max_tokens": 5},
    CHAT: {"model": "chat", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5},
    IMAGES: {"model": "image"},
    MELODIES: {"model": "melody", "bars": 1},
}
"""Every path that makes something, and how to ask there for little."""
NOTES = " ".join(["C4", "D4", "E4", "F4"] * 10)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    folder = tmp_path_factory.mktemp("models")
    made = {
        "text": text_model(folder / "text"),
        "chat": text_model(folder / "chat", structure="chat"),
        "image": image_model(folder / "image"),
        "melody": melody_model(folder / "melody"),
    }
    return {name: lifecycle.load(path) for name, path in made.items()}


def send(app: Any, path: str, body: dict[str, Any]) -> httpx.Response:
    """One request to the app, without a network between."""

    async def one() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await (client.post(path, json=body) if body else client.get(path))

    return asyncio.run(one())


@pytest.fixture
def ask(models: dict[str, Model], request: pytest.FixtureRequest) -> Any:
    """Asks a server with such limits: `ask(Limits(...), path, max_tokens=3)`."""

    def asked(limits: Limits, path: str, **fields: Any) -> httpx.Response:
        app = create_app(models, limits=limits)
        request.addfinalizer(lambda: app.state.engine.close(0))
        return send(app, path, {**MAKING[path], **fields})

    return asked


def refused(answer: httpx.Response, status: int, code: str, param: str | None = None) -> str:
    """The message of an answer that must be this error."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["code"], error["param"]) == (code, param)
    return str(error["message"])


@pytest.mark.parametrize("path", MAKING)
def test_within_the_limits_everything_is_made(ask: Any, path: str) -> None:
    answer = ask(Limits(body_bytes=1024, prompt_tokens=64, output_tokens=64, request_seconds=60), path)
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", MAKING)
def test_a_body_over_the_limit_is_413_and_one_within_is_read(ask: Any, path: str) -> None:
    small, large = Limits(body_bytes=2048), Limits(body_bytes=32 << 20)
    assert "2,048 bytes" in refused(ask(small, path, user="x" * 2048), 413, "body_too_large")
    assert ask(small, path, user="x" * 1024).status_code == 200
    assert ask(large, path, user="x" * (17 << 20)).status_code == 200


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        (COMPLETIONS, {"prompt": "a" * 31}, "prompt"),
        (COMPLETIONS, {"prompt": ["a", "a" * 31]}, "prompt"),
        (COMPLETIONS, {"prompt": [5] * 31}, "prompt"),
        (COMPLETIONS, {"prompt": [[5], [5] * 31]}, "prompt"),
        (COMPLETIONS, {"prompt": "a" * 31, "stream": True}, "prompt"),
        (COMPLETIONS, {"prompt": "a" * 31, "max_tokens": 0}, "prompt"),
        (CHAT, {"messages": [{"role": "user", "content": "a" * 31}]}, "messages"),
        (CHAT, {"messages": [{"role": "user", "content": "a"}] * 31, "stream": True}, "messages"),
        (MELODIES, {"prompt": NOTES, "bars": None}, "prompt"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_prompt_over_the_limit_is_refused(ask: Any, path: str, fields: dict[str, Any], param: str) -> None:
    answer = ask(Limits(prompt_tokens=30), path, **fields)
    assert "30 is the most" in refused(answer, 400, "context_length_exceeded", param)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        (COMPLETIONS, {"prompt": "a" * 30}),
        (COMPLETIONS, {"prompt": [[5] * 30] * 3}),
        (CHAT, {"messages": [{"role": "user", "content": "a" * 20}]}),
        (MELODIES, {"prompt": "C4 D4", "bars": None}),
        (IMAGES, {"prompt": "disc"}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_prompt_within_the_limit_is_read(ask: Any, path: str, fields: dict[str, Any]) -> None:
    answer = ask(Limits(prompt_tokens=30), path, **fields)
    assert answer.status_code == 200, answer.text
    assert path == IMAGES or 0 < answer.json()["usage"]["prompt_tokens"] <= 90


@pytest.mark.parametrize(
    ("path", "param"),
    [
        (COMPLETIONS, "max_tokens"),
        (CHAT, "max_tokens"),
        (CHAT, "max_completion_tokens"),
        (MELODIES, "max_tokens"),
    ],
)
def test_more_tokens_than_the_limit_are_not_made(ask: Any, path: str, param: str) -> None:
    limits = Limits(output_tokens=40)
    assert "40 is the most" in refused(ask(limits, path, **{param: 41}), 400, "invalid_value", param)
    answer = ask(limits, path, **{param: 40})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, MELODIES])
def test_without_a_number_no_more_are_made_than_the_limit(ask: Any, path: str) -> None:
    own = {"bars": None} if path == MELODIES else {"logit_bias": {"0": -100}}
    for limits in (Limits(output_tokens=16), Limits(output_tokens=24)):
        answer = ask(limits, path, seed=1, max_tokens=None, **own)
        assert answer.status_code == 200, answer.text
        assert 0 < answer.json()["usage"]["completion_tokens"] <= limits.output_tokens


def test_where_no_tune_would_fit_it_is_said(ask: Any) -> None:
    message = refused(ask(Limits(output_tokens=15), MELODIES), 400, "invalid_value", "max_tokens")
    assert "15 is the most here" in message


def test_the_limits_are_in_the_form_of_each_body(models: dict[str, Model]) -> None:
    app = create_app(models, limits=Limits(prompt_tokens=30, output_tokens=40))
    try:
        forms = send(app, "/openapi.json", {}).json()["components"]["schemas"]
    finally:
        app.state.engine.close(0)

    def most(form: str, field: str) -> int:
        choices = forms[form]["properties"][field]["anyOf"]
        return int(next(choice["maximum"] for choice in choices if choice.get("type") == "integer"))

    assert most("CompletionBody", "max_tokens") == 40
    assert most("ChatBody", "max_tokens") == most("ChatBody", "max_completion_tokens") == 40
    assert most("MelodyBody", "max_tokens") == 40


def test_what_takes_too_long_is_504_on_every_path(models: dict[str, Model]) -> None:
    pace = threading.Semaphore(0)
    paced, recorder = PacedModel(pace), Recorder()
    given: dict[str, Any] = {**models, "paced": paced}
    app = create_app(given, limits=Limits(request_seconds=0.01), observer=recorder)
    asked = [*MAKING.items(), (COMPLETIONS, {**MAKING[COMPLETIONS], "stream": True})]

    async def all_at_once() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            tasks = [asyncio.create_task(client.post(path, json=body)) for path, body in asked]
            while len(recorder.of("queued")) < 1 + len(tasks):
                await asyncio.sleep(0.01)
            await asyncio.sleep(
                0.2
            )  # longer than the limit, and than from one look of the engine to its next
            pace.release(1)
            return await asyncio.gather(*tasks)

    try:
        app.state.engine.submit("paced", asking("held", 1))
        until(lambda: bool(paced.admitted))  # and from here on it holds the engine's thread
        *whole, stream = asyncio.run(all_at_once())
    finally:
        pace.release(1000)
        app.state.engine.close(0)
    for answer in whole:
        assert "0.01 seconds" in refused(answer, 504, "timeout")
    assert (stream.status_code, stream.text.count('"code":"timeout"')) == (200, 1)
    assert stream.text.endswith("data: [DONE]\n\n")
