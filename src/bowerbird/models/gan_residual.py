"""Residual networks without normalisation, as R3GAN has them (Huang et al. 2024, arXiv:2501.05441, section 4).

B pictures, Z latent numbers, C channels, R pixels a side, F features. The last layer of each block begins
at zero and the others are scaled down by how many blocks there are (Fixup: Zhang et al. 2019,
arXiv:1901.09321), which keeps the sizes of activations without normalising them. Grouped 3 x 3
convolutions do the work between two 1 x 1 ones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2
"""Of the leaky rectifier, below zero."""
GAIN = math.sqrt(2 / (1 + SLOPE**2))
"""Keeps the variance through a layer and its rectifier (He et al. 2015, arXiv:1502.01852)."""
BLOCKS = 2
"""Residual blocks at each resolution."""
GROUP = 16
"""Channels of a group in the grouped convolutions."""

Layer = TypeVar("Layer", nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def scaled(layer: Layer, gain: float, inputs: int) -> Layer:
    """The layer with weights of variance gain^2 / inputs, where `inputs` numbers add up to one, and no bias."""
    nn.init.normal_(layer.weight, std=gain / math.sqrt(inputs))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class ResidualGenerator(nn.Module):
    """(B, Z) -> (B, C, R, R), of any size. `widths` are the channels at 4 x 4, 8 x 8 ... R x R."""

    def __init__(self, inputs: int, widths: Sequence[int], channels: int):
        super().__init__()
        self.basis = nn.Parameter(torch.randn(1, widths[0], 4, 4))
        self.start = scaled(nn.Linear(inputs, widths[0], bias=False), 1.0, inputs)
        self.stages = nn.ModuleList(_stage(width, len(widths)) for width in widths)
        self.between = nn.ModuleList(_pointwise(low, high) for low, high in itertools.pairwise(widths))
        self.colours = scaled(nn.Conv2d(widths[-1], channels, 1), 1.0, widths[-1])

    def forward(self, z_BZ: Tensor) -> Tensor:
        x = self.basis * self.start(z_BZ)[:, :, None, None]
        x = self.stages[0](x.contiguous(memory_format=torch.channels_last))
        for between, stage in zip(self.between, self.stages[1:], strict=True):
            x = stage(F.interpolate(between(x), scale_factor=2, mode="bilinear", align_corners=False))
        colours: Tensor = self.colours(x)
        return colours


class ResidualCritic(nn.Module):
    """(B, C, R, R) -> (B, F). `widths` are the channels at R x R ... 4 x 4; F is the last of them."""

    def __init__(self, widths: Sequence[int], channels: int):
        super().__init__()
        self.features = widths[-1]
        self.start = scaled(nn.Conv2d(channels, widths[0], 1), 1.0, channels)
        self.stages = nn.ModuleList(_stage(width, len(widths)) for width in widths)
        self.between = nn.ModuleList(_pointwise(high, low) for high, low in itertools.pairwise(widths))
        self.basis = scaled(nn.Conv2d(widths[-1], widths[-1], 4, groups=widths[-1], bias=False), 1.0, 16)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages[0](self.start(images))
        for between, stage in zip(self.between, self.stages[1:], strict=True):
            x = stage(between(F.avg_pool2d(x, 2)))  # half the size, bilinear, is the mean of each four
        basis: Tensor = self.basis(x)
        return basis.flatten(1)


class Block(nn.Module):
    """Adds to its input: 1 x 1 to twice the channels, grouped 3 x 3, 1 x 1 back."""

    def __init__(self, width: int, blocks: int):
        super().__init__()
        wide = 2 * width
        groups = next(count for count in range(max(1, wide // GROUP), 0, -1) if wide % count == 0)
        gain = GAIN * blocks**-0.25  # three layers: the power is -1 / (2 * 3 - 2)
        self.widen = scaled(nn.Conv2d(width, wide, 1), gain, width)
        self.mix = scaled(nn.Conv2d(wide, wide, 3, padding=1, groups=groups), gain, wide // groups * 9)
        self.narrow = scaled(nn.Conv2d(wide, width, 1, bias=False), 0.0, wide)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.leaky_relu(self.mix(F.leaky_relu(self.widen(x), SLOPE)), SLOPE)
        change: Tensor = self.narrow(inner)
        return x + change


def _stage(width: int, stages: int) -> nn.Module:
    return nn.Sequential(*(Block(width, BLOCKS * stages) for _ in range(BLOCKS)))


def _pointwise(inputs: int, outputs: int) -> nn.Module:
    if inputs == outputs:
        return nn.Identity()
    return scaled(nn.Conv2d(inputs, outputs, 1, bias=False), 1.0, inputs)
