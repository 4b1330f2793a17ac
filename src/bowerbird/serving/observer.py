"""Who is told what the engine does, for metrics: a few calls for each sample and one for each turn, none a token."""

from __future__ import annotations

from typing import Literal, Protocol

from bowerbird.sampling.session import FinishReason

EndReason = FinishReason | Literal["cancelled"]
"""`cancelled`: its asker has left, or another sample of its request failed."""


class Observer(Protocol):
    """Every sample is `queued` once, and ends once: by `ended`, or by `failed`.

    A request that fails does so in one of its samples; the others end as `cancelled`. All times are seconds.
    Calls come from the engine's thread, after what they tell of was handed over, except `queued`, which comes
    from the asker's; they must be quick, for the engine waits.
    """

    def queued(self, model_id: str, owner: str) -> None:
        """A sample waits for a slot."""
        ...

    def started(self, model_id: str, waited_seconds: float) -> None:
        """It has got one, and its prompt is read."""
        ...

    def first_token(self, model_id: str, seconds: float) -> None:
        """Its first content is made, so long after it was asked for."""
        ...

    def stepped(self, model_id: str, streams: int, tokens: int, seconds: float) -> None:
        """A model took a turn: so many samples in slots got so many tokens; admission counts as time."""
        ...

    def ended(self, model_id: str, reason: EndReason, tokens: int, seconds: float) -> None:
        """It has ended, with all its tokens, so long after it was asked for."""
        ...

    def failed(self, model_id: str, error_code: str) -> None:
        """It has ended, and its request with it, by an error of this `code`."""
        ...


class NullObserver:
    """An `Observer` that takes no notice."""

    def queued(self, model_id: str, owner: str) -> None: ...

    def started(self, model_id: str, waited_seconds: float) -> None: ...

    def first_token(self, model_id: str, seconds: float) -> None: ...

    def stepped(self, model_id: str, streams: int, tokens: int, seconds: float) -> None: ...

    def ended(self, model_id: str, reason: EndReason, tokens: int, seconds: float) -> None: ...

    def failed(self, model_id: str, error_code: str) -> None: ...
