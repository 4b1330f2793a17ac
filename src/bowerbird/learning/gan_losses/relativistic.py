"""Relativistic pairing: a made picture need only look more real than the real one beside it.

Jolicoeur-Martineau 2018 (arXiv:1807.00734); with R1 + R2 it is R3GAN's (arXiv:2501.05441, section 2).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bowerbird.learning.gan_losses.loss import GANLoss


def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(fake_logits - real_logits).mean()


def generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(real_logits - fake_logits).mean()


RELATIVISTIC = GANLoss(discriminator, generator, "each made picture against a real one; ln 2 when undecided")
