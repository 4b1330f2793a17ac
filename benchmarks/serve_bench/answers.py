"""What an exchange says, read once the clock has stopped: status, text with its times, why it ended, by which model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from serve_bench.client import Exchange

_DATA, _DONE = b"data: ", b"[DONE]"


@dataclass
class Answer:
    """A completion, whole or as far as it came."""

    status: int = 0
    """0 where no head came."""
    pieces: list[tuple[float, str]] = field(default_factory=list)
    """Text with the seconds after the request when it came. A whole answer that is not streamed is one piece."""
    finish: str | None = None
    done: bool = False
    """Its end was told: `[DONE]`, or all of a body that is not streamed."""
    error: dict[str, Any] | None = None
    fingerprints: set[str] = field(default_factory=set)
    """`system_fingerprint` of every event: which model made it."""
    usage: dict[str, int] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    failed: str | None = None
    """As its exchange tells."""

    @property
    def text(self) -> str:
        return "".join(text for _, text in self.pieces)

    @property
    def first(self) -> float | None:
        """Seconds to the first text."""
        return next((seconds for seconds, text in self.pieces if text), None)

    @property
    def whole(self) -> bool:
        """It came to the end that its model gave it, and so did its bytes."""
        told = self.done and self.finish is not None
        return self.status == 200 and told and self.error is None and self.failed is None


def read(exchange: Exchange) -> Answer:
    """The answer of an exchange, whatever state it is in."""
    raw = b"".join(data for _, data in exchange.pieces)
    head, found, _ = raw.partition(b"\r\n\r\n")
    answer = Answer(failed=exchange.failed)
    if not found:
        return answer
    lines = head.decode("latin-1").split("\r\n")
    answer.status = int(lines[0].split(" ", 2)[1])
    answer.headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])
    }
    ends = list(_ends(exchange.pieces))
    chunked = answer.headers.get("transfer-encoding", "") == "chunked"
    spans = list(_chunks(raw, len(head) + 4)) if chunked else [(len(head) + 4, len(raw))]
    answer.body = b"".join(raw[start:end] for start, end in spans)
    if answer.headers.get("content-type", "").startswith("text/event-stream"):
        for moment, event in _events(raw, spans, ends):
            _read_event(answer, moment - exchange.sent, event)
    elif exchange.ended is not None:
        _read_body(answer, exchange.ended - exchange.sent)
    return answer


def _ends(pieces: Sequence[tuple[float, bytes]]) -> Iterator[tuple[int, float]]:
    """Where each piece ends in all that came, and when it came."""
    end = 0
    for moment, data in pieces:
        end += len(data)
        yield end, moment


def _chunks(raw: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where the chunks of a body lie; the last may be cut short."""
    while (line := raw.find(b"\r\n", start)) >= 0:
        size = int(raw[start:line].partition(b";")[0], 16)
        if size == 0:
            return
        yield line + 2, min(line + 2 + size, len(raw))
        start = line + 2 + size + 2


def _events(
    raw: bytes, spans: Iterable[tuple[int, int]], ends: Sequence[tuple[int, float]]
) -> Iterator[tuple[float, bytes]]:
    """Server-sent events, each with the time when its last byte came."""
    piece, rest = 0, b""
    for start, end in spans:
        while ends[piece][0] < end:
            piece += 1
        rest += raw[start:end]
        *whole, rest = rest.split(b"\n\n")
        for event in whole:
            yield ends[piece][1], event


def _read_event(answer: Answer, seconds: float, event: bytes) -> None:
    told = b"\n".join(line[len(_DATA) :] for line in event.split(b"\n") if line.startswith(_DATA))
    if told == _DONE:
        answer.done = True
    elif told:
        _read_value(answer, seconds, json.loads(told))


def _read_body(answer: Answer, seconds: float) -> None:
    try:
        value = json.loads(answer.body)
    except ValueError:
        return
    answer.done = True
    if isinstance(value, dict):
        _read_value(answer, seconds, value)


def _read_value(answer: Answer, seconds: float, value: dict[str, Any]) -> None:
    if "error" in value:
        answer.error = value["error"]
    if value.get("system_fingerprint"):
        answer.fingerprints.add(value["system_fingerprint"])
    answer.usage = value.get("usage") or answer.usage
    for choice in value.get("choices", ()):
        answer.pieces.append((seconds, choice.get("text") or ""))
        answer.finish = choice.get("finish_reason") or answer.finish
