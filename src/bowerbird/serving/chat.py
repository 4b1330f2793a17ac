"""`POST /v1/chat/completions`: its form, what it asks for, and messages as a model that learnt turns reads them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field

from bowerbird.base.config import Config
from bowerbird.data.markers import DOCUMENT, ROLES, plain, turn
from bowerbird.kinds.loaded import Model
from bowerbird.serving.answer import Prompt
from bowerbird.serving.asked import Asked, Form, SampledBody, check_text, sampled
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.limits import Limits

MOST_TOP_LOGPROBS = 20
_DEFAULT_TOKENS = 1024
_ROLE_OF = {"developer": "system"}
"""OpenAI's newer name."""

LOGPROBS_RULE: Form = {
    "if": {"properties": {"logprobs": {"const": True}}, "required": ["logprobs"]},
    "else": {"properties": {"top_logprobs": {"enum": [0, None]}}},
}
"""`top_logprobs` goes with `logprobs` only."""

Nothing = Annotated[list[Any], Field(max_length=0)]


class TextPart(Config):
    """A part of a message. Models read text only."""

    model_config = ConfigDict(strict=True)

    type: Literal["text"]
    text: str


class Message(Config):
    """One turn. What an answer's own message has beside its content may be sent back with it."""

    model_config = ConfigDict(strict=True)

    role: Literal["system", "developer", "user", "assistant"]
    content: str | Annotated[list[TextPart], Field(min_length=1, fail_fast=True)]
    name: str | None = None
    """Not looked at."""
    refusal: None = None
    audio: None = None
    function_call: None = None
    tool_calls: Nothing | None = None
    annotations: Nothing | None = None

    @property
    def words(self) -> str:
        if isinstance(self.content, str):
            return self.content
        return "".join(part.text for part in self.content)


class ResponseFormat(Config):
    model_config = ConfigDict(strict=True)

    type: Literal["text"]


class ChatBody(SampledBody):
    """What `POST /v1/chat/completions` takes. Fields for what these models cannot do are taken where they ask
    for nothing."""

    messages: list[Message] = Field(min_length=1, fail_fast=True)
    """The turns so far; with a session, those that it has not seen."""
    max_completion_tokens: int | None = Field(None, ge=0)
    """1,024 where it is not given, or the most that this server makes."""
    max_tokens: int | None = Field(None, ge=0)
    """The older name of `max_completion_tokens`, which wins."""
    logprobs: bool | None = None
    """Tells the log-probability of each token: the model's own, at temperature 1."""
    top_logprobs: int | None = Field(None, ge=0, le=MOST_TOP_LOGPROBS)
    """And those of so many likeliest ones; goes with `logprobs` only."""
    response_format: ResponseFormat | None = None
    modalities: Annotated[list[Literal["text"]], Field(fail_fast=True)] | None = None
    tools: Nothing | None = None
    tool_choice: Literal["none", "auto"] | None = None
    parallel_tool_calls: bool | None = None
    store: Literal[False] | None = None
    service_tier: Literal["auto", "default"] | None = None
    metadata: dict[str, str] | None = None
    """Not looked at."""
    safety_identifier: str | None = None
    """Not looked at."""
    prompt_cache_key: str | None = None
    """Not looked at."""


def asked_chat(body: ChatBody, limits: Limits) -> Asked:
    """What is asked for.

    Raises:
        BadRequest: a field is wrong; it is named in `param`.
    """
    if body.top_logprobs and not body.logprobs:
        raise BadRequest(
            "`top_logprobs` goes with `logprobs` only", param="top_logprobs", code="invalid_value"
        )
    for message in body.messages:
        check_text(message.words, "messages")
    tokens, name = body.max_completion_tokens, "max_completion_tokens"
    if tokens is None:
        tokens, name = body.max_tokens, "max_tokens"
    return sampled(
        body,
        limits,
        tokens=min(_DEFAULT_TOKENS, limits.output_tokens) if tokens is None else tokens,
        tokens_param=name,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
    )


def read_messages(messages: Sequence[Message], model: Model, model_id: str) -> list[Prompt]:
    """The turns as the model learnt them: each after its speaker's marker, then the marker of its own turn.

    Raises:
        BadRequest: the model learnt no turns.
    """
    if model.structure != "chat":
        raise BadRequest(
            f"`{model_id}` learnt no turns of speakers, so it cannot chat; ask it at /v1/completions",
            param="model",
            code="not_a_chat_model",
        )
    turns = [(_ROLE_OF.get(message.role, message.role), message.words) for message in messages]
    read = [turn(role, plain(model.normaliser(words))) for role, words in turns]
    text = DOCUMENT + "".join(read) + ROLES["assistant"]
    return [Prompt(model.codec.encode(text).astype(np.int64), "", chat=True, turns=tuple(turns))]
