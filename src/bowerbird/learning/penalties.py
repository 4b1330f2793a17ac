"""What a critic pays for being steep: it is what keeps the modes.

B pictures. Exact: gradients of gradients are taken (`create_graph`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def squared_slope(images: Tensor, logits_B: Tensor) -> Tensor:
    """(B,): the squared norm of each logit's gradient by its picture, which `logits_B` was computed from.

    Over real pictures its mean is twice R1, over made ones twice R2, for a gamma of 1 (Mescheder et al.
    2018, arXiv:1801.04406, equations 9 and 10).
    """
    (slope,) = torch.autograd.grad(logits_B.sum(), images, create_graph=True)
    return slope.square().flatten(1).sum(1)


def r1_r2(images_2B: Tensor, logits_2B: Tensor) -> Tensor:
    """R1 + R2 for a gamma of 1, a scalar: real pictures in the first half, made ones in the second."""
    real, fake = squared_slope(images_2B, logits_2B).chunk(2)
    return 0.5 * (real.mean() + fake.mean())


def gradient_penalty(critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor) -> Tensor:
    """How far the slope is from 1 between real and made pictures, squared, a scalar.

    Gulrajani et al. 2017 (arXiv:1704.00028), equation 3, for a lambda of 1; theirs is 10.
    """
    share = torch.rand(len(real), 1, 1, 1, device=real.device)
    between = (real + share * (fake - real)).detach().requires_grad_(True)
    slope = (squared_slope(between, critic(between)) + 1e-12).sqrt()  # a root has no gradient at 0
    return (slope - 1).square().mean()
