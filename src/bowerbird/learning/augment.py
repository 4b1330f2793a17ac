"""Pictures changed at random before the critic sees them, so that it cannot learn few of them by heart.

B pictures of C channels, H x W. Real and made pictures go through the same, and gradients pass. Zhao et al.
2020 (DiffAugment, arXiv:2006.10738); Karras et al. 2020 (ADA, arXiv:2006.06676), whose control of the
strength is `Adaptive`. Below a probability of about 0.8 the generator does not learn to make changed ones.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor

HIGHEST = 0.8
"""The strength that `Adaptive` stays under (ADA, section 2.2)."""
TARGET = 0.6
"""How sure the critic should be (ADA, section 3.1)."""
SMOOTHING = 0.1
"""Share of the newest batch in the running mean that the strength follows."""
SHIFT = 8
"""A picture is moved by up to one part in this many of its side."""


def augmented(
    images: Tensor, p: float, *, flip: bool = False, fill: Literal["reflect", "zeros"] = "reflect"
) -> Tensor:
    """(B, C, H, W) as it was given, but for changes that each happen to a picture with probability `p`.

    Mirroring (only with `flip`, and then half the time), moving by whole pixels, a square cut out, and of
    the first three channels brightness, saturation and contrast.
    """
    if p <= 0:
        return images
    images = _cut(_moved(images, p, flip, fill), p)
    if images.shape[1] == 4:
        return torch.cat([_recoloured(images[:, :3], p), images[:, 3:]], 1)
    return _recoloured(images, p)


def _moved(images: Tensor, p: float, flip: bool, fill: str) -> Tensor:
    count, channels, height, width = images.shape
    device = images.device
    chosen = torch.rand(count, 1, device=device) < p
    rows, inside_rows = _sources(chosen, height, device)
    columns, inside_columns = _sources(chosen, width, device)
    if flip:
        mirrored = torch.rand(count, 1, device=device) < p / 2
        columns = torch.where(mirrored, width - 1 - columns, columns)
    images = images.gather(2, rows[:, None, :, None].expand(count, channels, height, width))
    images = images.gather(3, columns[:, None, None, :].expand(count, channels, height, width))
    if fill == "zeros":
        inside = inside_rows[:, None, :, None] & inside_columns[:, None, None, :]
        images = images * inside
    return images


def _sources(chosen: Tensor, side: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(B, side): where each row or column is taken from, reflected at the edges; and whether it is inside."""
    most = side // SHIFT
    shift = torch.randint(-most, most + 1, (len(chosen), 1), device=device) * chosen
    places = torch.arange(side, device=device) + shift
    reflected = (side - 1) - ((side - 1) - places.abs()).abs()
    return reflected, (places >= 0) & (places < side)


def _cut(images: Tensor, p: float) -> Tensor:
    """Half the side, squared, made grey (0) around a random place."""
    count, _, height, width = images.shape
    device = images.device
    chosen = torch.rand(count, 1, device=device) < p
    within = []
    for side in (height, width):
        middle = torch.randint(0, side + 1, (count, 1), device=device)
        places = torch.arange(side, device=device)
        within.append((places >= middle - side // 4) & (places < middle + side // 4))
    hole = (within[0] & chosen)[:, None, :, None] & within[1][:, None, None, :]
    return images * ~hole


def _recoloured(images: Tensor, p: float) -> Tensor:
    brightness, saturation, contrast = (_amounts(images, p) for _ in range(3))
    images = images + brightness
    if images.shape[1] == 3:
        grey = images.mean(1, keepdim=True)
        images = images + (images - grey) * 2 * saturation
    middle = images.mean((1, 2, 3), keepdim=True)
    return images + (images - middle) * contrast


def _amounts(images: Tensor, p: float) -> Tensor:
    """(B, 1, 1, 1) in -0.5..0.5; 0 for a picture that is left as it is."""
    count, device = len(images), images.device
    chosen = torch.rand(count, 1, 1, 1, device=device) < p
    return (torch.rand(count, 1, 1, 1, device=device) - 0.5) * chosen


def sureness(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """From -1 to 1: how much oftener the critic puts a real picture above the made one beside it than below.

    Some losses leave the level of logits free, so they are told from each other and not from 0.
    """
    return (real_logits - fake_logits).sign().mean()


@dataclass
class Adaptive:
    """The strength of augmentation, raised while the critic is surer than the target and lowered else."""

    speed: float
    """Pictures in which the strength would go from 0 to 1."""
    p: float = 0.0
    sure: float = 0.0
    """Running mean of `sureness`."""

    @classmethod
    def for_pictures(cls, images: int, p: float = 0.0) -> Adaptive:
        """The fewer training pictures, the sooner they are known by heart, and the quicker it must react."""
        return cls(speed=min(max(50.0 * images, 20_000.0), 500_000.0), p=p)

    def update(self, sure: float, images: int) -> None:
        """Take note of a batch of so many pictures."""
        self.sure += SMOOTHING * (sure - self.sure)
        change = images / self.speed if self.sure > TARGET else -images / self.speed
        self.p = min(max(self.p + change, 0.0), HIGHEST)

    def state(self) -> dict[str, float]:
        return asdict(self)
