"""`POST /v1/melodies/generations`: tunes as MIDI in base64, or as ABC."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field

from bowerbird.base.config import Config
from bowerbird.data.render.midi import to_midi
from bowerbird.data.tune import parse
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.melody_settings import MelodyRequest
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.limits import Limits
from bowerbird.serving.making import MOST_MADE, check_kind, jobs_of
from bowerbird.serving.scheduler import Job

MOST_PROMPT_CHARACTERS = 20_000
LEAST_TOKENS = 16
"""No tune is made of fewer."""


class MelodyBody(Config):
    """The body. Null is as absent."""

    model_config = ConfigDict(strict=True)

    model: str
    prompt: str | None = Field(None, max_length=MOST_PROMPT_CHARACTERS)
    n: int | None = Field(None, ge=1, le=MOST_MADE)
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=1)
    min_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=LEAST_TOKENS, le=20_000)
    """About three a note; where it is not given as many as most tunes need, or the most that this server makes."""
    key: str | None = Field(None, max_length=40)
    metre: str | None = Field(None, max_length=40)
    bars: int | None = Field(None, ge=1, le=1000)
    tempo: float | None = Field(None, ge=10, le=500, allow_inf_nan=False)
    response_format: Literal["b64_json", "abc"] | None = None
    """MIDI in base64, or ABC; both where it is not said."""
    user: str | None = None


_NOT_OF_THE_REQUEST = ("model", "response_format", "user", "max_tokens")


@dataclass(frozen=True)
class Melodies:
    """What one request asks for, as jobs, and the answer once they are done."""

    body: MelodyBody
    request: Any
    jobs: list[Job]
    prompt_tokens: int
    """Of the opening, which all go on from."""

    @classmethod
    def of(cls, body: MelodyBody, model: Model, limits: Limits) -> Melodies:
        """Raises BadRequest: the model makes no melodies, or what is asked cannot be made or is beyond the limits."""
        check_kind(model, body.model, "melody", "no melodies")
        fields = body.model_dump(exclude=set(_NOT_OF_THE_REQUEST), exclude_none=True)
        fields["length"] = _length(body.max_tokens, limits)
        request, jobs = jobs_of(model, body.prompt or "", fields)
        read = len(jobs[0].content.prompt) - 1  # the marker that begins every tune is ours and not counted
        limits.check_prompt(read, "prompt")
        return cls(body, request, jobs, read)

    def whole(self, texts: list[str], ends: list[FinishReason | None], tokens: int) -> dict[str, Any]:
        """The answer."""
        data = []
        for index, (text, end, job) in enumerate(zip(texts, ends, self.jobs, strict=True)):
            told: dict[str, Any] = {"seed": self.request.seed + index, "finish_reason": end}
            if self.body.response_format != "b64_json":
                told["abc"] = text
            if self.body.response_format != "abc":
                midi = to_midi(parse(job.reader.content), self.request.tempo)
                told["b64_json"] = base64.b64encode(midi).decode()
            data.append(told)
        return {
            "created": int(time.time()),
            "model": self.body.model,
            "data": data,
            "usage": {
                "prompt_tokens": self.prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": self.prompt_tokens + tokens,
            },
        }


def _length(asked: int | None, limits: Limits) -> int:
    """The most tokens to make of each.

    Raises:
        BadRequest: it is beyond the limit, or the limit is below what any tune needs.
    """
    default: int = MelodyRequest.model_fields["length"].default
    tokens = min(default, limits.output_tokens) if asked is None else asked
    limits.check_output(tokens, "max_tokens")
    if tokens < LEAST_TOKENS:
        raise BadRequest(
            f"a tune takes {LEAST_TOKENS} tokens at least; {tokens} is the most here",
            param="max_tokens",
            code="invalid_value",
        )
    return tokens
