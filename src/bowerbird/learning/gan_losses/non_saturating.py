"""The first loss of such pairs, in the form that does not fade where the critic is sure.

Goodfellow et al. 2014 (arXiv:1406.2661), section 3.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from bowerbird.learning.gan_losses.loss import GANLoss


def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()


def generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return F.softplus(-fake_logits).mean()


NON_SATURATING = GANLoss(
    discriminator, generator, "real or made, each by itself; 2 ln 2 and ln 2 when undecided"
)
