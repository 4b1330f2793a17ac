"""The guard before a small app: who is let in, who is told to come back, what a browser's pages may do."""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from tests.running_server import running

from bowerbird.base.errors import Refused, UsageError
from bowerbird.kinds.loaded import Model
from bowerbird.serving.app import create_app
from bowerbird.serving.guards import Guard, check_host
from bowerbird.serving.keys import KeyRing
from bowerbird.serving.limits import Limits
from bowerbird.serving.origins import Origins

PAGE = "https://poems.example"
Ask = Callable[..., httpx.Response]


async def tell_owner(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers with whose request it is."""
    start = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"x-owner", scope["state"]["owner"].encode())],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"{}"})


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.json")


def ask(app: Any, path: str = "/v1/models", method: str = "GET", **headers: str) -> httpx.Response:
    """One request; headers as `sec_fetch_site="cross-site"`."""

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as client:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.request(method, path, headers=named)

    return asyncio.run(send())


def refused(answer: httpx.Response, status: int, code: str | None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == code
    return error


def test_with_a_key_one_is_let_in_as_its_owner(ring: KeyRing) -> None:
    guard = Guard(tell_owner, keys=ring)
    key, secret = ring.new("phone")
    for header in (f"Bearer {secret}", f"bearer  {secret} "):
        assert ask(guard, authorization=header).headers["x-owner"] == key.id
    other, second = ring.new("laptop")
    assert ask(guard, authorization=f"Bearer {second}").headers["x-owner"] == other.id


def test_without_keys_everybody_is_let_in_as_nobody() -> None:
    answer = ask(Guard(tell_owner), authorization="Bearer anything")
    assert (answer.status_code, answer.headers["x-owner"]) == (200, "")


@pytest.mark.parametrize("path", ["/v1/models", "/metrics", "/", "/nothing"])
@pytest.mark.parametrize(
    "header", [None, "", "Bearer", "Bearer ", "Digest x", "Basic ???", "Basic eDp5", "bb_x"]
)
def test_without_the_right_key_nobody_is(ring: KeyRing, path: str, header: str | None) -> None:
    ring.new("phone")
    answer = ask(Guard(tell_owner, keys=ring), path, **({} if header is None else {"authorization": header}))
    error = refused(answer, 401, "invalid_api_key" if header == "Basic eDp5" else None)
    assert error["type"] == "invalid_request_error"
    assert error["param"] is None
    assert answer.headers["www-authenticate"].startswith("Basic" if path == "/" else "Bearer")
    assert "x-owner" not in answer.headers


def raw_status(guard: Guard, path: str, headers: list[tuple[bytes, bytes]]) -> int:
    """The status of an answer to a request as no client would send it."""
    told: list[int] = []

    async def send(message: Any) -> None:
        told.extend([message["status"]] if "status" in message else [])

    scope = {"type": "http", "method": "GET", "path": path, "headers": headers}
    asyncio.run(guard(scope, lambda: None, send))
    return told[0]


def test_two_keys_at_once_are_none(ring: KeyRing) -> None:
    _, secret = ring.new("phone")
    header = (b"authorization", f"Bearer {secret}".encode())
    guard = Guard(tell_owner, keys=ring)
    assert raw_status(guard, "/v1/models", [header]) == 200
    assert raw_status(guard, "/v1/models", [header, header]) == 401


@pytest.mark.parametrize(
    "path", ["/health/", "//health", "/v1/../health", "/HEALTH", "/health?", "health", ""]
)
def test_what_only_looks_like_an_open_path_needs_a_key(ring: KeyRing, path: str) -> None:
    assert raw_status(Guard(tell_owner, keys=ring), path, []) == 401


def test_health_and_readiness_need_no_key(ring: KeyRing) -> None:
    guard = Guard(tell_owner, keys=ring, limits=Limits(requests_per_minute=1))
    for path in ("/health", "/ready") * 3:
        answer = ask(guard, path)
        assert (answer.status_code, answer.headers["x-owner"]) == (200, "")


def test_a_browser_s_user_may_give_the_key_as_a_password(ring: KeyRing) -> None:
    key, secret = ring.new("phone")
    for user in ("", "me"):
        header = "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()
        assert ask(Guard(tell_owner, keys=ring), "/", authorization=header).headers["x-owner"] == key.id


def test_revoking_takes_effect_at_the_next_request(ring: KeyRing) -> None:
    guard = Guard(tell_owner, keys=ring)
    key, secret = ring.new("phone")
    assert ask(guard, authorization=f"Bearer {secret}").status_code == 200
    KeyRing(ring.path).revoke(key.id)
    refused(ask(guard, authorization=f"Bearer {secret}"), 401, "revoked_api_key")


def test_keys_that_cannot_be_read_let_nobody_in_and_are_logged_once(
    ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(tell_owner, keys=ring)
    _, secret = ring.new("phone")
    good = ring.path.read_bytes()
    ring.path.write_bytes(b"{")
    for _ in range(3):
        error = refused(ask(guard, authorization=f"Bearer {secret}"), 503, "keys_unreadable")
        assert str(ring.path) not in error["message"]
    assert len(caplog.records) == 1
    assert str(ring.path) in caplog.text
    assert ask(guard, "/health").status_code == 200
    ring.path.write_bytes(good)
    assert ask(guard, authorization=f"Bearer {secret}").status_code == 200


def test_a_key_s_own_limits_count_before_the_server_s(ring: KeyRing) -> None:
    guard = Guard(tell_owner, keys=ring, limits=Limits(requests_per_minute=2))
    usual, rare = ring.new("usual")[1], ring.new("rare", requests_per_minute=1)[1]
    for secret, allowed in ((usual, 2), (rare, 1)):
        for _ in range(allowed):
            assert ask(guard, authorization=f"Bearer {secret}").status_code == 200
        answer = ask(guard, authorization=f"Bearer {secret}")
        error = refused(answer, 429, "rate_limit_exceeded")
        assert error["type"] == "rate_limit_error"
        assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_a_wrong_key_uses_up_nobody_s_rate(ring: KeyRing) -> None:
    guard = Guard(tell_owner, keys=ring, limits=Limits(requests_per_minute=1))
    _, secret = ring.new("phone")
    for _ in range(5):
        refused(ask(guard, authorization="Bearer bb_wrong"), 401, "invalid_api_key")
    assert ask(guard, authorization=f"Bearer {secret}").status_code == 200


@pytest.mark.parametrize("ends", ["well", "with a fault", "cancelled"])
def test_a_request_counts_as_running_until_its_answer_is_out(ring: KeyRing, ends: str) -> None:
    key, secret = ring.new("phone", concurrent=1)
    headers = [(b"host", b"127.0.0.1"), (b"authorization", f"Bearer {secret}".encode())]

    async def try_out() -> list[int]:
        on_its_way, go_on = asyncio.Event(), asyncio.Event()

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            on_its_way.set()
            await go_on.wait()
            if ends == "with a fault":
                raise RuntimeError
            await send({"type": "http.response.body", "body": b""})

        guard = Guard(slow, keys=ring)
        told: list[int] = []

        async def send(message: Any) -> None:
            told.extend([message["status"]] if "status" in message else [])

        async def once() -> None:
            scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": headers}
            await guard(scope, lambda: None, send)

        first = asyncio.create_task(once())
        await on_its_way.wait()
        await once()
        if ends == "cancelled":
            first.cancel()
        go_on.set()
        await asyncio.gather(first, return_exceptions=True)
        assert guard.rates.running(key.id) == 0
        await once()
        return told

    assert asyncio.run(try_out()) == [200, 429, 200]


def test_pages_of_other_origins_are_refused_whatever_their_browser_tells() -> None:
    guard = Guard(tell_owner)
    for headers in (
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site", "origin": PAGE},
        {"origin": PAGE},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8001"},
        {"origin": "chrome-extension://abc"},
    ):
        answer = ask(guard, method="POST", **headers)
        refused(answer, 403, "forbidden")
        assert "access-control-allow-origin" not in answer.headers
    for headers in (
        {"sec_fetch_site": "same-origin", "origin": "http://127.0.0.1:8000"},
        {"sec_fetch_site": "none"},
        {"origin": "http://127.0.0.1:8000"},
        {},
    ):
        answer = ask(guard, method="POST", **headers)
        assert answer.status_code == 200
        assert not any(name.startswith("access-control") for name in answer.headers)


def test_a_preflight_of_a_page_that_is_not_allowed_gets_no_leave() -> None:
    answer = ask(Guard(tell_owner), method="OPTIONS", origin=PAGE, access_control_request_method="POST")
    refused(answer, 403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers


def test_an_allowed_page_may_ask_and_read_answers_and_errors(ring: KeyRing) -> None:
    guard = Guard(tell_owner, keys=ring, origins=Origins([PAGE, "http://localhost:5173"]))
    _, secret = ring.new("page")
    wanted = "authorization,content-type,x-stainless-os"
    asked = {"access_control_request_method": "POST", "access_control_request_headers": wanted}
    before = ask(guard, method="OPTIONS", origin=PAGE, sec_fetch_site="cross-site", **asked)
    assert before.status_code == 204
    assert before.headers["access-control-allow-headers"] == wanted
    assert "POST" in before.headers["access-control-allow-methods"]
    good = ask(guard, origin=PAGE, sec_fetch_site="cross-site", authorization=f"Bearer {secret}")
    bad = ask(guard, origin=PAGE, sec_fetch_site="cross-site")
    assert (good.status_code, bad.status_code) == (200, 401)
    for answer in (before, good, bad):
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert answer.headers["vary"] == "Origin"
        assert "access-control-allow-credentials" not in answer.headers
    unnamed = ask(guard, authorization=f"Bearer {secret}")
    assert (unnamed.headers["vary"], "access-control-allow-origin" in unnamed.headers) == ("Origin", False)
    for other in ("https://poems.example.evil.example", "http://poems.example", f"{PAGE}:444", f"{PAGE}/"):
        refused(ask(guard, origin=other, authorization=f"Bearer {secret}"), 403, "forbidden")


def test_what_a_preflight_asks_for_is_not_repeated_blindly() -> None:
    guard = Guard(tell_owner, origins=Origins([PAGE]))
    for wanted in ("x" * 3000, "a\tb", "a;b"):
        answer = ask(
            guard,
            method="OPTIONS",
            origin=PAGE,
            access_control_request_method="POST",
            access_control_request_headers=wanted,
        )
        assert "access-control-allow-headers" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["*", "null", "", "poems.example", "https://*.poems.example", f"{PAGE}/", "ftp://x", "https://Poems.example"]
)  # fmt: skip
def test_only_exact_origins_can_be_allowed(origin: str) -> None:
    with pytest.raises(UsageError):
        Origins([origin])


def test_a_wildcard_host_needs_keys() -> None:
    for host in ("0.0.0.0", "::", "192.168.0.7", "example.org"):
        with pytest.raises(Refused):
            check_host(host)
        check_host(host, keys=True)


def test_the_official_client_is_let_in_and_told_in_its_own_errors(
    model: Model, ring: KeyRing, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="bowerbird")
    _, secret = ring.new("phone", requests_per_minute=2)
    with running(create_app({"tiny": model}, keys=ring)) as url:
        stranger = openai.OpenAI(base_url=f"{url}/v1", api_key="bb_wrong", max_retries=0)
        phone = openai.OpenAI(base_url=f"{url}/v1", api_key=secret, max_retries=0)
        with stranger, phone:
            with pytest.raises(openai.AuthenticationError) as caught:
                stranger.models.list()
            assert caught.value.code == "invalid_api_key"
            assert [one.id for one in phone.models.list()] == ["tiny"]
            assert phone.completions.create(model="tiny", prompt="", max_tokens=3).choices[0].text
            with pytest.raises(openai.RateLimitError) as limited:
                phone.models.list()
            assert int(limited.value.response.headers["retry-after"]) >= 1
    assert secret not in caplog.text
