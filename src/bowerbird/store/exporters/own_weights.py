"""What the formats that hold our weights as they are have in common: how their files are run, and shown.

A network of torch's own cells is shown in torch alone; one with n-grams, a cache or another cell, and a
generator, are built by bowerbird's network, from the description in the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from bowerbird.base.errors import Refused
from bowerbird.store.exporters.exporter import Exported, Runner
from bowerbird.store.exporters.told import TOKENS, sampling

_FUSED = {"lstm": "lstm_cell", "gru": "gru_cell", "rnn": "rnn_tanh_cell"}
"""Torch's functions of one step, whose weights are laid out as ours."""


def runner_of(exported: Exported, weights: Mapping[str, Tensor]) -> Runner:
    """Our own network with the weights that a file gave.

    Raises:
        Refused: they are not, bit for bit, those that were written.
    """
    wrong = sorted(set(weights) ^ set(exported.weights))
    wrong = wrong or [name for name, value in weights.items() if not _same(value, exported.weights[name])]
    if wrong:
        raise Refused(f"the file does not give back the weights: {wrong[0]} differs")
    function = exported.reference if exported.rebuilt is None else exported.rebuilt(weights)

    def run(given: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        with torch.no_grad():
            return [part.numpy() for part in function([torch.from_numpy(part) for part in given])]

    return run


def architecture(exported: Exported) -> str:
    """The name of our network's class."""
    return "Generator" if exported.kind == "image" else "RNN"


def greedy_lines(exported: Exported, imports: str, read: str, names: Mapping[str, str]) -> str:
    """Lines that print what is likeliest, token by token; as in sampling the first is no end.

    Args:
        imports: the lines that import what `read` needs; torch is among them.
        read: the lines that open the file.
        names: what `weights`, `architecture` and `symbols` are called then.
    """
    build = _torch_build if _is_torch_s_own(exported.config) else _own_build
    head, prepare, step = build(exported, names)
    tokens = sampling(exported)
    return "\n".join(
        [
            imports,
            *head,
            "",
            read,
            *prepare,
            f"ends, banned = {tokens.ends}, {tokens.banned}",
            f'token, text, never = torch.tensor([{tokens.start}]), "", banned + ends',
            "with torch.no_grad():",
            f"    for _ in range({TOKENS}):",
            *(f"        {line}" for line in step),
            "        logits[:, never] = -torch.inf",
            "        token, never = logits.argmax(1), banned",
            "        if token.item() in ends:",
            "            break",
            f"        text += {names['symbols']}[token.item()]",
            f"print(text[:{TOKENS}])",
            "",
        ]
    )


def picture_lines(exported: Exported, imports: str, read: str, names: Mapping[str, str]) -> str:
    """Lines that save the picture of seed 0, of the first class where there are any; as `greedy_lines`."""
    classes = exported.config["classes"]
    asked = "z, torch.tensor([0])" if classes else "z"
    return "\n".join(
        [
            imports,
            "import numpy as np",
            "from PIL import Image",
            "from bowerbird.models.gan import GANConfig, Generator",
            "",
            read,
            f"network = Generator(GANConfig(**{names['architecture']})).eval()",
            f"network.load_state_dict({names['weights']})",
            f"z = torch.from_numpy(np.random.default_rng(0).standard_normal((1, {exported.config['latent']}))).float()",
            "with torch.no_grad():",
            f"    picture = network({asked})[0]",
            "pixels = ((picture + 1) * 127.5).round().clamp(0, 255).byte().permute(1, 2, 0).numpy()",
            'Image.fromarray(pixels.squeeze()).save("picture.png")',
            "",
        ]
    )


def _own_build(exported: Exported, names: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    return (
        ["from bowerbird.models.rnn import RNN, RNNConfig"],
        [
            f"network = RNN(RNNConfig(**{names['architecture']}), len({names['symbols']})).eval()",
            f"network.load_state_dict({names['weights']})",
            "state = network.start(1)",
        ],
        ["logits, state = network.step(token, state)"],
    )


def _torch_build(exported: Exported, names: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    config = exported.config
    cell, layers, width = _FUSED[config["cell"]], int(config.get("layers", 1)), int(config["width"])
    zeros = f"torch.zeros(1, {width})"
    start, output = (f"({zeros}, {zeros})", "states[i][0]") if cell == "lstm_cell" else (zeros, "states[i]")
    top = "embedding.weight" if config.get("tied") else "output"
    parts = '("input", "recurrent", "input_bias", "recurrent_bias")'
    return (
        [],
        [
            f"weights, states = {names['weights']}, [{start}] * {layers}",
            f'cells = [[weights[f"cells.{{i}}.weights.{{name}}"] for name in {parts}] for i in range({layers})]',
        ],
        [
            'x = weights["embedding.weight"][token]',
            "for i, cell in enumerate(cells):",
            f"    states[i] = torch.{cell}(x, states[i], *cell)",
            f"    x = {output}",
            f'logits = x @ weights["{top}"].T + weights["bias"]',
        ],
    )


def _is_torch_s_own(config: Mapping[str, Any]) -> bool:
    """Whether a recurrent network has nothing in it that torch does not have."""
    narrow = config.get("tied") and config.get("embedding") not in (None, config["width"])
    extras = [config.get(name) for name in ("residual", "ngrams", "cache")]
    return (
        config["cell"] in _FUSED and config.get("norm", "none") == "none" and not narrow and not any(extras)
    )


def _same(one: Tensor, other: Tensor) -> bool:
    """Equal in every bit, so that what is not a number equals itself."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    ours, theirs = (part.cpu().contiguous().reshape(-1).view(torch.uint8) for part in (one, other))
    return torch.equal(ours, theirs)
