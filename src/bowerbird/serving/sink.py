"""What keeps events, as the server sees it: it is handed one record of each request, once that has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypedDict

from pydantic import Field

from bowerbird.base.config import Config

Mode = Literal["off", "counts", "sampled", "full"]
"""Nothing; of every request what can be counted; of a share of them the texts too; of all of them."""

JOINT = "\n\n"
"""Between the texts of several prompts or choices of one request."""
MOST_CHARACTERS = 100_000
"""Of each text; what is longer is cut."""


class EventSettings(Config):
    """What is kept of requests, beside the mode."""

    share: float = Field(0.1, ge=0, le=1)
    """In the mode `sampled`: of so many answers the texts are kept, chosen by a hash of their id."""
    mask: bool = True
    """E-mail addresses, web addresses and telephone numbers in texts are replaced before anything is written."""
    most_age_days: float | None = Field(90.0, gt=0, le=100_000)
    """Days after which an event is deleted; null keeps all."""
    most_bytes: int | None = Field(1 << 30, ge=1 << 16)
    """Bytes of all events; beyond it the oldest go. Null is no bound."""


class AnsweredRequest(TypedDict):
    """A request and how it was answered; `monitoring.events.Event` says what each of these means."""

    id: str
    time: float
    model: str
    digest: str
    kind: str
    path: str
    owner: str
    session: str
    arm: str
    status: int
    code: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    first_token_seconds: float | None
    settings: Mapping[str, Any]
    prompt: str | None
    output: str | None


class EventSink(Protocol):
    """Keeps records of requests. Whatever happens to them there, no request waits for it or fails by it."""

    @property
    def mode(self) -> Mode: ...

    def wants_text(self, answer_id: str) -> bool:
        """Whether the words of this answer and its prompt are to be in its record."""
        ...

    def record(self, answered: AnsweredRequest) -> None:
        """Take a record. Called on the event loop: it neither blocks nor raises."""
        ...

    def counts(self) -> Mapping[str, int]:
        """Records so far by what became of them: `written`, `dropped` (too many waited), `failed` (to be written)."""
        ...


@dataclass(slots=True)
class Note:
    """What a path tells of its answer, for the record that is made of the request at its end."""

    id: str
    digest: str
    session: str = ""
    finish_reason: str = ""
    first_token_seconds: float | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    prompt: str | None = None
    output: str | None = None
