"""What the engine knows of a request and of each of its samples while they are made."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bowerbird.kinds.kind import Reader
from bowerbird.sampling.logprobs import TokenLogprobs, joined
from bowerbird.sampling.request import TokenRequest
from bowerbird.sampling.session import Chunk, FinishReason
from bowerbird.sampling.state import StreamState
from bowerbird.serving.ticket import Piece, Ticket

FEW_STREAMS = 16
"""Up to so many, each turn's content is told at once."""
HOLD_SECONDS = 0.002
"""Where more run, content is held back so long times their number: telling a piece costs as much as many tokens."""
MOST_HOLD_SECONDS = 0.25


@dataclass(eq=False)
class Request:
    """A ticket, and those of its samples that have not ended."""

    ticket: Ticket
    owner: str
    """Of its asker's key; empty where there are no keys."""
    asked_at: float
    deadline: float | None
    """Both on the monotonic clock, in seconds; None is no limit."""
    live: dict[int, Sample] = field(default_factory=dict)
    """By their index, those that wait for a slot included."""
    parked_at: float = 0.0


@dataclass(eq=False, slots=True)
class Sample:
    """One thing being made, and what of it is held back."""

    request: Request
    index: int
    content: Any
    """What its session admits."""
    reader: Reader
    slot: int | None = None
    started: bool = False
    """It has, or has had, a slot."""
    begun: bool = False
    """Some of it has been told."""
    made: int = 0
    """Tokens in all."""
    text: str = ""
    tokens: int = 0
    """Both of what is held back."""
    state: StreamState | None = None
    """At its end, where it is kept."""
    _held_since: float = 0.0
    _logprobs: list[TokenLogprobs] = field(default_factory=list)
    _prompt_logprobs: TokenLogprobs | None = None

    @property
    def alive(self) -> bool:
        """It has not ended, nor has its request."""
        return self.index in self.request.live

    @property
    def keeps_state(self) -> bool:
        return isinstance(self.content, TokenRequest) and self.content.keep_state

    def read(self, chunk: Chunk, now: float) -> FinishReason | None:
        """Take in what a step made of it, held back until `piece`; why it ends if it does."""
        text, finished = self.reader.push(chunk.content, chunk.finished)
        count = len(chunk.content) - self.reader.unread
        self.made += count
        self.tokens += count
        if text:
            self._held_since = self._held_since if self.text else now
            self.text += text
        self.state = chunk.state
        self._prompt_logprobs = self._prompt_logprobs or chunk.prompt_logprobs
        if chunk.logprobs is not None:
            self._logprobs.append(_first(chunk.logprobs, count))
        return finished

    def is_due(self, now: float, hold: float) -> bool:
        """Whether what is held back is told now: the first at once, the rest once it was held for so many seconds."""
        return bool(self.text) and (not self.begun or now - self._held_since >= hold)

    def piece(self, finished: FinishReason | None) -> Piece:
        """What is held back, which then is no longer."""
        logprobs = joined(self._logprobs) if self._logprobs else None
        state = self.state if finished else None
        piece = Piece(self.index, self.text, self.tokens, finished, logprobs, self._prompt_logprobs, state)
        self.begun = True
        self.text, self.tokens = "", 0
        self._logprobs, self._prompt_logprobs = [], None
        return piece


def hold_seconds(streams: int) -> float:
    """How long content is held back where so many streams run."""
    return 0.0 if streams <= FEW_STREAMS else min(HOLD_SECONDS * streams, MOST_HOLD_SECONDS)


def _first(logprobs: TokenLogprobs, count: int) -> TokenLogprobs:
    return TokenLogprobs(logprobs.chosen[:count], logprobs.top_tokens[:count], logprobs.top[:count])
