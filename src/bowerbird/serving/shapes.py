"""OpenAI's shapes of an answer in text: a completion's and a chat's, whole and as events.

Events are put together from bytes prepared once an answer: of each, only the text is new.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring  # type: ignore[attr-defined]
from typing import Any

from bowerbird.sampling.session import FinishReason
from bowerbird.serving.bodies import json_bytes
from bowerbird.serving.logprobs import Row, TokenNames, in_chats, in_completions

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Shape:
    """How one path tells its answers."""

    prompt: str
    """The field that the prompt is in."""
    prefix: str
    """Of an answer's id."""
    whole: str
    """What `object` says of a whole answer, and of an event."""
    part: str
    text: Callable[[str], dict[str, Any]]
    """The part of a whole choice that holds its text."""
    before: bytes
    """Around the text in an event."""
    after: bytes
    begin: bytes
    """The same place in the event that begins a choice; empty: there is none."""
    logprobs: Callable[[TokenNames, Sequence[Row]], dict[str, Any]]


COMPLETION = Shape(
    prompt="prompt",
    prefix="cmpl-",
    whole="text_completion",
    part="text_completion",
    text=lambda text: {"text": text},
    before=b'"text":',
    after=b"",
    begin=b"",
    logprobs=in_completions,
)
CHAT = Shape(
    prompt="messages",
    prefix="chatcmpl-",
    whole="chat.completion",
    part="chat.completion.chunk",
    text=lambda text: {"message": {"role": "assistant", "content": text, "refusal": None}},
    before=b'"delta":{"content":',
    after=b"}",
    begin=b'"delta":{"role":"assistant","content":""}',
    logprobs=in_chats,
)


class Events:
    """The events of one answer.

    Args:
        shape: the path's.
        head: the fields that every event begins with: id, created, model ...
        counted: whether every event has the field `usage`, null but in the last.
    """

    def __init__(self, shape: Shape, head: dict[str, Any], counted: bool):
        self._shape = shape
        self._head = json_bytes({**head, "object": shape.part})[:-1]  # the brace that closes it comes last
        self._tail = (b',"usage":null' if counted else b"") + b"}\n\n"
        self._leads: dict[int, bytes] = {}
        self._ends: dict[FinishReason | None, bytes] = {
            reason: shape.after + self._close(b"null", reason) for reason in (None, "stop", "length")
        }

    def begin(self, index: int) -> bytes:
        """The event that begins a choice, where this shape has one."""
        if not self._shape.begin:
            return b""
        return self._lead(index) + self._shape.begin + self._close(b"null", None)

    def part(
        self, index: int, text: str, finished: FinishReason | None, logprobs: dict[str, Any] | None = None
    ) -> bytes:
        """A piece of one choice."""
        escaped: str = encode_basestring(text)
        if logprobs is None:
            end = self._ends[finished]
        else:
            end = self._shape.after + self._close(json_bytes(logprobs), finished)
        return self._lead(index) + self._shape.before + escaped.encode("utf-8", "replace") + end

    def usage(self, usage: dict[str, Any]) -> bytes:
        """The last event before the end, where counts were asked for."""
        return b"data: " + self._head + b',"choices":[],"usage":' + json_bytes(usage) + b"}\n\n"

    def _lead(self, index: int) -> bytes:
        lead = self._leads.get(index)
        if lead is None:
            lead = b"data: " + self._head + b',"choices":[{"index":%d,' % index
            self._leads[index] = lead
        return lead

    def _close(self, logprobs: bytes, finished: FinishReason | None) -> bytes:
        reason = b"null" if finished is None else b'"%s"' % finished.encode()
        return b',"logprobs":' + logprobs + b',"finish_reason":' + reason + b"}]" + self._tail


def event(value: Any) -> bytes:
    """Any JSON as a server-sent event."""
    return b"data: " + json_bytes(value) + b"\n\n"
