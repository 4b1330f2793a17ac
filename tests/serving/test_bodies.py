"""Bodies alone: how much of one is read, what is made of it, and how values and errors are written."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import pytest
from starlette.requests import Request

from bowerbird.base.errors import BowerbirdError
from bowerbird.serving.bodies import json_bytes, read_json_body, told
from bowerbird.serving.errors import BadRequest, Busy, Stopping, TooLarge, TooSlow
from bowerbird.serving.limits import Limits

SMALL = Limits(body_bytes=1024)
PART = b"x" * (1 << 20)


class Sender:
    """Sends a body in parts, and counts how many of them were taken."""

    def __init__(self, parts: Iterable[bytes], *, ends: bool = True, **headers: str):
        self.taken = 0
        self._parts = iter(parts)
        self._ends = ends
        self._headers = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]

    async def receive(self) -> Any:
        part = next(self._parts, None)
        if part is None and not self._ends:
            await asyncio.Event().wait()
        self.taken += part is not None
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    def read(self, limits: Limits = SMALL) -> Any:
        request = Request({"type": "http", "method": "POST", "headers": self._headers}, self.receive)
        return asyncio.run(read_json_body(request, limits=limits))


def test_an_object_is_read_whatever_its_parts() -> None:
    content = '{"prompt": "the sea 海"}'.encode()
    for size in (1, 3, 100):
        parts = [content[at : at + size] for at in range(0, len(content), size)]
        assert Sender(parts).read() == {"prompt": "the sea 海"}


def test_the_last_byte_that_is_allowed_is_read() -> None:
    content = b'{"a": "' + b"x" * (1024 - 9) + b'"}'
    assert len(content) == 1024
    assert len(Sender([content]).read()["a"]) == 1015
    with pytest.raises(TooLarge, match="1,024 bytes"):
        Sender([content + b" "]).read()


def test_of_what_is_too_large_so_much_is_taken_that_its_sender_hears_of_it() -> None:
    little = Sender([PART] * 3)
    with pytest.raises(TooLarge):
        little.read()
    assert little.taken == 3  # all of it
    endless = Sender(PART for _ in range(1_000_000))
    with pytest.raises(TooLarge):
        endless.read()
    assert endless.taken < 20


@pytest.mark.parametrize("length", ["20000000", "9" * 30])
def test_what_announces_far_too_much_is_not_read_at_all(length: str) -> None:
    sender = Sender([PART], content_length=length)
    with pytest.raises(TooLarge):
        sender.read()
    assert sender.taken == 0


def test_who_asks_before_he_sends_is_refused_before_he_does() -> None:
    sender = Sender([b"x" * 2000], content_length="2000", expect="100-continue")
    with pytest.raises(TooLarge):
        sender.read()
    assert sender.taken == 0


def test_a_limit_beyond_what_is_drained_holds_too() -> None:
    large = Limits(body_bytes=20 << 20)
    content = b'{"a": "' + b"x" * (18 << 20) + b'"}'
    assert len(Sender([content], content_length=str(len(content))).read(large)["a"]) == 18 << 20
    with pytest.raises(TooLarge, match="20,971,520 bytes"):
        Sender([PART] * 30, content_length=str(30 << 20)).read(large)


def test_what_never_ends_is_too_slow() -> None:
    with pytest.raises(TooSlow, match=r"0\.05 seconds"):
        Sender([b"{"], ends=False).read(Limits(body_seconds=0.05))


@pytest.mark.parametrize("content", [b"", b"[]", b"5", b"{", b"\xff", b'{"a": NaN}', b"[" * 1_000])
def test_what_is_no_object_is_a_bad_request(content: bytes) -> None:
    with pytest.raises(BadRequest) as caught:
        Sender([content]).read()
    assert caught.value.code == "invalid_json"


def test_json_is_short_and_holds_no_half_characters() -> None:
    assert json_bytes({"a": ["é", 1]}) == '{"a":["é",1]}'.encode()
    assert json_bytes("\ud800") == b'"?"'


@pytest.mark.parametrize(("error", "wait"), [(Busy(), b"1"), (Stopping(), None), (BadRequest("no"), None)])
def test_an_error_is_told_whole_with_its_headers(error: BowerbirdError, wait: bytes | None) -> None:
    status, headers, content = told(error)
    named = dict(headers)
    assert status == error.http_status
    assert named[b"content-type"] == b"application/json"
    assert int(named[b"content-length"]) == len(content)
    assert named.get(b"retry-after") == wait
    assert set(json.loads(content)["error"]) == {"message", "type", "param", "code"}
