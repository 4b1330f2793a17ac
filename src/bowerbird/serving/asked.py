"""What a completion's body asks for, in OpenAI's fields, checked.

A field that is not built yet is accepted at its neutral value only, so that nothing is quietly ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ConfigDict, Field, ValidationError

from bowerbird.base.config import Config
from bowerbird.base.errors import nearest
from bowerbird.serving.errors import BadRequest

Prompt = str | list[int]
Body = TypeVar("Body", bound=Config)

MOST_TOKENS = 100_000
MOST_SAMPLES = 256
"""Prompts times `n`."""
MOST_STOPS = 4
MOST_STOP_CHARACTERS = 1_000


class StreamOptions(Config):
    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None
    """Send the counts in one more event before the end."""


class CompletionBody(Config):
    """The body of `POST /v1/completions`. Null is as absent."""

    model_config = ConfigDict(strict=True)

    model: str
    prompt: Any = None
    max_tokens: int | None = Field(None, ge=1, le=MOST_TOKENS)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    n: int | None = Field(None, ge=1, le=64)
    stop: Any = None
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    echo: bool | None = None
    user: str | None = None
    top_k: int | None = Field(None, ge=1)
    min_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    repetition_penalty: float | None = Field(None, gt=0, le=10, allow_inf_nan=False)
    best_of: Any = None
    logprobs: Any = None
    logit_bias: Any = None
    frequency_penalty: Any = None
    presence_penalty: Any = None
    suffix: Any = None


_NEUTRAL: dict[str, Callable[[Any], bool]] = {
    "best_of": lambda value: type(value) is int and value == 1,
    "logprobs": lambda value: False,
    "logit_bias": lambda value: value == {},
    "frequency_penalty": lambda value: type(value) in (int, float) and value == 0,
    "presence_penalty": lambda value: type(value) in (int, float) and value == 0,
    "suffix": lambda value: value == "",
}


@dataclass(frozen=True)
class Asked:
    """A checked request: what to make, and how to answer."""

    model: str
    prompts: list[Prompt]
    fields: dict[str, Any]
    """Of the kind's request, without its prompt."""
    n: int
    stream: bool
    include_usage: bool
    echo: bool


def checked(body: Mapping[str, Any]) -> Asked:
    """A request from its body.

    Raises:
        BadRequest: a field is unknown, wrong or not supported; the first is named in `param`.
    """
    asked = validated(body, CompletionBody)
    for name, is_neutral in _NEUTRAL.items():
        value = getattr(asked, name)
        if value is not None and not is_neutral(value):
            raise BadRequest(
                f"`{name}` is not supported here; leave it out", param=name, code="unsupported_parameter"
            )
    if asked.stream_options is not None and not asked.stream:
        raise BadRequest(
            "`stream_options` goes with `stream` only", param="stream_options", code="invalid_value"
        )
    prompts, n = _prompts(asked.prompt), asked.n or 1
    if len(prompts) * n > MOST_SAMPLES:
        raise BadRequest(
            f"prompts times `n` is {len(prompts) * n}; {MOST_SAMPLES} is the most",
            param="n" if n > 1 else "prompt",
            code="invalid_value",
        )
    for name in ("model", "user"):
        check_text(getattr(asked, name) or "", name)
    given: dict[str, Any] = {
        "n": n,
        "length": asked.max_tokens or 16,
        "temperature": 1.0 if asked.temperature is None else asked.temperature,
        "top_k": asked.top_k,
        # OpenAI allows 0, which leaves the likeliest token alone, as any number small enough does.
        "top_p": asked.top_p if asked.top_p is None else max(asked.top_p, 1e-9),
        "min_p": asked.min_p,
        "repetition_penalty": 1.0 if asked.repetition_penalty is None else asked.repetition_penalty,
        "stop": _stops(asked.stop),
        "seed": asked.seed,
    }
    include_usage = bool(asked.stream_options and asked.stream_options.include_usage)
    return Asked(asked.model, prompts, given, n, bool(asked.stream), include_usage, bool(asked.echo))


def validated(body: Mapping[str, Any], form: type[Body]) -> Body:
    """A body in its form.

    Raises:
        BadRequest: a field is unknown or wrong, or no model is named; the first is named in `param`.
    """
    unknown = next((key for key in body if key not in form.model_fields), None)
    if unknown is not None:
        unknown = unknown[:100]
        near = nearest(unknown, form.model_fields)
        advice = f"; did you mean `{near}`?" if near else ""
        raise BadRequest(f"there is no field `{unknown}`{advice}", param=unknown, code="unknown_parameter")
    if body.get("model") is None:
        raise BadRequest("name a model in the field `model`", param="model", code="missing_parameter")
    try:
        return form.model_validate(dict(body))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        param = str(problems[0]["loc"][0])
        told = "; ".join(
            f"`{'.'.join(map(str, problem['loc']))}`: {problem['msg'].lower()}" for problem in problems
        )
        raise BadRequest(told, param=param, code="invalid_value") from None


def _prompts(value: Any) -> list[Prompt]:
    """A text, texts, tokens or lists of tokens, as a list of prompts. No prompt is an empty one."""
    if value is None:
        return [""]
    if isinstance(value, str):
        prompts: list[Prompt] = [value]
    elif isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        prompts = value
    elif _are_tokens(value):
        prompts = [value]
    elif isinstance(value, list) and value and all(_are_tokens(item) for item in value):
        prompts = value
    else:
        raise BadRequest(
            "`prompt` must be a string, a list of strings, a list of tokens or a list of lists of tokens",
            param="prompt",
            code="invalid_type",
        )
    if len(prompts) > MOST_SAMPLES:
        raise BadRequest(
            f"{len(prompts):,} prompts; {MOST_SAMPLES} is the most", param="prompt", code="invalid_value"
        )
    for prompt in prompts:
        if isinstance(prompt, str):
            check_text(prompt, "prompt")
    return prompts


def _are_tokens(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(item) is int for item in value)


def _stops(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    stops = [value] if isinstance(value, str) else value
    if not isinstance(stops, list) or not all(isinstance(stop, str) for stop in stops):
        raise BadRequest("`stop` must be a string or a list of strings", param="stop", code="invalid_type")
    if len(stops) > MOST_STOPS or any(len(stop) > MOST_STOP_CHARACTERS for stop in stops):
        raise BadRequest(
            f"`stop` takes up to {MOST_STOPS} strings of up to {MOST_STOP_CHARACTERS:,} characters",
            param="stop",
            code="invalid_value",
        )
    for stop in stops:
        check_text(stop, "stop")
    return tuple(stops)


def check_text(text: str, param: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"`{param}` holds half of a surrogate pair, which is no character (at {error.start})",
            param=param,
            code="invalid_value",
        ) from error
