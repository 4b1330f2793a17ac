"""A small convolutional network whose pooled layers describe a picture: the features that samples are judged by.

B pictures, C channels, R their side in pixels, F features. What it is trained to put out (class logits, or a
projection to compare views by) serves training alone; the features are the means of its last two stages.
"""

from __future__ import annotations

from typing import Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from bowerbird.base.config import Config


class ExtractorConfig(Config):
    """The shape of the network."""

    resolution: int = Field(ge=8, le=1024)
    """Side of a picture in pixels."""
    channels: int = Field(ge=1, le=4)
    outputs: int = Field(ge=2)
    """Classes, or numbers of a projection."""
    head: Literal["linear", "projection"] = "linear"
    """One layer, or two with a nonlinearity between them (Chen et al. 2020, arXiv:2002.05709, section 2.1)."""
    width: int = Field(24, ge=4, le=512)
    """Channels of the first stage; the second has twice as many, the rest four times."""


class FeatureNetwork(nn.Module):
    """Stages of two 3x3 convolutions, each stage at half the resolution of the one before, down to 4 to 7 pixels."""

    centre: Tensor
    scale: Tensor

    def __init__(self, config: ExtractorConfig):
        super().__init__()
        self.config = config
        widths = stage_widths(config)
        # Above 16 pixels the first convolution strides too, for the time of a step is spent at the top.
        first = 2 if config.resolution > 16 else 1
        inputs = [config.channels, *widths[:-1]]
        self.stages = nn.ModuleList(
            nn.Sequential(*_convolution(given, width, first if not at else 2), *_convolution(width, width, 1))
            for at, (given, width) in enumerate(zip(inputs, widths, strict=True))
        )
        size = feature_size(config)
        self.head = (
            nn.Linear(size, config.outputs)
            if config.head == "linear"
            else nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, config.outputs))
        )
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("scale", torch.ones(()))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def pooled(self, images_BCRR: Tensor) -> Tensor:
        """(B, F) means over the places of the last two stages. Pictures are in -1 to 1."""
        x, kept = images_BCRR, []
        for stage in self.stages:
            x = stage(x)
            kept.append(x.mean((2, 3)))
        return torch.cat(kept[-2:], dim=1)

    def forward(self, images_BCRR: Tensor) -> Tensor:
        """(B, outputs)."""
        return cast(Tensor, self.head(self.pooled(images_BCRR)))

    def features(self, images_BCRR: Tensor) -> Tensor:
        """(B, F) in the units of `settle`."""
        return (self.pooled(images_BCRR) - self.centre) * self.scale

    @torch.no_grad()
    def settle(self, pooled_NF: Tensor, variance: float) -> None:
        """Choose centre and scale so that these features have mean 0 and this variance, all features together."""
        wide_NF = pooled_NF.double()
        total = float(wide_NF.var(0, correction=0).sum())
        self.centre.copy_(wide_NF.mean(0))
        self.scale.fill_((variance / total) ** 0.5 if total > 0 else 1.0)


def stage_widths(config: ExtractorConfig) -> list[int]:
    """Channels of each stage, from the largest resolution to the smallest."""
    side = (config.resolution + 1) // 2 if config.resolution > 16 else config.resolution
    halvings = max(1, side.bit_length() - 3)
    return [config.width * min(4, 1 << stage) for stage in range(halvings + 1)]


def feature_size(config: ExtractorConfig) -> int:
    """F."""
    return sum(stage_widths(config)[-2:])


def _convolution(given: int, width: int, stride: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(given, width, 3, stride, 1, bias=False),
        nn.BatchNorm2d(width),
        nn.LeakyReLU(0.1),
    )
