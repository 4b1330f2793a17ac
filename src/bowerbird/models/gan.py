"""A generator of pictures and the discriminator it learns from. Image.

B pictures, Z latent numbers, C channels, R pixels a side, F features. Two shapes: `conv` is quick on a
processor (DCGAN: Radford et al. 2016, arXiv:1511.06434; no normalisation in the critic), `residual` is
R3GAN's, for larger sizes and GPUs. A class is told to the generator by an embedding joined to z and to the
critic by projection (Miyato & Koyama 2018, arXiv:1802.05637, equation 4).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.base.config import Config
from bowerbird.models.gan_residual import GAIN, SLOPE, ResidualCritic, ResidualGenerator, scaled


class GANConfig(Config):
    """The shape of both networks."""

    resolution: Literal[16, 32, 64, 128, 256] = 32
    """Pixels a side."""
    channels: Literal[1, 3, 4] = 3
    """Grey, red-green-blue, or these and how opaque."""
    classes: int = Field(0, ge=0, le=100_000)
    """Classes that a picture can be asked of; 0 is none."""
    latent: int = Field(64, ge=1, le=4096)
    """Random numbers that a picture is made from."""
    width: int = Field(128, ge=4, le=4096)
    """Channels of the generator at 4 x 4."""
    critic_width: int = Field(24, ge=4, le=1024)
    """Channels of the discriminator at its highest resolution."""
    shape: Literal["conv", "residual"] = "conv"
    """Plain convolutions, or residual blocks."""


class Generator(nn.Module):
    """Latent numbers to pictures. Out of training, each picture depends on its own numbers alone."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        inputs = config.latent * 2 if config.classes else config.latent
        self.classes = nn.Embedding(config.classes + 1, config.latent) if config.classes else None
        make: Callable[..., nn.Module] = ConvGenerator if config.shape == "conv" else ResidualGenerator
        self.body = make(inputs, generator_widths(config), config.channels)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub

    def forward(self, z_BZ: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """(B, C, R, R) in -1..1. A label of -1, like None, asks for no class in particular."""
        if self.classes is not None:
            z_BZ = torch.cat([z_BZ, self.classes(class_rows(labels_B, z_BZ, self.config.classes))], 1)
        pictures: Tensor = self.body(z_BZ)
        return pictures.float().tanh()


class Discriminator(nn.Module):
    """Pictures to how real they look, as a logit; also called the critic. Each is judged by itself."""

    def __init__(self, config: GANConfig):
        super().__init__()
        self.config = config
        make: Callable[..., ConvCritic | ResidualCritic]
        make = ConvCritic if config.shape == "conv" else ResidualCritic
        self.body = make(critic_widths(config), config.channels)
        features = self.body.features
        self.output = scaled(nn.Linear(features, 1), 1.0, features)
        self.classes: nn.Embedding | None = None
        if config.classes:
            self.classes = nn.Embedding(config.classes + 1, features, padding_idx=config.classes)
            nn.init.normal_(self.classes.weight, std=features**-0.5)
            with torch.no_grad():
                self.classes.weight[config.classes] = 0.0  # of no class: the score without the projection
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in its stub

    def forward(self, images: Tensor, labels_B: Tensor | None = None) -> Tensor:
        """(B,) float32 from (B, C, R, R) in -1..1. A label of -1, like None, is that of no known class."""
        x_BF = self.body(images.contiguous(memory_format=torch.channels_last))
        logits: Tensor = self.output(x_BF).float()[:, 0]
        if self.classes is not None:
            told = self.classes(class_rows(labels_B, images, self.config.classes))
            logits = logits + (told * x_BF.float()).sum(1)
        return logits


class ConvGenerator(nn.Module):
    """(B, Z) -> (B, C, R, R): each doubling a transposed convolution, a batch norm and a rectifier."""

    def __init__(self, inputs: int, widths: Sequence[int], channels: int):
        super().__init__()
        self.start = nn.Linear(inputs, widths[0] * 16)
        self.doublings = nn.ModuleList(
            scaled(nn.ConvTranspose2d(low, high, 4, stride=2, padding=1), GAIN, low * 4)
            for low, high in itertools.pairwise(widths)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(width) for width in widths)
        self.colours = scaled(nn.Conv2d(widths[-1], channels, 3, padding=1), 0.5, widths[-1] * 9)

    def forward(self, z_BZ: Tensor) -> Tensor:
        x = self.start(z_BZ).unflatten(1, (-1, 4, 4)).contiguous(memory_format=torch.channels_last)
        x = F.leaky_relu(self.norms[0](x), SLOPE)
        for double, norm in zip(self.doublings, self.norms[1:], strict=True):
            x = F.leaky_relu(norm(double(x)), SLOPE)
        colours: Tensor = self.colours(x)
        return colours


class ConvCritic(nn.Module):
    """(B, C, R, R) -> (B, F): each halving a 4 x 4 convolution, then a 3 x 3 at 4 x 4."""

    def __init__(self, widths: Sequence[int], channels: int):
        super().__init__()
        *halved, last = widths
        self.halvings = nn.ModuleList(
            scaled(nn.Conv2d(high, low, 4, stride=2, padding=1), GAIN, high * 16)
            for high, low in zip([channels, *halved[:-1]], halved, strict=True)
        )
        self.last = scaled(nn.Conv2d(halved[-1], last, 3, padding=1), GAIN, halved[-1] * 9)
        self.features = last * 16

    def forward(self, images: Tensor) -> Tensor:
        x = images
        for halve in self.halvings:
            x = F.leaky_relu(halve(x), SLOPE)
        return F.leaky_relu(self.last(x), SLOPE).flatten(1)


def generator_widths(config: GANConfig) -> list[int]:
    """Channels at 4 x 4, 8 x 8 ... R x R: 128, 96, 48, 24 at 32 pixels, more of the first where R is larger."""
    doublings = config.resolution.bit_length() - 3
    shares = [1.0] * max(doublings - 3, 0) + [1.0, 0.75, 0.375, 0.1875]
    return [max(1, round(config.width * share)) for share in shares[: doublings + 1]]


def critic_widths(config: GANConfig) -> list[int]:
    """Channels from the highest resolution down, doubling to at most eightfold; one for each layer.

    `conv` has its first layer at half the resolution and a last one, a third wider, at 4 x 4.
    """
    halvings = config.resolution.bit_length() - 3
    if config.shape == "residual":
        return [config.critic_width * min(2**level, 8) for level in range(halvings + 1)]
    widths = [config.critic_width * min(2**level, 8) for level in range(halvings)]
    return [*widths, round(widths[-1] * 4 / 3)]


def class_rows(labels_B: Tensor | None, beside: Tensor, classes: int) -> Tensor:
    """Which row of the embedding each picture has: the last where it has no label. On the device of `beside`."""
    if labels_B is None:
        return torch.full((len(beside),), classes, dtype=torch.int64, device=beside.device)
    return torch.where(labels_B < 0, classes, labels_B)
