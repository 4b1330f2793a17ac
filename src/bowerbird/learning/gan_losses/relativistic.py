"""Relativistic pairing: a made picture need only look more real than a real one.

Jolicoeur-Martineau 2018 (arXiv:1807.00734); with R1 + R2 it is R3GAN's (arXiv:2501.05441, section 2). Here every
made picture of a batch is paired with every real one, not only with the one beside it, whose class it was asked
for: that was measured to be much better where there are classes (docs/log.md, 2026-11-27).
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
