"""Model files from elsewhere, made by hand for tests: of PyTorch's layers, and of Keras' without Keras."""

from __future__ import annotations

import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

SYMBOLS = ["\n", *"abcdefghijklmnopqrstuvwxyz "]
TOKENS = len(SYMBOLS)


class CharRNN(nn.Module):
    """What most tutorials have: an embedding, or one-hot input, a recurrent layer, and a linear one."""

    def __init__(
        self,
        cell: str = "LSTM",
        layers: int = 2,
        width: int = 12,
        embedding: int | None = 6,
        tokens: int = TOKENS,
    ):
        super().__init__()
        self.embedding = nn.Embedding(tokens, embedding) if embedding else None
        self.rnn = getattr(nn, cell)(embedding or tokens, width, layers, batch_first=True)
        self.fc = nn.Linear(width, tokens)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        read = (
            self.embedding(tokens_BT) if self.embedding else nn.functional.one_hot(tokens_BT, TOKENS).float()
        )
        return self.fc(self.rnn(read)[0])


def char_rnn(seed: int = 1, **shape: Any) -> CharRNN:
    torch.manual_seed(seed)
    return CharRNN(**shape).eval()


def plain_state(network: nn.Module) -> OrderedDict[str, Tensor]:
    return OrderedDict(network.state_dict())


def keras_layer(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "registered_name": None,
        "config": {"name": name, **config},
    }


def sequential(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """A model's description as Keras 3 writes it."""
    config = {"name": "sequential", "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "registered_name": "Sequential", "config": config}


Weights = Mapping[str, Sequence[NDArray[Any]]]


def lstm_parts(
    embedding: int = 4, width: int = 5, gates: int = 4, seed: int = 1
) -> dict[str, list[NDArray[Any]]]:
    """Random weights of an embedding, a recurrent and a dense layer, in Keras' layout."""
    draw = np.random.default_rng(seed)

    def some(*shape: int) -> NDArray[Any]:
        return draw.normal(size=shape).astype(np.float32)

    cell = [some(embedding, gates * width), some(width, gates * width), some(gates * width)]
    return {
        "embedding": [some(TOKENS, embedding)],
        "lstm": cell,
        "dense": [some(width, TOKENS), some(TOKENS)],
    }


def char_lstm(*, embedding: int = 4, width: int = 5, **config: Any) -> dict[str, Any]:
    return sequential(
        keras_layer("InputLayer", "input_layer", batch_shape=[None, None]),
        keras_layer("Embedding", "embedding", input_dim=TOKENS, output_dim=embedding),
        keras_layer("LSTM", "lstm", units=width, activation="tanh", recurrent_activation="sigmoid", **config),
        keras_layer("Dense", "dense", units=TOKENS, activation="softmax"),
    )


def weights_file(weights: Weights) -> bytes:
    """model.weights.h5, as Keras 3 lays it out."""
    content = io.BytesIO()
    with h5py.File(content, "w") as root:
        for name, arrays in weights.items():
            place = f"layers/{name}/cell/vars" if name == "lstm" else f"layers/{name}/vars"
            for number, array in enumerate(arrays):
                root.create_group(place) if place not in root else None
                root[place].create_dataset(str(number), data=array)
    return content.getvalue()


def write_keras(path: Path, config: Any, weights: Weights | bytes, **more: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.15.1"}))
        archive.writestr("config.json", config if isinstance(config, str | bytes) else json.dumps(config))
        archive.writestr("model.weights.h5", weights if isinstance(weights, bytes) else weights_file(weights))
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def write_h5(path: Path, config: Any, weights: Mapping[str, Mapping[str, NDArray[Any]]]) -> Path:
    """A whole model in HDF5, or weights alone where there is no config."""
    with h5py.File(path, "w") as root:
        stored = root.create_group("model_weights") if config is not None else root
        if config is not None:
            root.attrs["model_config"] = json.dumps(config).encode()
        stored.attrs["layer_names"] = [name.encode() for name in weights]
        for name, arrays in weights.items():
            holder = stored.create_group(name)
            holder.attrs["weight_names"] = [full.encode() for full in arrays]
            for full, array in arrays.items():
                holder.create_dataset(full, data=array)
    return path


def in_h5(weights: Weights) -> dict[str, dict[str, NDArray[Any]]]:
    """The same weights by the names that they have in HDF5 files."""
    names = {
        "embedding": ["embeddings"],
        "lstm": ["kernel", "recurrent_kernel", "bias"],
        "dense": ["kernel", "bias"],
    }
    return {
        layer: {f"{layer}/{name}:0": array for name, array in zip(names[layer], arrays, strict=True)}
        for layer, arrays in weights.items()
    }
