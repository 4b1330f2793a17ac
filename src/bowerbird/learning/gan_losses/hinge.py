"""Hinge: the critic asks for a margin of 1 on either side and no more.

Lim & Ye 2017 (arXiv:1705.02894); Miyato et al. 2018 (arXiv:1802.05957), equations 16 and 17.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bowerbird.learning.gan_losses.loss import GANLoss


def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()


def generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return -fake_logits.mean()


HINGE = GANLoss(discriminator, generator, "a margin of 1 on either side; 2 and 0 when undecided")
