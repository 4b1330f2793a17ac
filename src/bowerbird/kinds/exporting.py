"""A loaded model as exporters see it: a plain function of tensors, its ports, and what to tell in the file."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bowerbird.base.errors import UsageError
from bowerbird.data.codecs import Codec
from bowerbird.data.codecs.codec import FIRST_PIECE
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.models.gan import Generator
from bowerbird.models.portable import PortableGenerator, PortableRNN
from bowerbird.models.rnn import RNN
from bowerbird.store.bundle import open_checkpoint
from bowerbird.store.exporters.exporter import Exported, Port

if TYPE_CHECKING:
    from bowerbird.kinds.loaded import Model


def exported(model: Model) -> Exported:
    """All of a model that an exporter may look at.

    Raises:
        UsageError: networks of this kind are not exported.
        CorruptFile: what lies beside the bundle in a checkpoint is damaged.
    """
    bundle, network = model.bundle, model.network
    if isinstance(network, RNN):
        own = _of_tokens(model, network)
    elif isinstance(network, Generator):
        own = _of_pictures(model, network)
    else:
        raise UsageError(f"a model of the kind `{bundle.kind}` cannot be exported", where=bundle.path)
    metadata = {"kind": bundle.kind, "digest": bundle.digest, "structure": model.structure, **own["metadata"]}
    return Exported(
        kind=bundle.kind,
        config=bundle.manifest["config"]["model"],
        weights=bundle.weights(),
        partners=bundle.partners(),
        optimizer=_resume_state(bundle.path),
        codec=bundle.manifest["codec"],
        codec_files=bundle.codec_files(),
        normaliser=bundle.manifest["normaliser"],
        structure=model.structure,
        card=_card(bundle.path),
        manifest=bundle.manifest,
        **{**own, "metadata": {f"bowerbird.{name}": value for name, value in metadata.items()}},
    )


def _of_tokens(model: Model, network: RNN) -> dict[str, Any]:
    """The function of one step. Sampling without a prompt tells how it starts and ends, and what is banned."""
    state = network.start(1)
    sizes = [part.shape[1] for part in state]
    job = model.kind.encode_request(model, model.request(seed=0), 0)
    symbols = symbols_of(model.codec)
    return {
        "module": PortableRNN(network),
        "inputs": (Port("tokens", (), "int64"), *_states("state", sizes)),
        "outputs": (Port("logits", (network.vocab_size,), "float32"), *_states("next_state", sizes)),
        "start": {f"state_{index}": part.cpu() for index, part in enumerate(state)},
        "reference": functools.partial(_stepped, network),
        "symbols": symbols,
        "metadata": {
            "start_token": str(int(job.prompt[-1])),
            "end_tokens": json.dumps(sorted(job.ends)),
            "banned_tokens": json.dumps(sorted(job.banned)),
            "symbols": json.dumps(symbols, ensure_ascii=False),
        },
    }


def _of_pictures(model: Model, network: Generator) -> dict[str, Any]:
    config = network.config
    labels = (Port("labels", (), "int64"),) if config.classes else ()
    classes = model.codec.classes if isinstance(model.codec, Pixels) and config.classes else ()
    side = config.resolution
    return {
        "module": PortableGenerator(network),
        "inputs": (Port("latent", (config.latent,), "float32"), *labels),
        "outputs": (Port("pictures", (config.channels, side, side), "float32"),),
        "start": {},
        "reference": functools.partial(_drawn, network),
        "symbols": (),
        "metadata": {"classes": json.dumps(classes, ensure_ascii=False), "pixel_range": "[-1, 1]"},
    }


def symbols_of(codec: Codec) -> tuple[str, ...]:
    """The text of each token by itself: empty for markers and for parts of characters, a word for notes."""
    if isinstance(codec, Notes):
        texts = [f"{codec.word(token)} " for token in range(FIRST_PIECE, codec.vocab_size)]
    else:
        texts = [codec.decode([token]) for token in range(FIRST_PIECE, codec.vocab_size)]
    return ("",) * FIRST_PIECE + tuple("" if "\N{REPLACEMENT CHARACTER}" in text else text for text in texts)


def _states(name: str, sizes: Sequence[int]) -> tuple[Port, ...]:
    return tuple(Port(f"{name}_{index}", (size,), "float32") for index, size in enumerate(sizes))


@torch.no_grad()
def _stepped(network: RNN, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Logits and next states from tokens and states, by the network itself."""
    tokens, *state = (part.to(network.bias.device) for part in inputs)
    logits, after = network.step(tokens, tuple(state))
    return [part.float().cpu() for part in (logits, *after)]


@torch.no_grad()
def _drawn(network: Generator, inputs: Sequence[Tensor]) -> list[Tensor]:
    """Pictures from latents and, where there are classes, labels, by the network itself."""
    device = next(network.parameters()).device
    return [network(*(part.to(device) for part in inputs)).float().cpu()]


def _resume_state(bundle: Path) -> Mapping[str, Tensor] | None:
    """What training would go on from, where the bundle is a checkpoint's."""
    if not (bundle.parent / "checkpoint.json").is_file():
        return None
    _, resume, _ = open_checkpoint(bundle.parent)
    return resume


def _card(bundle: Path) -> str:
    card = bundle / "README.md"
    return card.read_text(encoding="utf-8") if card.is_file() else ""
