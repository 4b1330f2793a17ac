"""The earth mover's distance, if the critic's slope is held to 1: wants the penalty `gp`.

Arjovsky et al. 2017 (arXiv:1701.07875); with the penalty, Gulrajani et al. 2017 (arXiv:1704.00028).
"""

from __future__ import annotations

from torch import Tensor

from bowerbird.learning.gan_losses.loss import GANLoss


def discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return fake_logits.mean() - real_logits.mean()


def generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    return -fake_logits.mean()


WASSERSTEIN = GANLoss(discriminator, generator, "difference of mean scores; for learner.penalty=gp, gamma 10")
