"""The settings of `serve` beyond its named options."""

from __future__ import annotations

from bowerbird.base.config import Config
from bowerbird.serving.limits import LIMITS, Limits


class ServeConfig(Config):
    """What `serve --set` changes."""

    limits: Limits = LIMITS
