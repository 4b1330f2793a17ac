"""What a challenger must show before it takes the live version's place. A file of this is standing consent."""

from __future__ import annotations

from pydantic import Field

from bowerbird.base.config import Config


class Policy(Config):
    """Margins of the gates, and how much traffic a trial takes."""

    margin: float = Field(0.02, ge=0, lt=1)
    """How much worse it may be on what the live version learnt from, as a share of the live version's score."""
    least_gain: float = Field(0.0, ge=0)
    """By how much it must be better on the new data, in the score's unit, beyond chance."""
    novelty_margin: float = Field(0.05, ge=0, le=1)
    """How much larger the share that it copies from its training data may be."""
    least_requests: int = Field(200, ge=1)
    """Answered by each of the two before a trial is judged."""
    least_hours: float = Field(1.0, ge=0)
    """That a trial lasts at least."""
    most_hours: float = Field(168.0, gt=0)
    """After which a trial that has seen too little ends, and the live version stays."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """Chance at most to find a challenger worse that is as good, all tests of a trial together."""


POLICY = Policy()
