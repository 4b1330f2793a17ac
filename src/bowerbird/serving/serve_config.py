"""The settings of `serve` beyond its named options."""

from __future__ import annotations

from bowerbird.base.config import Config
from bowerbird.serving.limits import LIMITS, Limits
from bowerbird.serving.session_cache import BOUNDS, Bounds
from bowerbird.serving.sink import EventSettings


class ServeConfig(Config):
    """What `serve --set` changes."""

    limits: Limits = LIMITS
    sessions: Bounds = BOUNDS
    events: EventSettings = EventSettings()
