"""The settings of preparing a dataset, of whatever kind."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.data.cleaning.step import CleanConfig
from bowerbird.data.codecs import CodecConfig
from bowerbird.data.image_config import ImageConfig
from bowerbird.data.normaliser import Normaliser
from bowerbird.data.sources.source import GatherConfig
from bowerbird.data.split import SplitConfig

Progress = Callable[[str, int], None]
"""Told the stage (gather, duplicates, codec, encode) and how many items or documents it has done."""


class PrepareConfig(Config):
    """Everything about how a dataset is made. It is written into the dataset."""

    seed: int = Field(default=1, ge=0)
    """Of the split, and of the order in which documents are learnt from."""
    gather: GatherConfig = Field(default_factory=GatherConfig)
    clean: CleanConfig = Field(default_factory=CleanConfig)
    normalise: Normaliser = Field(default_factory=Normaliser)
    split: SplitConfig = Field(default_factory=SplitConfig)
    codec: CodecConfig = Field(default_factory=CodecConfig)
    image: ImageConfig = Field(default_factory=ImageConfig)
    """Of pictures only."""
