"""How large a network would be, found out without the memory for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def check_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Refuse to build a network for weights that cannot fill it: settings in a file may ask for any size.

    Raises:
        ValueError: it has more parameters than there are numbers.
    """
    with torch.device("meta"):
        needed = sum(parameter.numel() for parameter in build().parameters())
    given = sum(value.numel() for value in weights.values())
    if needed > given:
        raise ValueError(f"it has {needed:,} parameters, and {given:,} numbers are here")
