"""The answer to a completion: the jobs that make it, and OpenAI's shapes it is told in, whole or streamed."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bowerbird.data.markers import shown
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.asked import Asked
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.guards import json_bytes
from bowerbird.serving.making import check_kind
from bowerbird.serving.scheduler import Job

MOST_PROMPT_TOKENS = 32_768
"""About a second of reading for a model of the largest size."""


@dataclass
class Answer:
    """The choices of one completion as they grow, and the shapes they are told in."""

    asked: Asked
    jobs: list[Job]
    echoes: list[str]
    """What stands before each choice: its prompt if it is to be echoed, else nothing."""
    prompt_tokens: int
    fingerprint: str
    id: str = field(default_factory=lambda: f"cmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))
    completion_tokens: int = 0

    @classmethod
    def of(cls, asked: Asked, model: Model) -> Answer:
        """Encode what is asked. Heavy for long prompts: call it beside the event loop.

        Raises:
            BadRequest: a prompt is too long, or has tokens that the model does not.
        """
        check_kind(model, asked.model, "text", "not text")
        jobs: list[Job] = []
        echoes: list[str] = []
        prompt_tokens = 0
        for prompt in asked.prompts:
            tokens = None if isinstance(prompt, str) else prompt
            text = prompt if isinstance(prompt, str) else _decoded(model, prompt)
            echo = text if tokens is None else shown(text)
            request = model.request(prompt=text, **asked.fields)
            reader = model.kind.read
            for index in range(asked.n):
                content = model.kind.encode_request(model, request, index)
                if tokens is not None:  # decoding and encoding again may cut words elsewhere
                    start = content.prompt[:1]
                    asis = tokens if tokens[:1] == start.tolist() else [*start.tolist(), *tokens]
                    content = replace(content, prompt=np.array(asis, np.int64))
                size = len(content.prompt) - 1  # the marker that begins every document is ours
                if size > MOST_PROMPT_TOKENS:
                    raise BadRequest(
                        f"the prompt has {size:,} tokens; {MOST_PROMPT_TOKENS:,} is the most",
                        param="prompt",
                        code="context_length_exceeded",
                    )
                if index == 0:
                    prompt_tokens += size
                jobs.append(Job(content, reader(model, request)))
                echoes.append(echo if asked.echo else "")
        return cls(asked, jobs, echoes, prompt_tokens, f"bb_{model.digest.rpartition(':')[2][:12]}")

    def whole(self, texts: list[str], ends: list[FinishReason | None]) -> dict[str, Any]:
        """The answer at once."""
        choices = [
            _choice(index, self.echoes[index] + texts[index], ends[index]) for index in range(len(texts))
        ]
        return {**self._head(), "choices": choices, "usage": self.usage()}

    def event(self, index: int, text: str, finished: FinishReason | None) -> bytes:
        """A server-sent event with a piece of one choice; its first carries the echo."""
        text, self.echoes[index] = self.echoes[index] + text, ""
        return self._event([_choice(index, text, finished)], None)

    def usage_event(self) -> bytes:
        """The last event before the end, where it was asked for."""
        return self._event([], self.usage())

    def usage(self) -> dict[str, int]:
        total = self.prompt_tokens + self.completion_tokens
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": total,
        }

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, int] | None) -> bytes:
        value = {**self._head(), "choices": choices}
        if self.asked.include_usage:
            value["usage"] = usage
        return event(value)

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.asked.model,
            "system_fingerprint": self.fingerprint,
        }


def event(value: Any) -> bytes:
    """One server-sent event."""
    return b"data: " + json_bytes(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"


def _choice(index: int, text: str, finished: FinishReason | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finished}


def _decoded(model: Model, tokens: list[int]) -> str:
    if min(tokens) < 0 or max(tokens) >= model.codec.vocab_size:
        raise BadRequest(
            f"tokens of this model are 0 to {model.codec.vocab_size - 1}",
            param="prompt",
            code="invalid_value",
        )
    return model.codec.decode(tokens)
