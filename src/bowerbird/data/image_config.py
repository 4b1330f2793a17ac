"""How pictures are made alike: their size, how they are brought to it, and what lies behind what is transparent."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, field_validator

from bowerbird.base.config import Config

SIZES = (16, 32, 64, 128, 256)
"""Sides of the pictures of a dataset, in pixels."""

LARGEST_CHOSEN = 64
"""The largest side that is chosen where none is asked for: what learns in minutes on a processor."""

Fit = Literal["crop", "pad", "squash"]
Colour = tuple[int, int, int]
"""Red, green, blue from 0 to 255."""

COLOURS: dict[str, Colour] = {
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "grey": (128, 128, 128),
    "gray": (128, 128, 128),
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
}


class ImageConfig(Config):
    """How pictures of all sizes and kinds become those of a dataset."""

    size: Literal[16, 32, 64, 128, 256] | None = None
    """The side of the square pictures, in pixels; chosen from the pictures, at most 64, when absent."""
    fit: Fit = "crop"
    """`crop` cuts the middle square out, `pad` adds borders of the background, `squash` changes the shape."""
    alpha: Literal["composite", "keep"] = "composite"
    """What is transparent is laid on the background, or learnt as a fourth channel."""
    colours: Literal["auto", "keep"] = "auto"
    """`auto` stores one channel where all pictures are grey; `keep` stores three all the same."""
    background: str = Field(default="white", min_length=1)
    """A colour: white, black, grey, red, green, blue, yellow or #rrggbb."""
    near_duplicates: bool = True
    """Leaves out pictures that are nearly the same as another."""
    labels: Literal["auto", "none"] = "auto"
    """`auto`: tables give their own labels, and the folders that pictures lie in are their classes."""

    @field_validator("background")
    @classmethod
    def _a_colour(cls, background: str) -> str:
        rgb(background)
        return background


def rgb(colour: str) -> Colour:
    """A name or `#rrggbb` as red, green and blue.

    Raises:
        ValueError: it is neither.
    """
    name = colour.strip().lower()
    if name in COLOURS:
        return COLOURS[name]
    if not re.fullmatch(r"#[0-9a-f]{6}", name):
        raise ValueError(f"a colour is #rrggbb or one of {', '.join(COLOURS)}")
    return int(name[1:3], 16), int(name[3:5], 16), int(name[5:7], 16)
