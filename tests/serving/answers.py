"""Reads what a server answered: errors in their shape, and streams put together again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import httpx


def error(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    """Status, code and param of an answer that must be an error."""
    body = answer.json()
    assert set(body) == {"error"}, answer.text[:1000]
    told = body["error"]
    assert set(told) == {"message", "type", "param", "code"}
    assert isinstance(told["message"], str)
    return answer.status_code, told["code"], told["param"]


@dataclass
class Streamed:
    """One choice, put together from its events."""

    text: str = ""
    role: str | None = None
    ends: list[str] = field(default_factory=list)
    logprobs: dict[str, list[Any]] | None = None


def events(answer: httpx.Response) -> list[dict[str, Any]]:
    """The events of a stream, without the one that ends it."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    parts = answer.text.split("\n\n")
    assert parts[-2:] == ["data: [DONE]", ""]
    assert all(part.startswith("data: ") for part in parts[:-1])
    return [json.loads(part.removeprefix("data: ")) for part in parts[:-2]]


def choices(told: list[dict[str, Any]]) -> dict[int, Streamed]:
    """The choices of a completion's or a chat's events."""
    found: dict[int, Streamed] = {}
    for event in told:
        for choice in event["choices"]:
            one = found.setdefault(choice["index"], Streamed())
            assert not one.ends, "nothing comes after the end"
            delta = choice.get("delta", {})
            if "role" in delta:
                assert not one.text, "the role comes first"
                one.role = delta["role"]
            one.text += choice["text"] if "text" in choice else delta.get("content", "")
            if choice["finish_reason"] is not None:
                one.ends.append(choice["finish_reason"])
            for name, rows in (choice["logprobs"] or {}).items():
                if isinstance(rows, list):
                    one.logprobs = one.logprobs or {}
                    one.logprobs.setdefault(name, []).extend(rows)
    return found
