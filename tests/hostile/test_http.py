"""What no client should send: each is answered in the error shape, none harms the requests after it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.untrained_bundles import text_model

from bowerbird import lifecycle
from bowerbird.serving.app import create_app
from bowerbird.serving.engine import jobs_of

COMPLETIONS = "/v1/completions"
CHATS = "/v1/chat/completions"
FEEDBACK = "/v1/feedback"
GOOD: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"model": "tiny", "max_tokens": 2},
    CHATS: {"model": "talk", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2},
    FEEDBACK: {"model": "tiny", "text": "x", "rating": 1},
}
SECRET = "the asker's own words"  # named, because tracebacks show the lines of the code


@pytest.fixture(scope="module")
def app(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("served")
    talk = lifecycle.load(text_model(folder / "talk", structure="chat"))
    models = {"tiny": lifecycle.load(tiny_run), "talk": talk}
    app = create_app(models, local=True, feedback=folder / "feedback")
    yield app
    app.state.engine.close(0)


def ask(app: Any, method: str = "POST", path: str = COMPLETIONS, **options: Any) -> httpx.Response:
    """One request to the app, without a network between."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


def refused(answer: httpx.Response, status: int, param: str | None = None, code: str | None = None) -> str:
    """The message of an answer that must be this error."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"error"}
    error = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["param"] == param
    assert code is None or error["code"] == code
    assert error["code"] is None or isinstance(error["code"], str)
    assert "Traceback" not in answer.text
    return str(error["message"])


@pytest.fixture(autouse=True)
def still_answers(app: Any) -> Iterator[None]:
    """After each test the app answers as before."""
    yield
    for path, body in GOOD.items():
        assert ask(app, path=path, json=body).status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"model": "tiny",}',
        b"[]",
        b'"tiny"',
        b"null",
        b'{"model": "tiny", "temperature": NaN}',
        b'{"model": "tiny", "temperature": Infinity}',
        b'{"model": "tiny", "temperature": -Infinity}',
        b'{"model": "tiny", "prompt": "\xff\xfe"}',
        b'{"model": "tiny", "prompt": "\xed\xa0\x80"}',
        b'{"model": "tiny", "max_tokens": ' + b"9" * 5000 + b"}",
        b'{"model": "tiny", "prompt": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"a": ' * 10_000 + b"1" + b"}" * 10_000,
        '{"model": "tiny"}'.encode("utf-16"),
    ],
    ids=range(15),
)
def test_a_body_that_is_not_a_json_object_is_refused(app: Any, body: bytes) -> None:
    refused(ask(app, content=body), 400, code="invalid_json")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", -1),
        ("max_tokens", 100_001),
        ("max_tokens", 10**30),
        ("max_tokens", "16"),
        ("max_tokens", 1.5),
        ("max_tokens", True),
        ("temperature", -0.1),
        ("temperature", 2.1),
        ("temperature", 10**400),
        ("temperature", "hot"),
        ("top_p", 1.1),
        ("top_p", -1),
        ("top_k", 0),
        ("min_p", 2),
        ("top_k", 1_000_001),
        ("top_k", 10**30),
        ("min_p", -0.1),
        ("repetition_penalty", 0),
        ("repetition_penalty", -1),
        ("repetition_penalty", 11),
        ("frequency_penalty", 2.1),
        ("frequency_penalty", -2.1),
        ("frequency_penalty", 10**400),
        ("frequency_penalty", "0"),
        ("frequency_penalty", True),
        ("presence_penalty", 2.1),
        ("presence_penalty", -(10**30)),
        ("presence_penalty", [1]),
        ("presence_penalty", {}),
        ("best_of", 0),
        ("best_of", -1),
        ("best_of", 129),
        ("best_of", 10**30),
        ("best_of", "2"),
        ("best_of", 1.5),
        ("best_of", True),
        ("logprobs", -1),
        ("logprobs", 6),
        ("logprobs", 10**30),
        ("logprobs", "5"),
        ("logprobs", 2.5),
        ("logprobs", True),
        ("logit_bias", []),
        ("logit_bias", "5"),
        ("logit_bias", 5),
        ("logit_bias", {"": 1}),
        ("logit_bias", {"e": 1}),
        ("logit_bias", {"-1": 1}),
        ("logit_bias", {"05": 1}),
        ("logit_bias", {"5.0": 1}),
        ("logit_bias", {" 5": 1}),
        ("logit_bias", {"\u0665": 1}),
        ("logit_bias", {"999999": 1}),
        ("logit_bias", {"9" * 5000: 1}),
        ("logit_bias", {"5": 100.5}),
        ("logit_bias", {"5": -101}),
        ("logit_bias", {"5": 10**400}),
        ("logit_bias", {"5": "1"}),
        ("logit_bias", {"5": None}),
        ("logit_bias", {"5": True}),
        ("logit_bias", {"5": {"5": 1}}),
        ("logit_bias", {str(number): 0 for number in range(1025)}),
        ("n", 0),
        ("n", 129),
        ("n", [1]),
        ("seed", -1),
        ("seed", 1 << 63),
        ("seed", 0.5),
        ("stop", 5),
        ("stop", ["a", "b", "c", "d", "e"]),
        ("stop", ["a", None]),
        ("stop", "x" * 10_000),
        ("stop", ["x" * 10_000]),
        ("stop", ["x" * 1_001]),
        ("stop", {"a": 1}),
        ("stream", "yes"),
        ("stream", 1),
        ("stream_options", {"include_usage": True}),
        ("stream_options", "include_usage"),
        ("stream_options", {"include_usage": "yes"}),
        ("stream_options", {"include": True}),
        ("session", "tale"),
        ("session", 5),
        ("session", "../../etc/passwd"),
        ("suffix", " the end"),
        ("suffix", 5),
        ("echo", "no"),
        ("user", 7),
        ("prompt", 5),
        ("prompt", {}),
        ("prompt", []),
        ("prompt", [[]]),
        ("prompt", ["a", 1]),
        ("prompt", [1.5]),
        ("prompt", [True]),
        ("prompt", [-1]),
        ("prompt", [10**30]),
        ("prompt", [[1], "a"]),
        ("prompt", ["a"] * 300),
        ("prompt", ["a", None]),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_wrong_value_is_refused_and_its_field_named(app: Any, field: str, value: Any) -> None:
    refused(ask(app, json={"model": "tiny", field: value}), 400, param=field)


@pytest.mark.parametrize("field", ["prompt", "stop", "user"])
def test_half_a_surrogate_pair_is_refused(app: Any, field: str) -> None:
    body = json.dumps({"model": "tiny", field: "sea \ud800 sea"}).encode()
    assert "surrogate" in refused(ask(app, content=body), 400, param=field)


def test_a_surrogate_in_a_name_is_answered_in_utf_8(app: Any) -> None:
    refused(ask(app, content=b'{"model": "\\ud800"}'), 400, param="model")
    refused(ask(app, content=b'{"model": "tiny", "\\ud800": 1}'), 400, param="?")


NUMBERS = {
    COMPLETIONS: (
        "max_tokens temperature top_p n seed best_of logprobs frequency_penalty presence_penalty "
        "top_k min_p repetition_penalty"
    ),
    CHATS: "max_completion_tokens max_tokens top_logprobs temperature top_p n seed frequency_penalty",
    FEEDBACK: "rating choice",
}


@pytest.mark.parametrize(
    ("path", "field"), [(path, name) for path, names in NUMBERS.items() for name in names.split()]
)
def test_a_number_that_is_none_is_refused(app: Any, path: str, field: str) -> None:
    for written in ("1e999", "-1e999", "-1e400", "9" * 4000, "-" + "9" * 4000):
        content = json.dumps({**GOOD[path], field: 12345}).replace("12345", written).encode()
        refused(ask(app, path=path, content=content), 400, param=field)
    for written in ("NaN", "Infinity", "-Infinity", "0x10", "1_000", "+1", "01", ".5"):
        content = json.dumps({**GOOD[path], field: 12345}).replace("12345", written).encode()
        refused(ask(app, path=path, content=content), 400, code="invalid_json")


def test_a_bias_that_is_no_number_is_refused(app: Any) -> None:
    for written in ("1e999", "-1e999"):
        content = b'{"model": "tiny", "logit_bias": {"5": %s}}' % written.encode()
        refused(ask(app, content=content), 400, param="logit_bias")


def test_a_whole_number_may_be_written_with_a_point(app: Any) -> None:
    plain = {"model": "tiny", "prompt": [30, 31], "n": 2, "seed": 7, "max_tokens": 9, "logprobs": 2}
    points = b'{"model":"tiny","prompt":[30.0,3.1e1],"n":2.0,"seed":7.0,"max_tokens":9.0,"logprobs":2e0}'
    assert ask(app, content=points).json()["choices"] == ask(app, json=plain).json()["choices"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("messages", None),
        ("messages", "hi"),
        ("messages", []),
        ("messages", [[]]),
        ("messages", [{"role": "user", "content": "hi"}] * 3 + [None]),
        ("messages", [{"role": "user\x00", "content": "hi"}]),
        ("messages", [{"role": ["user"], "content": "hi"}]),
        ("messages", [{"role": "user", "content": {"type": "text", "text": "hi"}}]),
        ("messages", [{"role": "user", "content": [{"type": "text", "text": "hi"}] * 9 + [5]}]),
        ("messages", [{"role": "user", "content": [[[[]]]]}]),
        ("messages", [1] * 200_000),
        ("messages", [{"role": "user", "content": [1] * 200_000}]),
        ("messages", [{"role": "user", "content": "hi", "x" * 500_000: 1}]),
        ("max_completion_tokens", -1),
        ("max_completion_tokens", 10**30),
        ("max_completion_tokens", "5"),
        ("max_tokens", 100_001),
        ("logprobs", 1),
        ("logprobs", "yes"),
        ("top_logprobs", 21),
        ("top_logprobs", -1),
        ("top_logprobs", 5),
        ("logit_bias", {"5": 101}),
        ("frequency_penalty", 3),
        ("stop", "x" * 10_000),
        ("n", 129),
        ("tools", [{}] * 100_000),
        ("tools", {}),
        ("functions", []),
        ("metadata", {"x" * 500_000: 1}),
        ("metadata", {str(number): 1 for number in range(50_000)}),
        ("metadata", []),
        ("modalities", ["audio"]),
        ("modalities", [1] * 200_000),
        ("response_format", {"type": "json_schema", "json_schema": {}}),
        ("response_format", {"x" * 500_000: 1}),
        ("stream_options", {"x" * 500_000: True}),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_wrong_value_in_a_chat_is_refused(app: Any, field: str, value: Any) -> None:
    answer = ask(app, path=CHATS, json={**GOOD[CHATS], field: value})
    assert len(refused(answer, 400, param=field)) < 3_000


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rating", 2),
        ("rating", "great"),
        ("rating", [1]),
        ("rating", 10**400),
        ("choice", -1),
        ("choice", 1.5),
        ("choice", True),
        ("id", {}),
        ("id", "x" * 10_000),
        ("text", None),
        ("text", 5),
        ("text", "x" * 100_001),
        ("prompt", ["x"]),
        ("comment", {"x": 1}),
        ("correction", "x" * 100_001),
        ("x" * 100, 1),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_a_wrong_value_in_a_verdict_is_refused(app: Any, field: str, value: Any) -> None:
    answer = ask(app, path=FEEDBACK, json={**GOOD[FEEDBACK], field: value})
    assert len(refused(answer, 400, param=field)) < 3_000


@pytest.mark.parametrize("path", GOOD)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"5", b'{"model": "tiny", "x": ' + b"[" * 50_000, b"\xff" * 100]
)
def test_no_path_takes_what_is_no_json_object(app: Any, path: str, content: bytes) -> None:
    refused(ask(app, path=path, content=content), 400, code="invalid_json")


@pytest.mark.parametrize("place", ["role", "content", "part", "name"])
def test_half_a_surrogate_pair_in_a_message(app: Any, place: str) -> None:
    half = "a\ud800"
    message: dict[str, Any] = {"role": "user", "content": "hi"}
    message |= {"part": {"content": [{"type": "text", "text": half}]}}.get(place, {place: half})
    content = json.dumps({**GOOD[CHATS], "messages": [message]}).encode()
    answer = ask(app, path=CHATS, content=content)
    if place == "name":
        assert answer.status_code == 200  # it is not looked at
    else:
        refused(answer, 400, param="messages")


def test_long_words_and_many_turns_are_read(app: Any) -> None:
    for messages in (
        [{"role": "user", "content": "a" * 32_000}],
        [{"role": "assistant", "content": "\ufdd3\x00\u202e"}] * 3_000,
        [{"role": "user", "content": [{"type": "text", "text": "\U0001f30a"}] * 2_000}],
        [{"role": "user", "content": ""}] * 20_000,
    ):
        assert ask(app, path=CHATS, json={**GOOD[CHATS], "messages": messages}).status_code == 200


def test_as_many_choices_as_there_may_be(app: Any) -> None:
    for body in (
        {"n": 128},
        {"best_of": 128, "n": 1},
        {"prompt": ["a"] * 256, "n": 4},
        {"prompt": ["a"] * 2, "n": 128, "logprobs": 5, "echo": True},
    ):
        assert ask(app, json={**GOOD[COMPLETIONS], **body}).status_code == 200
    for body, param in (
        ({"prompt": ["a"] * 256, "n": 5}, "n"),
        ({"prompt": ["a"] * 9, "best_of": 128}, "best_of"),
    ):
        refused(ask(app, json={**GOOD[COMPLETIONS], **body}), 400, param, "invalid_value")


def test_null_is_as_absent(app: Any) -> None:
    fields = (
        "prompt max_tokens temperature top_p n stop stream stream_options echo user top_k min_p best_of "
        "logprobs logit_bias frequency_penalty presence_penalty repetition_penalty suffix session"
    )
    answer = ask(app, json={"model": "tiny", "seed": 1} | dict.fromkeys(fields.split()))
    assert answer.json()["choices"] == ask(app, json={"model": "tiny", "seed": 1}).json()["choices"]


def test_an_unknown_field_is_refused_and_the_right_one_suggested(app: Any) -> None:
    message = refused(ask(app, json={"model": "tiny", "max_token": 5}), 400, "max_token", "unknown_parameter")
    assert "`max_tokens`" in message
    refused(ask(app, json={"model": "tiny", "x" * 500_000: 5}), 400, "x" * 100, "unknown_parameter")


def test_the_model_must_be_named_and_be_here(app: Any) -> None:
    refused(ask(app, json={"prompt": "a"}), 400, "model", "missing_parameter")
    refused(ask(app, json={"model": 5}), 400, "model")
    assert "`tiny`" in refused(ask(app, json={"model": "tinny"}), 404, "model", "model_not_found")
    assert len(refused(ask(app, json={"model": "m" * 500_000}), 404, "model", "model_not_found")) < 500
    refused(ask(app, "GET", "/v1/models/../../etc/passwd"), 404, code="not_found")
    refused(ask(app, "GET", "/v1/models/%2e%2e%2fetc"), 404, "model", "model_not_found")


def test_a_body_over_the_limit_is_refused(app: Any) -> None:
    body = json.dumps({"model": "tiny", "prompt": "a" * (2 << 20)}).encode()
    refused(ask(app, content=body), 413, code="body_too_large")

    async def pieces() -> Any:
        for _ in range(40):
            yield b"a" * (1 << 16)

    refused(ask(app, content=pieces()), 413, code="body_too_large")


def test_a_prompt_over_the_limit_is_refused(app: Any) -> None:
    long = {"model": "tiny", "prompt": "a" * 40_000}
    assert "32,768" in refused(ask(app, json=long), 400, "prompt", "context_length_exceeded")


def test_characters_the_model_has_never_seen_are_read(app: Any) -> None:
    prompt = "\u6d77\U0001f30a\u0644\u0000\r\n\ufdd0\ufdd1\ufffe"
    answer = ask(app, json={"model": "tiny", "prompt": prompt, "echo": True, "max_tokens": 3})
    assert answer.status_code == 200
    assert answer.json()["choices"][0]["text"].startswith("\u6d77\U0001f30a")


def test_paths_and_methods_that_are_not_there_are_refused(app: Any) -> None:
    refused(ask(app, "GET", "/v1/nothing"), 404, code="not_found")
    refused(ask(app, "GET", "/docs"), 404, code="not_found")
    answer = ask(app, "GET", COMPLETIONS)
    refused(answer, 405, code="method_not_allowed")
    assert answer.headers["allow"] == "POST"
    refused(ask(app, "DELETE", "/v1/models/tiny"), 405, code="method_not_allowed")


def test_a_client_that_leaves_within_its_body_is_no_fault(app: Any, caplog: pytest.LogCaptureFixture) -> None:
    arriving = [
        {"type": "http.request", "body": b'{"model":', "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = {"type": "http", "method": "POST", "path": COMPLETIONS, "raw_path": COMPLETIONS.encode()} | {
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "http_version": "1.1",
        "scheme": "http",
    }

    async def receive() -> Any:
        return arriving.pop(0)

    async def send(message: Any) -> None:
        pass

    asyncio.run(app(scope, receive, send))
    assert not caplog.records


def test_a_full_queue_says_when_to_come_back(tiny_run: Path) -> None:
    model = lifecycle.load(tiny_run)
    app = create_app({"tiny": model}, slots=2, queue=1)
    endless = model.request(n=3, length=100_000, logit_bias={0: -100})
    try:
        app.state.engine.submit_jobs("tiny", jobs_of(model, endless))
        answer = ask(app, json={"model": "tiny"})
        refused(answer, 429, code="queue_full")
        assert int(answer.headers["retry-after"]) >= 1
        refused(ask(app, json={"model": "tiny", "n": 4}), 400, "n", "invalid_value")
    finally:
        app.state.engine.close(0)


def test_pages_of_other_sites_and_foreign_host_names_are_refused(app: Any) -> None:
    body = {"model": "tiny"}
    refused(ask(app, json=body, headers={"Sec-Fetch-Site": "cross-site"}), 403, code="forbidden")
    refused(ask(app, "GET", "/v1/models", headers={"Host": "rebound.example:8000"}), 403, code="forbidden")
    for host in ("localhost:8000", "[::1]:8000", "127.0.0.1"):
        assert ask(app, "GET", "/v1/models", headers={"Host": host}).status_code == 200


def test_a_fault_of_ours_is_500_without_its_words(
    app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: Any, **options: Any) -> Any:
        raise RuntimeError(SECRET)

    with monkeypatch.context() as patch:
        patch.setattr(app.state.engine, "submit_jobs", fail)
        answer = ask(app, json={"model": "tiny"})
    message = refused(answer, 500, code="internal_error")
    assert SECRET not in message + caplog.text
    assert "RuntimeError" in caplog.text
