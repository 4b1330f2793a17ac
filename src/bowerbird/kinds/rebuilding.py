"""A model's network built anew with other weights, as the function that an export is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bowerbird.kinds.loaded import Model
from bowerbird.models.rnn import RNN
from bowerbird.store.exporters.exporter import Function


def rebuilt(model: Model, weights: Mapping[str, Tensor]) -> Function:
    """One step of a text's or a melody's network, from tokens and states; or pictures from latents and labels.

    Raises:
        RuntimeError: the weights do not fit the network.
    """
    network = model.kind.build_network(model.bundle.manifest["config"]["model"], model.codec)
    network.load_state_dict(dict(weights), strict=True)
    network.eval()

    @torch.no_grad()
    def step(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        if not isinstance(network, RNN):
            return [network(*inputs)]
        logits, state = network.step(inputs[0], tuple(inputs[1:]))
        return [logits, *state]

    return step
