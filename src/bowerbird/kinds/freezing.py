"""Parts of a network that a run leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from bowerbird.base.errors import UsageError


def freeze(
    network: nn.Module,
    parts: Sequence[str],
    *,
    no_part: str = "there is no part",
    nothing_left: str = "everything is frozen: there is nothing left to learn",
) -> None:
    """Take the parameters whose names begin with one of `parts` out of a learner's reach.

    Raises:
        UsageError: no parameter's name begins so (`no_part` says it), or nothing is left (`nothing_left`).
    """
    for part in parts:
        named = [parameter for name, parameter in network.named_parameters() if name.startswith(part)]
        if not named:
            known = sorted({name.partition(".")[0] for name, _ in network.named_parameters()})
            raise UsageError(f"{no_part} `{part}` to freeze", hint=f"parts: {', '.join(known)}")
        for parameter in named:
            parameter.requires_grad_(False)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise UsageError(nothing_left, hint="freeze fewer parts")
