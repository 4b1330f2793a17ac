"""Relativistic pairing: a made picture need only look more real than a real one.

Jolicoeur-Martineau 2018 (arXiv:1807.00734); with R1 + R2 it is R3GAN's (arXiv:2501.05441, section 2). Every made
picture of a batch is paired with every real one, which estimates the same mean better than one pair each. And where
both are asked for the same classes, one real picture beside each made one is always of its class: the critic would
learn nothing of classes from such pairs (docs/log.md has what that costs).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bowerbird.learning.gan_losses.loss import GANLoss


def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(fake_logits[:, None] - real_logits).mean()


def generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(real_logits - fake_logits[:, None]).mean()


RELATIVISTIC = GANLoss(
    discriminator, generator, "each made picture against each real one; ln 2 when undecided"
)
