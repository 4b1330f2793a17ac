"""Tiny untrained models as exporters see them, and what to run them on."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bowerbird.models.gan import GANConfig, Generator
from bowerbird.models.ngrams import count, gram_keys
from bowerbird.models.portable import PortableGenerator, PortableRNN
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.store.exporters.exporter import Exported, Exporter, Port

SYMBOLS = ("", "", "", "", *"abcdefgh ")
V = len(SYMBOLS)
BANNED = [1, 2, 3]


def a_text(**settings: Any) -> Exported:
    """A network whose weights, gates and cache are all other than they begin; n-grams are counted of a text."""
    torch.manual_seed(1)
    config = RNNConfig.model_validate({"cell": "gru", "width": 12, "layers": 1, **settings})
    network = RNN(config, V).eval()
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.randn_like(value) * 0.3)
    if network.ngrams is not None:
        noise = np.random.default_rng(1)
        text = np.where(
            noise.random(300) < 0.7, np.resize(noise.integers(4, V, 20), 300), noise.integers(4, V, 300)
        )
        text[::75] = 0
        network.ngrams.add(*count(gram_keys(text, network.ngrams.order, V)))
    state = network.start(1)
    sizes = [part.shape[1] for part in state]
    return Exported(
        kind="text",
        config=config.model_dump(mode="json"),
        module=PortableRNN(network),
        inputs=(Port("tokens", (), "int64"), *_ports("state", sizes)),
        outputs=(Port("logits", (V,), "float32"), *_ports("next_state", sizes)),
        start={f"state_{index}": part for index, part in enumerate(state)},
        reference=functools.partial(_stepped, network),
        symbols=SYMBOLS,
        metadata={
            "bowerbird.start_token": "0",
            "bowerbird.end_tokens": "[0]",
            "bowerbird.banned_tokens": json.dumps(BANNED),
            "bowerbird.symbols": json.dumps(SYMBOLS),
        },
        **_rest(network),
    )


def an_image(**settings: Any) -> Exported:
    """A generator whose weights, and the sizes that its norms have seen, are all other than they begin."""
    torch.manual_seed(1)
    config = GANConfig.model_validate({"resolution": 16, "width": 16, "latent": 6, **settings})
    network = Generator(config).eval()
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                noise = torch.rand_like(value) if "running_var" in name else torch.randn_like(value)
                value.add_(noise * 0.05)
    labels = (Port("labels", (), "int64"),) if config.classes else ()
    size = config.resolution
    return Exported(
        kind="image",
        config=config.model_dump(mode="json"),
        module=PortableGenerator(network),
        inputs=(Port("latent", (config.latent,), "float32"), *labels),
        outputs=(Port("pictures", (config.channels, size, size), "float32"),),
        start={},
        reference=lambda given: [network(*given)],
        symbols=(),
        metadata={"bowerbird.kind": "image"},
        **_rest(network),
    )


def difference(exporter: Exporter, exported: Exported, path: Path, *, length: int = 30) -> float:
    """The largest between the file at `path` and our network, both reading on with states of their own."""
    worst = 0.0
    with exporter.runner(path, exported) as run:
        for rows in exporter.batches:
            for given in _cases(exported, rows, length):
                with torch.no_grad():
                    ours = exported.reference([torch.from_numpy(part) for part in given])
                theirs = run(given)
                assert len(ours) == len(theirs)
                for one, other in zip(ours, theirs, strict=True):
                    assert one.shape == other.shape
                    worst = max(worst, float(np.abs(one.numpy() - other).max()))
                if exported.start:
                    _carry(given, theirs)
    return worst


def greedy(exported: Exported, tokens: int = 200) -> str:
    """The text of the likeliest tokens, by our network."""
    given: list[Any] = [torch.tensor([0]), *exported.start.values()]
    text, never = "", [*BANNED, 0]
    for _ in range(tokens):
        with torch.no_grad():
            logits, *state = exported.reference(given)
        logits[:, never] = -torch.inf
        given, never = [logits.argmax(1), *state], BANNED
        if not given[0].item():
            break
        text += SYMBOLS[given[0].item()]
    return text


def _cases(exported: Exported, rows: int, length: int) -> Any:
    """Pictures once with and without labels in one batch; of texts the inputs of step after step."""
    noise = np.random.default_rng(rows)
    if not exported.start:
        latent = noise.standard_normal((rows, *exported.inputs[0].shape)).astype(np.float32)
        labels = np.resize([-1, 0, 1], rows)
        yield [latent, labels][: len(exported.inputs)]
        return
    phrase = np.resize(noise.integers(4, V, (7, rows)), (length, rows))
    begins = noise.random((length, rows)) < 0.05
    other = noise.random((length, rows)) < 0.1
    tokens = np.where(begins, 0, np.where(other, noise.integers(4, V, (length, rows)), phrase))
    given = [tokens[0], *(part.expand(rows, -1).numpy().copy() for part in exported.start.values())]
    for row in tokens:
        given[0] = row
        yield given


def _carry(given: list[NDArray[Any]], outputs: Sequence[NDArray[Any]]) -> None:
    given[1:] = [np.array(part) for part in outputs[1:]]


def _ports(name: str, sizes: Sequence[int]) -> tuple[Port, ...]:
    return tuple(Port(f"{name}_{index}", (size,), "float32") for index, size in enumerate(sizes))


def _stepped(network: RNN, given: Sequence[Tensor]) -> list[Tensor]:
    logits, state = network.step(given[0].long(), tuple(given[1:]))
    return [logits, *state]


def _rest(network: torch.nn.Module) -> dict[str, Any]:
    nothing: Mapping[str, Any] = {}
    return {
        "weights": network.state_dict(),
        "partners": nothing,
        "optimizer": None,
        "codec": nothing,
        "codec_files": nothing,
        "normaliser": nothing,
        "structure": "plain",
        "card": "",
        "manifest": nothing,
    }
