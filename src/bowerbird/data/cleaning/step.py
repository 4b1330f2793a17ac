"""What a cleaning step is, and the settings of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from pydantic import Field, field_validator

from bowerbird.base.config import Config
from bowerbird.data.item import Item, Rejected
from bowerbird.data.normaliser import Normaliser

Private = Literal["email", "url", "phone"]


class CleanConfig(Config):
    """What is done to a text between its source and the dataset. By default, as little as possible."""

    repair: bool = True
    """Mend text that was decoded with the wrong encoding once ("cafÃ©")."""
    gutenberg: bool = True
    """Remove Project Gutenberg's header and licence."""
    mask: tuple[Private, ...] = ()
    """Private data to replace by `<email>`, `<url>`, `<phone>`."""
    squeeze: bool = False
    """Make one of several spaces, and at most two line ends of several; strip the ends of lines."""
    min_characters: int = Field(default=1, ge=1)
    """Documents with fewer characters are left out."""
    near_duplicates: bool = True
    """Leave out documents that are nearly the same as an earlier one; exact copies always are."""
    similarity: float = Field(default=0.8, gt=0, le=1)
    """From which share of common passages (Jaccard, estimated) two documents are nearly the same."""

    @field_validator("mask", mode="before")
    @classmethod
    def _split_words(cls, value: Any) -> Any:
        return (
            [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )


Step = Callable[[Item], Item | Rejected]
"""Takes an item, or one piece of a long document, and returns it cleaned or says why it is not used."""

Builder = Callable[[CleanConfig, Normaliser], Step | None]
"""Makes a step from the settings; None where they switch it off."""


def chain(steps: list[Step]) -> Step:
    """One step that does several in order and stops at the first refusal."""

    def run(item: Item) -> Item | Rejected:
        for step in steps:
            result = step(item)
            if isinstance(result, Rejected):
                return result
            item = result
        return item

    return run
