"""`POST /v1/completions`: its form, what it asks for, and the prompts as a model reads them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field, WithJsonSchema

from bowerbird.data.markers import plain
from bowerbird.kinds.loaded import Model
from bowerbird.serving.answer import Prompt
from bowerbird.serving.asked import MOST_N, MOST_SAMPLES, Asked, Form, SampledBody, check_text, sampled
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.limits import Limits

Prompts = list[str | list[int]]

MOST_PROMPTS = 256
MOST_LOGPROBS = 5
_DEFAULT_TOKENS = 16


def prompt_form(vocab_size: int, most_tokens: int, most_prompts: int) -> Form:
    """The JSON Schema of `prompt`, for a model with so many tokens."""
    token = {"type": "integer", "minimum": 0, "maximum": vocab_size - 1}
    tokens = {"type": "array", "items": token, "minItems": 1, "maxItems": most_tokens}
    texts = {"type": "array", "items": {"type": "string"}, "minItems": 1, "maxItems": most_prompts}
    lists = {"type": "array", "items": tokens, "minItems": 1, "maxItems": most_prompts}
    return {"anyOf": [{"type": "string"}, texts, tokens, lists, {"type": "null"}]}


class CompletionBody(SampledBody):
    """What `POST /v1/completions` takes. Prompts times `n` (or `best_of`) are 1,024 at most."""

    prompt: Annotated[Any, WithJsonSchema(prompt_form(1 << 31, 1 << 24, MOST_PROMPTS))] = None
    """A text, texts, tokens or lists of tokens; nothing begins a document."""
    max_tokens: int | None = Field(None, ge=0)
    """16 where it is not given; 0 reads the prompt only."""
    best_of: int | None = Field(None, ge=1, le=MOST_N)
    """Makes so many for each prompt, and gives the `n` whose tokens are the likeliest on average; fewer than
    `n` are as `n`."""
    logprobs: int | None = Field(None, ge=0, le=MOST_LOGPROBS)
    """Tells the log-probability of each token, and so many likeliest ones: the model's own, at temperature 1."""
    echo: bool | None = None
    """Gives the prompt too, as the model reads it, with its log-probabilities where they are asked for."""
    suffix: Annotated[Any, WithJsonSchema({"enum": [None, ""]})] = None
    """Not supported: these models read from left to right."""


def asked_completion(body: CompletionBody, limits: Limits, room: int) -> tuple[Asked, Prompts]:
    """What is asked for, and the prompts; `room` is how many samples the engine could ever hold.

    Raises:
        BadRequest: a field is wrong; it is named in `param`.
    """
    if body.suffix not in (None, ""):
        raise BadRequest(
            "`suffix` is not supported here; leave it out", param="suffix", code="unsupported_parameter"
        )
    prompts, n = _prompts(body.prompt), body.n or 1
    best_of = max(body.best_of or 1, n)
    most = min(MOST_SAMPLES, room)
    if len(prompts) * best_of > most:
        param = "prompt" if best_of == 1 else "n" if best_of == n else "best_of"
        raise BadRequest(
            f"{len(prompts):,} prompts times {best_of} are too many; {most:,} is the most",
            param=param,
            code="invalid_value",
        )
    if body.session is not None and len(prompts) > 1:
        raise BadRequest("a session goes on from one prompt only", param="prompt", code="invalid_value")
    default = min(_DEFAULT_TOKENS, limits.output_tokens)
    asked = sampled(
        body,
        limits,
        tokens=default if body.max_tokens is None else body.max_tokens,
        tokens_param="max_tokens",
        best_of=best_of,
        logprobs=body.logprobs,
        echo=bool(body.echo),
    )
    return asked, prompts


def read_prompts(prompts: Prompts, model: Model) -> list[Prompt]:
    """The prompts as the model reads them. A chat model reads a text as its user's turn.

    Raises:
        BadRequest: tokens that the model does not have.
    """
    return [
        _of_text(prompt, model) if isinstance(prompt, str) else _of_tokens(prompt, model)
        for prompt in prompts
    ]


def _of_text(text: str, model: Model) -> Prompt:
    content = model.kind.encode_request(model, model.request(prompt=text, seed=0), 0)
    read = plain(model.normaliser(text))
    return Prompt(content.prompt, read, chat=model.structure == "chat" and bool(text))


def _of_tokens(tokens: list[int], model: Model) -> Prompt:
    """As they are: decoding and encoding again may cut words elsewhere."""
    if min(tokens) < 0 or max(tokens) >= model.codec.vocab_size:
        raise BadRequest(
            f"tokens of this model are 0 to {model.codec.vocab_size - 1}",
            param="prompt",
            code="invalid_value",
        )
    start = _of_text("", model).tokens
    whole = tokens if tokens[:1] == start.tolist() else [*start.tolist(), *tokens]
    text = plain(model.codec.decode(tokens))
    return Prompt(np.array(whole, np.int64), text, chat=model.structure == "chat")


def _prompts(value: Any) -> Prompts:
    """A text, texts, tokens or lists of tokens, as a list of prompts. No prompt is an empty one."""
    if value is None:
        return [""]
    if isinstance(value, str) or _are_tokens(value):
        prompts: Prompts = [value]
    elif (
        isinstance(value, list)
        and value
        and (all(isinstance(item, str) for item in value) or all(_are_tokens(item) for item in value))
    ):
        prompts = value
    else:
        raise BadRequest(
            "`prompt` must be a string, a list of strings, a list of tokens or a list of lists of tokens",
            param="prompt",
            code="invalid_type",
        )
    if len(prompts) > MOST_PROMPTS:
        raise BadRequest(
            f"{len(prompts):,} prompts; {MOST_PROMPTS} is the most", param="prompt", code="invalid_value"
        )
    for prompt in prompts:
        if isinstance(prompt, str):
            check_text(prompt, "prompt")
    return prompts


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)
