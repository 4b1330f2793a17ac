"""The settings of a text run and of one request for text."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.base.device import Precision
from bowerbird.learning.optimizers import OptimizerConfig
from bowerbird.models.rnn import RNNConfig


class MixConfig(Config):
    """Old data read beside the new in fine-tuning, against forgetting."""

    dataset: str | None = None
    """Its folder; it must be in the model's codec."""
    share: float = Field(0.25, ge=0, lt=1)
    """Share of each batch's rows that read the old data."""


class TextRun(Config):
    """The settings of a run."""

    seed: int = Field(1, ge=0, lt=1 << 63)
    """Of everything random in the run."""
    batch_size: int = Field(32, ge=1)
    """Rows, each a stream of its own through the text."""
    length: int = Field(64, ge=1)
    """Tokens a row reads in one step, and as far back as gradients reach; the state goes on."""
    model: RNNConfig = RNNConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    mix: MixConfig = MixConfig()
    freeze: tuple[str, ...] = ()
    """Parts that do not learn: beginnings of parameter names, as `embedding` or `cells.0`."""
    patience: int | None = Field(8, ge=1)
    """Evaluations without a better one before the run ends early; null never ends it."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between evaluations; None is a twentieth of the run."""
    device: str | None = None
    """`cpu`, `cuda` or `cuda:N`; null is CUDA where there is one."""
    threads: int | None = Field(None, ge=1)
    """Of the processor; null is all it may use."""
    precision: Precision = "float32"
    """Of products in training; weights and state stay float32."""


class SampledRequest(Config):
    """What is asked of whatever is sampled token by token."""

    prompt: str = ""
    n: int = Field(1, ge=1, le=4096)
    length: int
    """The most tokens to make."""
    temperature: float = Field(1.0, ge=0, le=10)
    top_k: int | None = Field(None, ge=1)
    top_p: float | None = Field(None, gt=0, le=1)
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float = Field(1.0, gt=0, le=10)
    seed: int = Field(0, ge=0, lt=1 << 63)


class TextRequest(SampledRequest):
    """One request for text."""

    length: int = Field(400, ge=1, le=1_000_000)
    temperature: float = Field(0.8, ge=0, le=10)
    frequency_penalty: float = Field(0.0, ge=-2, le=2)
    """Taken from a token's logit for each time that it was made."""
    presence_penalty: float = Field(0.0, ge=-2, le=2)
    """Taken from a token's logit once it was made."""
    logit_bias: dict[Annotated[int, Field(ge=0)], Annotated[float, Field(ge=-100, le=100)]] = Field(
        default_factory=dict
    )
    """Added to tokens' logits, by token."""
    stop: tuple[str, ...] = ()

    @property
    def lead(self) -> str:
        """What is shown before a sample."""
        return self.prompt
