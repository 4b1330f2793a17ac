"""The answer to a request for text: the samples it asks for, and what is told of them, whole or as they come."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.data.markers import MARKERS
from bowerbird.kinds.kind import Reader
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import FinishReason
from bowerbird.sampling.state import StreamState
from bowerbird.serving.asked import Asked
from bowerbird.serving.errors import BadRequest
from bowerbird.serving.limits import Limits
from bowerbird.serving.logprobs import Noting, Rows, TokenNames
from bowerbird.serving.scheduler import Job
from bowerbird.serving.shapes import Events, Shape
from bowerbird.serving.ticket import Piece


@dataclass(frozen=True)
class Prompt:
    """One prompt as the model reads it."""

    tokens: NDArray[np.int64]
    """(tokens,), from the marker that begins every document, which is ours and not counted."""
    text: str
    """What is told where it is echoed."""
    chat: bool = False
    """It is a turn's: a speaker's marker ends the answer too."""
    turns: tuple[tuple[str, str], ...] = ()
    """(role, words) of a chat, as they were asked."""


@dataclass
class Choice:
    """One sample as it grows."""

    echo: str
    read: list[int]
    """The tokens of the prompt, where theirs are told."""
    rows: Rows | None = None
    noted: list[int] = field(default_factory=list)
    """The tokens made, where log-probabilities are told; it may be ahead of those."""
    parts: list[str] = field(default_factory=list)
    begun: bool = False
    """Something of it was told in a stream."""
    length: int = 0
    """Characters given out, the echo's included."""
    tokens: int = 0
    finished: FinishReason | None = None
    state: StreamState | None = None

    @property
    def text(self) -> str:
        return "".join(self.parts)


class Answer:
    """What is asked of a model, as jobs for the engine, and how it is told.

    Encodes nothing, but is heavy for many samples: make it beside the event loop.

    Args:
        asked: what to make.
        prompts: what each `asked.n` choices go on from.
        model: who makes it.
        shape: how the path tells it.
        limits: what a prompt may have.
        start: what the model remembers, where a session goes on; the prompt is read after it.
        keeps_text: what was told is still to be had at the end; always so where it is told whole.

    Raises:
        BadRequest: a prompt is too long, or a bias is for a token that the model does not have.
    """

    def __init__(
        self,
        asked: Asked,
        prompts: Sequence[Prompt],
        model: Model,
        shape: Shape,
        limits: Limits,
        start: StreamState | None = None,
        keeps_text: bool = False,
    ):
        _check_bias(asked, model)
        self.asked = asked
        self.shape = shape
        self.digest = model.digest
        self.names = TokenNames(model.codec)
        cut_in_session = asked.session is not None and bool(asked.fields["stop"])
        self.keeps_text = keeps_text or cut_in_session or not asked.stream or asked.best_of > asked.n
        self.prompts = prompts
        self.prompt_tokens = sum(len(prompt.tokens) - 1 for prompt in prompts)
        self.jobs: list[Job] = []
        self.choices: list[Choice] = []
        for prompt in prompts:
            limits.check_prompt(len(prompt.tokens) - 1, shape.prompt)
            self._ask(prompt, model, start)
        self.head = {
            "id": f"{shape.prefix}{secrets.token_hex(12)}",
            "object": shape.whole,
            "created": int(time.time()),
            "model": asked.model,
            "system_fingerprint": f"bb_{model.digest.rpartition(':')[2][:12]}",
        }
        self.events = Events(shape, self.head, asked.include_usage)

    def _ask(self, prompt: Prompt, model: Model, start: StreamState | None) -> None:
        """Add the jobs and choices of one prompt."""
        asked = self.asked
        request: Any = model.request(**asked.fields)
        content = model.kind.encode_request(model, request, 0)
        tells_prompt = asked.echo and asked.logprobs is not None
        changes: dict[str, Any] = {
            "prompt": prompt.tokens if start is None else prompt.tokens[1:],
            "length": asked.tokens,
            "logprobs": 0 if asked.logprobs is None and asked.best_of > asked.n else asked.logprobs,
            "prompt_logprobs": tells_prompt,
            "start": start,
            "keep_state": asked.session is not None,
        }
        if prompt.chat:
            changes["ends"] = content.ends | frozenset(range(len(MARKERS)))
        content = replace(content, **changes)
        echo = prompt.text if asked.echo else ""
        read = content.prompt.tolist() if tells_prompt else []
        for index in range(asked.best_of):
            reader: Reader = model.kind.read(model, request)
            choice = Choice(echo, read, length=len(echo))
            if content.logprobs is not None:
                reader = noting = Noting(reader)
                choice.noted, choice.rows = noting.tokens, Rows(model.codec, len(echo))
            if asked.tokens or tells_prompt or content.keep_state:
                self.jobs.append(Job(replace(content, seed=request.seed + index), reader))
            else:
                choice.finished = "length"  # there is nothing to make, nor to learn from reading
            self.choices.append(choice)

    @property
    def id(self) -> str:
        return str(self.head["id"])

    def take(self, piece: Piece) -> None:
        """Add what came of one sample."""
        choice = self.choices[piece.index]
        choice.finished, choice.state = piece.finished, piece.state
        if choice.rows is not None and piece.prompt_logprobs is not None:
            choice.rows.read(choice.read, piece.prompt_logprobs)
        choice.tokens += piece.tokens
        choice.length += len(piece.text)
        if self.keeps_text:
            choice.parts.append(piece.text)
        if choice.rows is not None and piece.logprobs is not None:
            first = choice.rows.count
            choice.rows.add(choice.noted[first : first + len(piece.logprobs)], piece.logprobs)

    def event(self, piece: Piece) -> bytes:
        """What is told of a piece as it comes; the first of a choice carries the echo."""
        choice = self.choices[piece.index]
        self.take(piece)
        text, begin = piece.text, b""
        if not choice.begun:
            choice.begun, begin, text = True, self.events.begin(piece.index), choice.echo + text
        return begin + self.events.part(piece.index, text, choice.finished, self._logprobs(choice))

    def given(self) -> Iterator[Choice]:
        """Of each prompt's samples the likeliest, as many as were asked for."""
        asked = self.asked
        for first in range(0, len(self.choices), asked.best_of):
            made = self.choices[first : first + asked.best_of]
            if asked.best_of > asked.n:
                likeliest = sorted(made, key=lambda choice: -choice.rows.mean if choice.rows else 0.0)
                made = likeliest[: asked.n]
            yield from made

    def whole(self) -> dict[str, Any]:
        """The answer at once, when all samples have ended."""
        choices = [
            {
                "index": index,
                **self.shape.text(choice.echo + choice.text),
                "logprobs": self._logprobs(choice),
                "finish_reason": choice.finished,
            }
            for index, choice in enumerate(self.given())
        ]
        return {**self.head, "choices": choices, "usage": self.usage()}

    def whole_events(self) -> bytes:
        """As `whole`, as events: of the best of several, none can be told before all are made."""
        return b"".join(
            self.events.begin(index)
            + self.events.part(index, choice.echo + choice.text, choice.finished, self._logprobs(choice))
            for index, choice in enumerate(self.given())
        )

    def usage(self) -> dict[str, int]:
        made = sum(choice.tokens for choice in self.choices)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": made,
            "total_tokens": self.prompt_tokens + made,
        }

    def _logprobs(self, choice: Choice) -> dict[str, Any] | None:
        if choice.rows is None or self.asked.logprobs is None:
            return None
        rows = choice.rows.told(choice.length, choice.finished is not None)
        return self.shape.logprobs(self.names, rows)


def _check_bias(asked: Asked, model: Model) -> None:
    size, wrong = model.codec.vocab_size, max(asked.fields["logit_bias"], default=0)
    if wrong >= size:
        raise BadRequest(
            f"`logit_bias` names token {wrong}; this model has 0 to {size - 1}",
            param="logit_bias",
            code="invalid_value",
        )
