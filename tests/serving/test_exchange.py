"""Every request becomes one record: its id, its path, how it ended, and no word of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bowerbird.serving.exchange import Exchange, Exchanges, Recorder

ERROR = b'{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"model_not_found"}}'


def recorded(
    app: Any, *, headers: list[tuple[bytes, bytes]] | None = None, told: list[str] | None = None
) -> tuple[Exchange, list[Any]]:
    """What is recorded of one request to an app, and what its asker is sent; `told` is what it is asked to receive."""
    exchanges, ended, sent = Exchanges(), [], []
    exchanges.listeners.append(ended.append)
    incoming = iter(told or ["http.request", "http.disconnect"])

    async def receive() -> Any:
        return {"type": next(incoming)}

    async def send(message: Any) -> None:
        sent.append(message)

    async def run() -> None:
        scope = {"type": "http", "method": "POST", "path": "/x", "headers": headers or []}
        await Recorder(app, exchanges)(scope, receive, send)

    asyncio.run(run())
    assert exchanges.running == set()
    (exchange,) = ended
    return exchange, sent


def answering(status: int, *bodies: bytes, template: str | None = "/v1/completions", **state: Any) -> Any:
    """An app that answers so, whose parts tell `state` of the request."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if template is not None:
            scope["endpoint"] = app
            scope["app"] = SimpleNamespace(routes=[SimpleNamespace(endpoint=app, path=template)])
        scope["state"].update(state)
        await send({"type": "http.response.start", "status": status, "headers": [(b"a", b"b")]})
        for place, body in enumerate(bodies):
            more = place < len(bodies) - 1
            await send({"type": "http.response.body", "body": body, "more_body": more})

    return app


def test_a_record_has_what_the_parts_of_the_server_tell() -> None:
    app = answering(200, b"{}", model="tiny", tokens=(3, 20), owner="k1")
    exchange, sent = recorded(app)
    assert (exchange.method, exchange.path, exchange.status, exchange.code) == (
        "POST",
        "/v1/completions",
        200,
        "",
    )
    assert (exchange.model, exchange.prompt_tokens, exchange.completion_tokens) == ("tiny", 3, 20)
    assert (exchange.owner, exchange.left) == ("k1", False)
    assert sent[0]["headers"] == [(b"a", b"b"), (b"x-request-id", exchange.request_id.encode())]


def test_an_asker_s_own_id_is_kept_and_told_to_the_app() -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["state"]["request_id"])
        await answering(200, b"")(scope, receive, send)

    exchange, _ = recorded(app, headers=[(b"x-request-id", b"mine-7")])
    assert exchange.request_id == "mine-7"
    assert seen == ["mine-7"]


@pytest.mark.parametrize("given", [b"", b"a b", b"a\nb: c", b"\xff", b"x" * 129, b'"'])
def test_what_is_no_id_gets_a_new_one(given: bytes) -> None:
    first, _ = recorded(answering(200, b""), headers=[(b"x-request-id", given)])
    second, _ = recorded(answering(200, b""), headers=[(b"x-request-id", given)])
    assert first.request_id.startswith("req-")
    assert first.request_id != second.request_id


def test_the_code_of_an_error_is_read_from_its_body() -> None:
    assert recorded(answering(404, ERROR))[0].code == "model_not_found"


def test_the_code_of_a_stream_that_fails_is_read_from_its_event() -> None:
    app = answering(200, b'data: {"text":"a"}\n\n', b"data: " + ERROR + b"\n\n", b"data: [DONE]\n\n", b"")
    exchange, _ = recorded(app)
    assert (exchange.status, exchange.code) == (200, "model_not_found")


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (404, b"not JSON", "not_found"),
        (500, b'{"error":{"code":null}}', "internal_server_error"),
        (502, b'{"error":"words"}', "bad_gateway"),
        (499, b"", "client_closed_request"),
        (599, b"", "status_599"),
    ],
)
def test_an_error_without_a_code_has_that_of_its_status(status: int, body: bytes, code: str) -> None:
    assert recorded(answering(status, body))[0].code == code


@pytest.mark.parametrize(
    ("template", "path"),
    [("/v1/models/{model_id:path}", "/v1/models/{model_id}"), ("/", "/"), (None, "other")],
)
def test_the_path_is_its_template_never_what_was_typed(template: str | None, path: str) -> None:
    assert recorded(answering(200, b"", template=template))[0].path == path


def test_who_hangs_up_before_the_end_is_known_to_have_left() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        await answering(200, b"")(scope, receive, send)

    assert recorded(app)[0].left


def test_hanging_up_after_the_end_is_not_leaving() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering(200, b"")(scope, receive, send)
        await receive()
        await receive()

    assert not recorded(app)[0].left


def test_an_app_that_breaks_is_recorded_as_a_fault() -> None:
    exchanges, ended = Exchanges(), []
    exchanges.listeners.append(ended.append)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert len(exchanges.running) == 1
        raise ValueError("ours")

    scope = {"type": "http", "method": "GET", "path": "/x", "headers": []}
    with pytest.raises(ValueError, match="ours"):
        asyncio.run(Recorder(app, exchanges)(scope, None, None))  # type: ignore[arg-type]
    assert [(exchange.status, exchange.code) for exchange in ended] == [(500, "internal_server_error")]
    assert exchanges.running == set()
