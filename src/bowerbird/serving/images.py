"""`POST /v1/images/generations`: pictures as PNG in base64, in OpenAI's shape."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from bowerbird.base.config import Config
from bowerbird.data.render.pictures import to_png
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.making import MOST_MADE, check_kind, jobs_of
from bowerbird.serving.scheduler import Job

MOST_PROMPT_CHARACTERS = 1_000
_SIZE = re.compile(r"(\d{1,5})x(\d{1,5})")


class ImageBody(Config):
    """The body. Null is as absent."""

    model_config = ConfigDict(strict=True)

    model: str
    prompt: str | None = Field(None, max_length=MOST_PROMPT_CHARACTERS)
    """The name of a class, or nothing: the model knows no other words."""
    n: int | None = Field(None, ge=1, le=MOST_MADE)
    size: str | None = Field(None, max_length=20)
    """As `32x32`, which must be the model's own; `auto` is that."""
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    seed: int | None = Field(None, ge=0, lt=1 << 63)
    truncation: float | None = Field(None, gt=0, le=1, allow_inf_nan=False)
    user: str | None = None


@dataclass(frozen=True)
class Images:
    """What one request asks for, as jobs, and the answer once they are done."""

    body: ImageBody
    model: Model
    request: Any
    jobs: list[Job]
    prompt_tokens: ClassVar[int] = 0
    """A name is not read as tokens."""

    @classmethod
    def of(cls, body: ImageBody, model: Model) -> Images:
        """Raises BadRequest: the model makes no pictures, none of this size, or none of this class."""
        check_kind(model, body.model, "image", "no pictures")
        _check_size(body.size, model)
        label = (body.prompt or "").strip()
        given = body.model_dump(include={"n", "seed", "truncation"}, exclude_none=True)
        request, jobs = jobs_of(model, label, {**given, "label": label or None})
        return cls(body, model, request, jobs)

    def whole(self, texts: list[str], ends: list[FinishReason | None], tokens: int) -> dict[str, Any]:
        """The answer; of pictures there is no text to tell, and nothing is counted."""
        data = []
        for index, job in enumerate(self.jobs):
            about = self.model.kind.about(self.model, self.request, index)
            content = to_png(job.reader.content, about)
            data.append({"b64_json": base64.b64encode(content).decode(), "seed": self.request.seed + index})
        return {"created": int(time.time()), "data": data}


def _check_size(size: str | None, model: Model) -> None:
    if size is None or size == "auto":
        return
    side = model.bundle.manifest["config"]["model"]["resolution"]
    asked = _SIZE.fullmatch(size)
    if asked is None or (int(asked[1]), int(asked[2])) != (side, side):
        raise BadRequest(
            f"this model makes pictures of {side}x{side} only", param="size", code="invalid_value"
        )
