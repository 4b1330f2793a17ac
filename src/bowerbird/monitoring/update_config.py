"""The settings of an update beyond its named options."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.data.split import SplitConfig
from bowerbird.monitoring.policy import POLICY, Policy
from bowerbird.monitoring.sieve import GatherRules
from bowerbird.runs.judging import JudgeConfig


class UpdateConfig(Config):
    """What `update --set` changes."""

    gather: GatherRules = GatherRules()
    split: SplitConfig = SplitConfig(valid=0.1, test=0.2)
    """Of the new data."""
    mix: float = Field(0.5, ge=0, lt=1)
    """Share of each batch that is read from what the live version learnt from, against forgetting."""
    finetune: dict[str, Any] = Field(default_factory=dict)
    """Settings of the fine-tuning, as `finetune.optimizer.learning_rate=0.001`."""
    judge: JudgeConfig = JudgeConfig()
    policy: Policy = POLICY
    every_seconds: float = Field(600.0, gt=0)
    """With `--watch`, from one look to the next."""


UPDATE_CONFIG = UpdateConfig()
