"""What a session is: a name, where it came from, a state, and points that it can be taken back to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.sampling.state import StreamState
from bowerbird.serving.errors import BadRequest

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
"""Of sessions and points: safe in a path as it is."""

Key = tuple[str, str]
"""(owner, name): each owner's names are its own."""


class PointAbout(Config):
    """A place in a session that it can be taken back to."""

    tokens: int
    """Read up to here."""
    characters: int
    created: float
    """In seconds since 1970, as all times here."""


class About(Config):
    """What is known of a session without its states."""

    name: str
    owner: str
    """The id of the key that made it; empty where there are no keys."""
    model: str
    """The id it was asked for by."""
    digest: str
    """Of that model's bundle: no other model can go on from here."""
    created: float
    used: float
    tokens: int = 0
    """Read since it began, prompts and answers."""
    characters: int = 0
    bytes: int = 0
    """Of its state and those of its points."""
    points: dict[str, PointAbout] = Field(default_factory=dict)

    @property
    def key(self) -> Key:
        return self.owner, self.name


@dataclass(frozen=True)
class Session:
    """A session with its states; never changed, only replaced."""

    about: About
    state: StreamState
    points: Mapping[str, StreamState]
    """By name, as in `about.points`."""

    @classmethod
    def of(cls, about: About, state: StreamState, points: Mapping[str, StreamState]) -> Session:
        """With what `about` tells of states counted anew."""
        size = sum(each.nbytes for each in (state, *points.values()))
        return cls(about.model_copy(update={"tokens": state.read, "bytes": size}), state, points)


def checked_name(name: str, param: str) -> str:
    """Raises BadRequest: this cannot be the name of a session or point."""
    if not re.fullmatch(NAME_PATTERN, name):
        raise BadRequest(
            "a name has up to 100 letters, digits and . _ -, and begins with a letter or digit",
            param=param,
            code="invalid_value",
        )
    return name
