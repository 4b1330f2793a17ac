"""What a loss of two networks is: what each of them lowers, from the logits of real and of made pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class GANLoss:
    """Both are called with (real_logits, fake_logits), each (B,), and give their mean loss a picture."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor, Tensor], Tensor]
    about: str
