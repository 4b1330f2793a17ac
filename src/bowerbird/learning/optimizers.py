"""Optimisers by name, and their state as named tensors that safetensors can hold."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor, nn

from bowerbird.base.config import Config


class OptimizerConfig(Config):
    """AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101)."""

    learning_rate: float = Field(4e-3, gt=0, le=1)
    """At its highest; it warms up to it and falls along a cosine."""
    beta1: float = Field(0.9, ge=0, lt=1)
    """How much of the mean gradient is kept from step to step."""
    beta2: float = Field(0.98, ge=0, lt=1)
    """How much of the mean squared gradient is kept from step to step."""
    weight_decay: float = Field(0.01, ge=0)
    """On matrices only; biases, gains and embeddings are left alone."""
    clip: float = Field(1.0, gt=0)
    """The largest norm of all gradients together; larger ones are scaled down to it."""


def build_adamw(network: nn.Module, config: OptimizerConfig) -> torch.optim.AdamW:
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in network.named_parameters():
        matrix = parameter.ndim >= 2 and not name.startswith("embedding")
        (decayed if matrix else free).append(parameter)
    groups = [
        {"params": decayed, "weight_decay": config.weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=True)


def optimizer_state(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """`{parameter}/{quantity}` to tensor, for every parameter that has moved."""
    return {
        f"{name}/{key}": value
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    network: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]
) -> None:
    """Put back what `optimizer_state` gave, to the bit.

    Raises:
        ValueError: it is not that of these parameters.
    """
    for name, parameter in network.named_parameters():
        prefix = f"{name}/"
        found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
        if found:
            optimizer.state[parameter] = {key: _laid_out(value, parameter) for key, value in found.items()}
        else:
            optimizer.state.pop(parameter, None)


def _laid_out(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A copy in memory as the parameter is, which fused kernels take for granted and files do not keep."""
    if value.shape == parameter.shape and value.dtype == parameter.dtype:
        return torch.empty_like(parameter, requires_grad=False).copy_(value)
    if value.ndim:
        raise ValueError(
            f"an optimiser's state is {tuple(value.shape)} where it must be {tuple(parameter.shape)}"
        )
    return value.clone().to(parameter.device)
