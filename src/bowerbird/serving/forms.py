"""The answers of every path as forms, for `/openapi.json`. What is answered is built elsewhere; a test holds the two
together."""

from __future__ import annotations

from typing import Literal

from bowerbird.base.config import Config
from bowerbird.sampling.session import FinishReason


class ErrorDetail(Config):
    message: str
    type: str
    param: str | None
    """The field that it is about."""
    code: str | None
    """A word for programs."""


class Error(Config):
    """What every answer that is none tells."""

    error: ErrorDetail


class Usage(Config):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class TriedModel(Config):
    """A version that is on trial beside a live model."""

    version: int
    digest: str
    mode: Literal["shadow", "share"]
    """`shadow`: it gets copies of requests, and its answers go to the events. `share`: it answers some callers."""
    share: float
    since: float
    """Unix seconds."""
    shadows: int
    """Copies that this server asked of challengers so far."""
    shadows_dropped: int
    """And those that it had no time for."""


class ModelInfo(Config):
    id: str
    object: Literal["model"]
    created: int
    """When it came to be served, in Unix seconds."""
    owned_by: Literal["bowerbird"]
    kind: Literal["text", "melody", "image"]
    structure: str
    """`chat` for a text model that learnt speakers' turns."""
    digest: str
    """Of its bundle: two models with one digest are the same."""
    parameters: int
    vocab_size: int
    codec: str
    events: Literal["off", "counts", "sampled", "full"]
    """What is recorded of each request: nothing, counts, of a share of them the texts too, or of all."""
    challenger: TriedModel | None = None
    """What is tried beside it."""


class ModelList(Config):
    object: Literal["list"]
    data: list[ModelInfo]


class CompletionLogprobs(Config):
    """A row for each token; a token that is no whole character is written as its bytes."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]
    """Where each begins, in characters of the choice's text."""


class CompletionChoice(Config):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: FinishReason


class Completion(Config):
    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[CompletionChoice]
    usage: Usage


class TopLogprob(Config):
    token: str
    logprob: float
    bytes: list[int] | None


class TokenLogprob(TopLogprob):
    top_logprobs: list[TopLogprob]


class ChatLogprobs(Config):
    content: list[TokenLogprob]
    refusal: None


class AnswerMessage(Config):
    role: Literal["assistant"]
    content: str
    refusal: None


class ChatChoice(Config):
    index: int
    message: AnswerMessage
    logprobs: ChatLogprobs | None
    finish_reason: FinishReason


class ChatCompletion(Config):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: Usage


class Picture(Config):
    b64_json: str
    """A PNG."""
    seed: int


class Pictures(Config):
    created: int
    data: list[Picture]


class Tune(Config):
    """Has one of `abc` and `b64_json`, or both where the request does not say which."""

    seed: int
    finish_reason: FinishReason
    abc: str | None = None
    b64_json: str | None = None
    """A MIDI file."""


class Tunes(Config):
    created: int
    model: str
    data: list[Tune]
    usage: Usage


class FeedbackTaken(Config):
    object: Literal["feedback"]
    id: str
    created: int
    model: str
    rating: float | None


class SessionPoint(Config):
    name: str
    tokens: int
    characters: int
    created: int


class SessionInfo(Config):
    """Times are Unix seconds."""

    id: str
    object: Literal["session"]
    model: str
    """The id it was asked for by."""
    model_digest: str
    created: int
    used: int
    tokens: int
    characters: int
    bytes: int
    """Of its state and those of its points."""
    points: list[SessionPoint]


class SessionList(Config):
    object: Literal["list"]
    data: list[SessionInfo]


class SessionDeleted(Config):
    id: str
    object: Literal["session.deleted"]
    deleted: Literal[True]


class Health(Config):
    status: Literal["ok", "failed"]


class Ready(Config):
    status: Literal["ready", "warming", "failed", "stopping"]
    models: list[str]
