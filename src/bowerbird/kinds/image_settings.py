"""The settings of an image run and of one request for pictures."""

from __future__ import annotations

from pydantic import Field

from bowerbird.base.config import Config
from bowerbird.base.device import Precision
from bowerbird.learning.adversarial import AdversarialConfig
from bowerbird.models.gan import GANConfig

MOST_FRAMES = 600


class ImageRun(Config):
    """The settings of a run."""

    seed: int = Field(1, ge=0, lt=1 << 63)
    """Of everything random in the run."""
    batch_size: int = Field(32, ge=2)
    """Pictures a step looks at, and as many that it makes."""
    model: GANConfig = GANConfig()
    learner: AdversarialConfig = AdversarialConfig()
    freeze: tuple[str, ...] = ()
    """Parts of the critic that do not learn: beginnings of parameter names."""
    patience: int | None = Field(None, ge=1)
    """Evaluations without a better one before the run ends early; null never ends it."""
    evaluate_every: int | None = Field(None, ge=1)
    """Steps between evaluations; None is a twentieth of the run."""
    device: str | None = None
    """`cpu`, `cuda` or `cuda:N`; null is CUDA where there is one."""
    threads: int | None = Field(None, ge=1)
    """Of the processor; null is all it may use."""
    precision: Precision = "float32"
    """Of products in training; weights stay float32."""


class ImageRequest(Config):
    """One request for pictures."""

    n: int = Field(1, ge=1, le=4096)
    seed: int = Field(0, ge=0, lt=1 << 63)
    """Of the first picture; the next one's is one more."""
    label: str | int | None = None
    """The class, by its name or number; without one each picture is of a class that its seed draws."""
    truncation: float = Field(1.0, gt=0, le=1)
    """Under 1 the noise lies nearer to its mean: pictures are more alike, and more of them are good."""
    to_seed: int | None = Field(None, ge=0, lt=1 << 63)
    """Makes a film of each picture, on the way from its seed to this one."""
    frames: int = Field(24, ge=2, le=MOST_FRAMES)
    """Of a film."""

    @property
    def lead(self) -> str:
        """What is shown before a sample: nothing."""
        return ""
