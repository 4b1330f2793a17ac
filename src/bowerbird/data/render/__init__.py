"""The shelf of formats: the files that a tune can be made into."""

from __future__ import annotations

from collections.abc import Callable

from bowerbird.base.shelf import Shelf
from bowerbird.data.render.abc import to_abc
from bowerbird.data.render.audio import to_wav
from bowerbird.data.render.midi import to_midi
from bowerbird.data.render.picture import to_png
from bowerbird.data.tune import Tune

Format = Callable[[Tune, str, float], bytes]
"""From a tune, its title, and a tempo in quarter notes a minute, to what a file holds."""

FORMATS: Shelf[Format] = Shelf(
    "format",
    mid=lambda tune, title, tempo: to_midi(tune, tempo),
    abc=lambda tune, title, tempo: to_abc(tune, title, tempo=tempo).encode(),
    wav=lambda tune, title, tempo: to_wav(tune, tempo),
    png=lambda tune, title, tempo: to_png(tune),
)


def render(tune: Tune, suffix: str, *, title: str = "", tempo: float = 120) -> bytes:
    """What a file of this suffix holds; `mid` and `.mid` are the same.

    Raises:
        UnknownName: there is no such format.
        UsageError: the tempo is beyond what can be played, or the sound would be too long.
    """
    return FORMATS[suffix.removeprefix(".").lower()](tune, title, tempo)
