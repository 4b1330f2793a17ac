"""The baselines' networks: the shape of DCGAN (Radford et al. 2016, arXiv:1511.06434) as tutorials have it.

B pictures, C channels, R x R pixels, a power of two. 64 feature maps at R / 2 pixels, twice as many at each halving
down to 4 x 4: 512, 256, 128, 64 for 64 pixels, one layer fewer for 32. Written for this benchmark from the paper.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LATENT, MAPS = 100, 64


def widths(resolution: int) -> list[int]:
    """Feature maps from 4 x 4 up to half the resolution."""
    halvings = resolution.bit_length() - 3
    assert halvings > 0, "pictures of at least 8 pixels"
    assert resolution == 4 << halvings, "a power of two"
    return [MAPS << index for index in reversed(range(halvings))]


class Generator(nn.Module):
    """(B, LATENT) to (B, C, R, R) in -1..1: transposed convolutions with batch normalisation and ReLU."""

    def __init__(self, resolution: int, channels: int):
        super().__init__()
        layers: list[nn.Module] = []
        before = LATENT
        for index, width in enumerate(widths(resolution)):
            stride, padding = (2, 1) if index else (1, 0)
            layers += [
                nn.ConvTranspose2d(before, width, 4, stride, padding, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(inplace=True),
            ]
            before = width
        self.layers = nn.Sequential(
            *layers, nn.ConvTranspose2d(before, channels, 4, 2, 1, bias=False), nn.Tanh()
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.layers(latent[:, :, None, None])


class Critic(nn.Module):
    """(B, C, R, R) to (B,): strided convolutions with LeakyReLU, normalised by batch but for the first."""

    def __init__(self, resolution: int, channels: int, *, normalised: bool):
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for index, width in enumerate(reversed(widths(resolution))):
            layers.append(nn.Conv2d(before, width, 4, 2, 1, bias=not normalised))
            if normalised and index:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            before = width
        self.layers = nn.Sequential(*layers, nn.Conv2d(before, 1, 4, 1, 0, bias=not normalised))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures).flatten()


@torch.no_grad()
def as_in_the_paper(network: nn.Module) -> None:
    """Weights from N(0, .02), those of normalisation from N(1, .02), biases 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, 0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)
