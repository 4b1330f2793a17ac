"""What is asked for in the body of a request for text: the fields that completions and chats share, checked.

The forms are told to programs as they are, at `/openapi.json`; what a form cannot say is checked here and
described beside it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError, WithJsonSchema

from bowerbird.base.config import Config
from bowerbird.base.errors import nearest
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.limits import Limits
from bowerbird.serving.session_record import NAME_PATTERN

Body = TypeVar("Body", bound=Config)
Form = dict[str, Any]
"""A JSON Schema."""

MOST_SAMPLES = 1024
"""Prompts times `n`, or times `best_of` where that is more."""
MOST_N = 128
MOST_STOPS = 4
MOST_STOP_CHARACTERS = 1_000
MOST_BIASED = 1_024
"""Tokens in `logit_bias`."""
_TOKEN = re.compile(r"0|[1-9][0-9]{0,8}")
_NULL: Form = {"type": "null"}

STOP_FORM: Form = {
    "anyOf": [
        {"type": "string", "maxLength": MOST_STOP_CHARACTERS},
        {
            "type": "array",
            "maxItems": MOST_STOPS,
            "items": {"type": "string", "maxLength": MOST_STOP_CHARACTERS},
        },
        _NULL,
    ]
}


def number_pattern(last: int) -> str:
    """A regular expression for the numbers 0 to `last` as they are written."""
    digits = str(last)
    size = len(digits)
    parts = ["[0-9]"] if size > 1 else []
    parts += [f"[1-9][0-9]{{{length - 1}}}" for length in range(2, size)]
    for place, digit in enumerate(digits):
        least, rest = int(place == 0 and size > 1), size - place - 1
        if int(digit) > least:
            parts.append(f"{digits[:place]}[{least}-{int(digit) - 1}]" + f"[0-9]{{{rest}}}" * (rest > 0))
    return "|".join([*parts, digits])


def bias_form(vocab_size: int) -> Form:
    """The JSON Schema of `logit_bias`, for a model with so many tokens."""
    tokens: Form = {
        "type": "object",
        "maxProperties": MOST_BIASED,
        "propertyNames": {"pattern": f"^({number_pattern(vocab_size - 1)})$"},
        "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100},
    }
    return {"anyOf": [tokens, _NULL]}


class StreamOptions(Config):
    model_config = ConfigDict(strict=True)

    include_usage: bool | None = None
    """Send the counts in one more event before the end."""
    include_obfuscation: Literal[False] | None = None
    """Events are not padded here."""


class SampledBody(Config):
    """What completions and chats both take. Null is as absent."""

    model_config = ConfigDict(strict=True)

    model: str
    """One of those at `/v1/models`."""
    temperature: float | None = Field(None, ge=0, le=2)
    """0 takes the likeliest token; 1 where it is not given."""
    top_p: float | None = Field(None, ge=0, le=1)
    """Draws from the likeliest tokens that hold this much probability together."""
    n: int | None = Field(None, ge=1, le=MOST_N)
    """Choices for each prompt; the seed of each is one more than the last's."""
    stop: Annotated[Any, WithJsonSchema(STOP_FORM)] = None
    """Up to four texts that end an answer where they begin; they are not given out."""
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    """The same seed, model and request give the same answer on one machine."""
    stream: bool | None = None
    """Send the answer as server-sent events, as it is made."""
    stream_options: StreamOptions | None = None
    """Goes with `stream` only."""
    logit_bias: Annotated[Any, WithJsonSchema(bias_form(10**9))] = None
    """Added to the logits of tokens, by their numbers."""
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    """Taken off a token's logit for each time that it was made."""
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    """Taken off a token's logit once it was made."""
    user: str | None = None
    """Not looked at."""
    top_k: int | None = Field(None, ge=1, le=1_000_000)
    """Draws from so many likeliest tokens only."""
    min_p: float | None = Field(None, ge=0, le=1)
    """Drops tokens less likely than this share of the likeliest."""
    repetition_penalty: float | None = Field(None, gt=0, le=10)
    """Divides the odds of tokens used before, in the prompt too."""
    session: str | None = Field(None, pattern=NAME_PATTERN)
    """Goes on from this state, which the server keeps, and puts the new one in its place."""


STREAM_RULE: Form = {
    "if": {"properties": {"stream": {"const": True}}, "required": ["stream"]},
    "else": {"properties": {"stream_options": _NULL}},
}
"""`stream_options` goes with `stream` only."""


def session_rule(**single: Form) -> Form:
    """With a session one sample is made; `single` says of other fields what they may then be."""
    alone: Form = {"anyOf": [{"type": "integer", "maximum": 1}, _NULL]}
    return {
        "if": {"properties": {"session": {"type": "string"}}, "required": ["session"]},
        "then": {"properties": {"n": alone, **single}},
    }


@dataclass(frozen=True)
class Asked:
    """A checked request for text: what to make, and how to answer."""

    model: str
    fields: dict[str, Any]
    """Of the kind's request, without its prompt."""
    n: int
    stream: bool
    include_usage: bool
    session: str | None
    best_of: int
    """Samples made for each prompt, of which the `n` likeliest are given; `n` or more."""
    logprobs: int | None = None
    """How many likeliest tokens to tell at each place, beside the one that was made; None tells nothing."""
    echo: bool = False
    tokens: int = 16
    """The most to make; 0 reads the prompt only."""


def sampled(body: SampledBody, limits: Limits, *, tokens: int, tokens_param: str, **own: Any) -> Asked:
    """What is asked by the fields that completions and chats share; `own` are those they do not.

    Raises:
        BadRequest: a field is wrong; it is named in `param`.
    """
    if body.stream_options is not None and not body.stream:
        raise BadRequest(
            "`stream_options` goes with `stream` only", param="stream_options", code="invalid_value"
        )
    limits.check_output(tokens, tokens_param)
    for name in ("model", "user"):
        check_text(getattr(body, name) or "", name)
    n = body.n or 1
    own = {"best_of": n, **own}
    if body.session is not None and own["best_of"] > 1:
        param = "n" if n > 1 else "best_of"
        raise BadRequest("a session goes on in one answer only", param=param, code="invalid_value")
    fields = {
        "temperature": 1.0 if body.temperature is None else body.temperature,
        "top_k": body.top_k,
        # OpenAI allows 0, which leaves the likeliest token alone, as any number small enough does.
        "top_p": body.top_p if body.top_p is None else max(body.top_p, 1e-9),
        "min_p": body.min_p,
        "repetition_penalty": 1.0 if body.repetition_penalty is None else body.repetition_penalty,
        "frequency_penalty": body.frequency_penalty or 0.0,
        "presence_penalty": body.presence_penalty or 0.0,
        "logit_bias": _bias(body.logit_bias),
        "stop": _stops(body.stop),
        "seed": body.seed,
    }
    return Asked(
        model=body.model,
        fields=fields,
        n=n,
        stream=bool(body.stream),
        include_usage=bool(body.stream_options and body.stream_options.include_usage),
        session=body.session,
        tokens=tokens,
        **own,
    )


def validated(body: Mapping[str, Any], form: type[Body]) -> Body:
    """A body in its form.

    Raises:
        BadRequest: a field is unknown or wrong, or one is missing; the first is named in `param`.
    """
    unknown = next((key for key in body if key not in form.model_fields), None)
    if unknown is not None:
        unknown = unknown[:100]
        near = nearest(unknown, form.model_fields)
        advice = f"; did you mean `{near}`?" if near else ""
        raise BadRequest(f"there is no field `{unknown}`{advice}", param=unknown, code="unknown_parameter")
    if (
        "model" in form.model_fields
        and form.model_fields["model"].is_required()
        and body.get("model") is None
    ):
        raise BadRequest("name a model in the field `model`", param="model", code="missing_parameter")
    try:
        return form.model_validate(dict(body))
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        place = problems[0]["loc"]
        told = "; ".join(f"`{_dotted(problem['loc'])}`: {problem['msg'].lower()}" for problem in problems[:8])
        raise BadRequest(told, param=str(place[0]) if place else None, code="invalid_value") from None


def _dotted(place: tuple[int | str, ...]) -> str:
    """A field within others by its dotted name; what a caller made up in it is cut."""
    return ".".join(str(part)[:100] for part in place)


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


def _bias(value: Any) -> dict[int, float]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(
            "`logit_bias` must be an object from tokens to numbers", param="logit_bias", code="invalid_type"
        )
    if len(value) > MOST_BIASED:
        raise BadRequest(
            f"`logit_bias` takes up to {MOST_BIASED:,} tokens", param="logit_bias", code="invalid_value"
        )
    bias: dict[int, float] = {}
    for key, number in value.items():
        if not _TOKEN.fullmatch(key):
            raise BadRequest(
                f"`{key[:20]}` in `logit_bias` is no token's number", param="logit_bias", code="invalid_value"
            )
        if type(number) not in (int, float) or not -100 <= number <= 100:
            raise BadRequest(
                f"the bias of token {key} must be a number from -100 to 100",
                param="logit_bias",
                code="invalid_value",
            )
        bias[int(key)] = float(number)
    return bias


def check_text(text: str, param: str) -> None:
    """Raises BadRequest: there is half a surrogate pair in it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"`{param}` holds half of a surrogate pair, which is no character (at {error.start})",
            param=param,
            code="invalid_value",
        ) from error
