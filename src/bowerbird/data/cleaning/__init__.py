"""The shelf of cleaning steps, in the order in which they are done."""

from __future__ import annotations

from bowerbird.base.shelf import Shelf
from bowerbird.data.cleaning import (
    characters,
    gutenberg,
    mask,
    normalise,
    repair,
    too_short,
    whitespace,
)
from bowerbird.data.cleaning.step import Builder

STEPS: Shelf[Builder] = Shelf(
    "cleaning step",
    repair=repair.build,
    gutenberg=gutenberg.build,
    characters=characters.build,
    normalise=normalise.build,
    mask=mask.build,
    whitespace=whitespace.build,
    too_short=too_short.build,
)
