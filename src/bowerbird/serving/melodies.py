"""`POST /v1/melodies/generations`: tunes as MIDI in base64, or as ABC."""

from __future__ import annotations

import base64
import time
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ConfigDict, Field

from bowerbird.base.config import Config
from bowerbird.data.opening import MOST_CHARACTERS
from bowerbird.data.render.midi import to_midi
from bowerbird.data.tune import parse
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.melody_settings import read_key, read_metre
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.asked import check_text
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.making import MOST_MADE, check_kind, jobs_of
from bowerbird.serving.scheduler import Job


class MelodyBody(Config):
    """The body. Null is as absent."""

    model_config = ConfigDict(strict=True)

    model: str
    prompt: str | None = Field(None, max_length=MOST_CHARACTERS)
    n: int | None = Field(None, ge=1, le=MOST_MADE)
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(None, ge=1)
    min_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    max_tokens: int | None = Field(None, ge=16, le=20_000)
    key: str | None = Field(None, max_length=40)
    metre: str | None = Field(None, max_length=40)
    bars: int | None = Field(None, ge=1, le=1000)
    tempo: float | None = Field(None, ge=10, le=500, allow_inf_nan=False)
    response_format: Literal["b64_json", "abc"] | None = None
    """MIDI in base64, or ABC; both where it is not said."""
    user: str | None = None


_OWN_NAME = {"max_tokens": "length"}
_NOT_OF_THE_REQUEST = ("model", "response_format", "user")


@dataclass(frozen=True)
class Melodies:
    """What one request asks for, as jobs, and the answer once they are done."""

    body: MelodyBody
    request: Any
    jobs: list[Job]

    @classmethod
    def of(cls, body: MelodyBody, model: Model) -> Melodies:
        """Raises BadRequest: the model makes no melodies, or what is asked cannot be made."""
        check_kind(model, body.model, "melody", "no melodies")
        _check(body)
        given = body.model_dump(exclude=set(_NOT_OF_THE_REQUEST), exclude_none=True)
        fields = {_OWN_NAME.get(name, name): given[name] for name in given}
        request, jobs = jobs_of(model, body.prompt or "", fields)
        return cls(body, request, jobs)

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
            "usage": {"prompt_tokens": 0, "completion_tokens": tokens, "total_tokens": tokens},
        }


def _check(body: MelodyBody) -> None:
    for name, value, read in (("key", body.key, read_key), ("metre", body.metre, read_metre)):
        if value is not None:
            check_text(value, name)
            try:
                read(value)
            except ValueError as error:
                raise BadRequest(str(error), param=name, code="invalid_value") from error
