"""An event: one served request as it is kept, with its words only where they are recorded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Arm = Literal["", "live", "challenger", "shadow"]
"""Which version of a model under trial answered; "" where there was no trial."""


@dataclass(frozen=True, slots=True)
class Event:
    """One request and how it was answered.

    Several prompts or choices of one request are one text each here, joined by an empty line (`JOINT`). Of a chat
    the prompt is what the user said since the model's last turn.
    """

    id: str
    """The answer's, as its asker was told; of what has none (pictures, melodies, failures), the request's."""
    time: float
    """When it came, in Unix seconds by the server's clock."""
    model: str
    """The id it was asked for by; "" where there is no such model."""
    digest: str
    """Of the bundle that answered."""
    kind: str
    """text, melody or image."""
    path: str
    """The template, as `/v1/completions`."""
    owner: str = ""
    """The id of the key that asked; "" where there are no keys."""
    session: str = ""
    arm: Arm = ""
    status: int = 200
    """HTTP status; 499: the asker left before it."""
    code: str = ""
    """The word for programs of the error that it ended with, also where a stream had begun; of an asker who left,
    `client_closed_request`."""
    finish_reason: str = ""
    """`stop` or `length`; of choices that ended differently, both with a comma."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0
    """From the request to the last byte of the answer."""
    first_token_seconds: float | None = None
    """From asking for it to its first content, if there was any."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: temperature, top_p, seed and others that were given, `n`, `stream`; of pictures the `label`."""
    prompt: str | None = None
    """None: not recorded."""
    output: str | None = None
    """What was given, also where it was cut off. None: not recorded, or pictures."""
    number: int = 0
    """Its place in the store, rising in the order of writing whatever the clock does; 0: not stored yet."""

    @property
    def failed(self) -> bool:
        """It ended with an error that is not its asker's own leaving."""
        return bool(self.code) and self.code != LEFT


JOINT = "\n\n"
LEFT = "client_closed_request"
