"""How large a network would be, found out without the memory for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def check_size(build: Callable[[], nn.Module], weights: Mapping[str, Tensor]) -> None:
    """Refuse to build a network for weights that cannot fill it: settings in a file may ask for any size.

    Raises:
        ValueError: it has more parameters than there are numbers.
    """
    with torch.device("meta"), _Unset():
        needed = sum(parameter.numel() for parameter in build().parameters())
    given = sum(value.numel() for value in weights.values())
    if needed > given:
        raise ValueError(f"it has {needed:,} parameters, and {given:,} numbers are here")


class _Unset(TorchFunctionMode):
    """Weights stay as they are made: for numbers that are never there torch loads 100 MB of what its compiler needs."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__ or func in _DRAWN:
            return args[0] if args else given["tensor"]
        if func is torch.linspace:
            return torch.empty(args[2])
        return func(*args, **given)


_DRAWN = {Tensor.normal_, Tensor.uniform_}
