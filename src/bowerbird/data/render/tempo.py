"""What a tempo may be."""

from __future__ import annotations

from bowerbird.base.errors import UsageError

SLOWEST, FASTEST = 10, 1000


def check_tempo(tempo: float) -> None:
    """Raises UsageError for a tempo, in quarter notes a minute, that files cannot say."""
    if not SLOWEST <= tempo <= FASTEST:
        raise UsageError(
            f"a tempo of {tempo:g} cannot be played",
            hint=f"choose from {SLOWEST} to {FASTEST} quarter notes a minute",
        )
