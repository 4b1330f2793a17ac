"""Models that learnt nothing, as bundles: of texts, of melodies and of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from bowerbird.data.codecs import Codec
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.codecs.pieces import Characters
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.markers import DOCUMENT
from bowerbird.data.normaliser import Normaliser
from bowerbird.kinds import KINDS
from bowerbird.models.gan import GANConfig, Generator
from bowerbird.models.ngrams import NGrams, count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.store.bundle import write_bundle

LETTERS = "\n abcdefghijklmnopqrstuvwxyz.,'\u00e9"
VERSE = "the lark was under the stone.\nand so the lamp, and so the rain, turned under the stone.\n"
CACHED = {"ngrams": 4, "cache": {"window": 40, "shortest": 2}}


def filled(network: nn.Module, seed: int = 7) -> nn.Module:
    """The network with what begins at zero drawn at random too, so that all of it shows."""
    torch.manual_seed(seed)
    for parameter in network.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.3)
    return network.eval()


def counted(ngrams: NGrams | None, tokens: NDArray[Any]) -> None:
    """Count a stream of documents, each begun by token 0; without n-grams, nothing."""
    if ngrams is not None:
        ngrams.add(*count(gram_keys(tokens, ngrams.order, ngrams.vocab_size)))


def text_model(folder: Path, *, structure: str = "plain", **options: Any) -> Path:
    """A bundle of a text model in the codec `characters`; `options` are of its network."""
    codec = Characters(list(LETTERS))
    return _of_tokens(folder, "text", codec, codec.encode((DOCUMENT + VERSE) * 3), structure, options)


def melody_model(folder: Path, **options: Any) -> Path:
    """A bundle of a melody model."""
    codec = Notes()
    tokens = np.random.default_rng(1).integers(0, codec.vocab_size, 400)
    return _of_tokens(folder, "melody", codec, tokens, "plain", options)


def _of_tokens(
    folder: Path, kind: str, codec: Codec, tokens: NDArray[Any], structure: str, options: dict[str, Any]
) -> Path:
    config = RNNConfig.model_validate({"width": 12, "embedding": 8, **options})
    torch.manual_seed(1)
    network = RNN(config, codec.vocab_size)
    counted(network.ngrams, tokens)
    return _written(folder, kind, codec, structure, config.model_dump(mode="json"), filled(network))


def image_model(folder: Path, *, classes: tuple[str, ...] = ("disc", "square"), **options: Any) -> Path:
    """A bundle of a generator of pictures of 16 x 16 pixels."""
    config = GANConfig.model_validate(
        {"resolution": 16, "width": 16, "latent": 8, "classes": len(classes), **options}
    )
    torch.manual_seed(1)
    network = filled(Generator(config))
    codec = Pixels(config.resolution, config.resolution, config.channels, classes)
    structure = "labelled" if classes else "plain"
    return _written(folder, "image", codec, structure, config.model_dump(mode="json"), network)


def _written(
    folder: Path, kind: str, codec: Codec, structure: str, shape: dict[str, Any], network: nn.Module
) -> Path:
    settings = KINDS[kind].run_config.model_validate({"model": shape}).model_dump(mode="json")
    manifest = {
        "kind": kind,
        "config": settings,
        "codec": codec.describe(),
        "normaliser": Normaliser().model_dump(mode="json"),
        "structure": structure,
        "lineage": {"dataset": "blake2b:0", "settings": "blake2b:0", "parent": None},
        "step": 0,
    }
    write_bundle(
        folder,
        manifest,
        weights=network.state_dict(),
        partners={},
        codec_files=codec.files(),
        card="# A model that learnt nothing\n",
    )
    return folder
