"""What the paths have in common that make things: that the model makes these at all, and a job for each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bowerbird.base.errors import DataError, UsageError
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import FinishReason
from bowerbird.serving.asked import check_text
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.scheduler import Job
from bowerbird.serving.ticket import Piece

MOST_MADE = 256
"""Melodies or pictures of one request."""


class Gathering:
    """Takes the pieces of so many samples, until they are told whole."""

    def __init__(self, samples: int):
        self.tokens = 0
        """Of all samples so far."""
        self._texts: list[list[str]] = [[] for _ in range(samples)]
        self._ends: list[FinishReason | None] = [None] * samples

    def take(self, piece: Piece) -> None:
        self._texts[piece.index].append(piece.text)
        self._ends[piece.index] = piece.finished
        self.tokens += piece.tokens

    def made(self) -> tuple[list[str], list[FinishReason | None], int]:
        """Each sample's text and why it ended, and the tokens of all."""
        return ["".join(parts) for parts in self._texts], self._ends, self.tokens


def check_kind(model: Model, name: str, kind: str, otherwise: str) -> None:
    """Refuse what a model of another kind is asked for; `otherwise` says what it does not make.

    Raises:
        BadRequest: about the field `model`.
    """
    if model.kind.name != kind:
        raise BadRequest(
            f"`{name}` makes {model.kind.name}, {otherwise}", param="model", code="invalid_value"
        )


def jobs_of(model: Model, prompt: str, fields: Mapping[str, Any]) -> tuple[Any, list[Job]]:
    """The kind's request with these fields, and a job for each of its `n`; `prompt` is what was written.

    Raises:
        BadRequest: about the field `prompt`: what is asked cannot be made.
    """
    check_text(prompt, "prompt")
    try:
        request: Any = model.request(**fields)
        contents = [model.kind.encode_request(model, request, index) for index in range(request.n)]
    except (UsageError, DataError) as error:
        hint = f" ({error.hint})" if error.hint else ""
        raise BadRequest(f"{error.what}{hint}", param="prompt", code="invalid_value") from error
    return request, [Job(content, model.kind.read(model, request)) for content in contents]
