"""The process that Keras is imported in: puts networks together from its own layers, writes them, and runs them.

    python -P -m bowerbird.store.exporters.keras_process write FOLDER FILE
    python -P -m bowerbird.store.exporters.keras_process run FILE

FOLDER holds `arrays.npz`, named as in the portable module, and `task.json`: the kind, the network's settings and
what the file tells of itself. Pictures have their channels last inside, and first where they come out.

B rows, D width, S numbers of a state, Z latent numbers, C channels, R pixels a side.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from bowerbird.store.exporters.frames import Arrays, serve
from bowerbird.store.exporters.told import TOLD

Given = Mapping[str, NDArray[Any]]

LAYERS = "bowerbird_layers"
"""What the module of our own layers is called beside an export."""
_SLOPE = 0.2
"""Of the leaky rectifier, below zero."""


class Filling:
    """Called with a layer and its weights, gives the layer back; `done` puts the weights into all of them."""

    def __init__(self, given: Given):
        self.given = given
        self._waiting: list[tuple[Any, tuple[NDArray[Any], ...]]] = []

    def __call__(self, layer: Any, *weights: NDArray[Any]) -> Any:
        self._waiting.append((layer, weights))
        return layer

    def dense(self, name: str, weight: NDArray[Any], bias: NDArray[Any] | None = None, **about: Any) -> Any:
        """A product with torch's (outputs, inputs)."""
        layer = layers.Dense(len(weight), use_bias=bias is not None, name=name, **about)
        return self(layer, weight.T, *([] if bias is None else [bias]))

    def convolution(self, name: str, prefix: str, **about: Any) -> Any:
        """A convolution with torch's (outputs, inputs / groups, height, width), as large as its input."""
        weight, bias = self.given[f"{prefix}.weight"], self.given.get(f"{prefix}.bias")
        layer = layers.Conv2D(
            len(weight), weight.shape[2:], padding="same", use_bias=bias is not None, name=name, **about
        )
        return self(layer, weight.transpose(2, 3, 1, 0), *([] if bias is None else [bias]))

    def done(self) -> None:
        for layer, weights in self._waiting:
            layer.set_weights(list(weights))


def text_model(fill: Filling, config: Mapping[str, Any]) -> Any:
    """One step: tokens (B,) and states (B, S) to logits and the next states."""
    given = fill.given
    embedding = given["embedding.weight"]
    tokens = keras.Input((), dtype="int32", name="tokens")
    x = fill(layers.Embedding(*embedding.shape, name="embedding"), embedding)(tokens)
    if "widen.weight" in given:
        x = fill.dense("widen", given["widen.weight"])(x)
    states, after = [], []
    for number in range(config["layers"]):
        size = config["width"] * (2 if config["cell"] == "lstm" else 1)
        states.append(keras.Input((size,), name=f"state_{number}"))
        out, next_state = CELLS[config["cell"]](fill, number, _normed(fill, number, x), states[-1])
        x = layers.Add(name=f"residual_{number}")([x, out]) if config["residual"] else out
        after.append(next_state)
    x = _normed(fill, config["layers"], x)
    top = fill.dense("narrow", given["narrow.weight"])(x) if "narrow.weight" in given else x
    logits = fill.dense("logits", given.get("output", embedding), given["bias"])(top)
    if "by_known" in given:
        states.append(keras.Input((len(given["by_known"]) - 1,), name=f"state_{len(states)}"))
        added, recent = _ngrams(fill, len(embedding))([tokens, states[-1], x])
        logits = layers.Add(name="with_ngrams")([logits, added])
        after.append(recent)
    if "cache_gate" in given:
        states.append(keras.Input((config["cache"]["window"],), name=f"state_{len(states)}"))
        logits, past = _cache(fill, config["cache"])([logits, tokens, states[-1], x])
        after.append(past)
    return keras.Model([tokens, *states], [logits, *after], name="bowerbird")


def _normed(fill: Filling, number: int, x: Any) -> Any:
    scale, shift = fill.given.get(f"norms.{number}.weight"), fill.given.get(f"norms.{number}.bias")
    if scale is None:
        return x
    if shift is None:
        epsilon = float(np.finfo(np.float32).eps)  # torch's, where none is given
        return fill(layers.RMSNormalization(epsilon=epsilon, name=f"norm_{number}"), scale)(x)
    return fill(layers.LayerNormalization(epsilon=1e-5, name=f"norm_{number}"), scale, shift)(x)


def _recurrent(fill: Filling, number: int) -> list[NDArray[Any]]:
    names = ("input", "recurrent", "input_bias", "recurrent_bias")
    return [fill.given[f"cells.{number}.weights.{name}"] for name in names]


def _as_sequence(x: Any) -> Any:
    return layers.Reshape((1, x.shape[1]))(x)


def _lstm(fill: Filling, number: int, x: Any, state: Any) -> tuple[Any, Any]:
    """Gates stand in torch's order, which is Keras' too."""
    kernel, recurrent, input_bias, recurrent_bias = _recurrent(fill, number)
    width = recurrent.shape[1]
    halves = layers.Reshape((2, width))(state)
    h, c = (layers.Reshape((width,))(layers.Cropping1D(cropping)(halves)) for cropping in ((0, 1), (1, 0)))
    layer = layers.LSTM(width, return_state=True, unroll=True, name=f"cell_{number}")
    fill(layer, kernel.T, recurrent.T, input_bias + recurrent_bias)
    out, h, c = layer(_as_sequence(x), initial_state=[h, c])
    return out, layers.Concatenate(name=f"next_state_{number}")([h, c])


def _gru(fill: Filling, number: int, x: Any, state: Any) -> tuple[Any, Any]:
    """Torch has the gates as reset, update, candidate; Keras as update, reset, candidate."""

    def ordered(value: NDArray[Any]) -> NDArray[Any]:
        reset, update, candidate = np.split(value, 3)
        return np.concatenate([update, reset, candidate])

    kernel, recurrent, input_bias, recurrent_bias = map(ordered, _recurrent(fill, number))
    layer = layers.GRU(
        recurrent.shape[1], reset_after=True, return_state=True, unroll=True, name=f"cell_{number}"
    )
    fill(layer, kernel.T, recurrent.T, np.stack([input_bias, recurrent_bias]))
    out, h = layer(_as_sequence(x), initial_state=[state])
    return out, h


def _rnn(fill: Filling, number: int, x: Any, state: Any) -> tuple[Any, Any]:
    kernel, recurrent, input_bias, recurrent_bias = _recurrent(fill, number)
    layer = layers.SimpleRNN(recurrent.shape[1], return_state=True, unroll=True, name=f"cell_{number}")
    fill(layer, kernel.T, recurrent.T, input_bias + recurrent_bias)
    out, h = layer(_as_sequence(x), initial_state=[state])
    return out, h


def _mingru(fill: Filling, number: int, x: Any, state: Any) -> tuple[Any, Any]:
    """h + update * (candidate - h), in layers that are Keras' own."""
    weight, bias = (np.split(fill.given[f"cells.{number}.{name}"], 2) for name in ("input", "input_bias"))
    update = fill.dense(f"update_{number}", weight[0], bias[0], activation="sigmoid")(x)
    candidate = fill.dense(f"candidate_{number}", weight[1], bias[1])(x)
    change = layers.Multiply()([update, layers.Subtract()([candidate, state])])
    h = layers.Add(name=f"cell_{number}")([state, change])
    return h, h


Cell = Callable[[Filling, int, Any, Any], tuple[Any, Any]]
CELLS: dict[str, Cell] = {"lstm": _lstm, "gru": _gru, "rnn": _rnn, "mingru": _mingru}


def _ngrams(fill: Filling, vocab_size: int) -> Any:
    tables = ("child_first", "child_token", "left", "entry_first", "entry_token", "entry_share", "lowest")
    given = {name: fill.given[f"tables.{name}"] for name in tables}
    by_known = fill.given["by_known"]
    layer = sys.modules[LAYERS].NGrams(
        order=len(by_known),
        vocab_size=vocab_size,
        nodes=len(given["left"]),
        entries=len(given["entry_token"]),
        most_children=max(1, int(np.diff(given["child_first"]).max())),
        most_entries=max(1, int(np.diff(given["entry_first"])[1:].max())),
        name="ngrams",
    )
    # Keras lists what can be learnt before what cannot.
    gates = (fill.given["gates_weight"].T, fill.given["gates_bias"], by_known)
    return fill(layer, *gates, *given.values())


def _cache(fill: Filling, config: Mapping[str, Any]) -> Any:
    layer = sys.modules[LAYERS].Cache(config["window"], config["shortest"], name="cache")
    return fill(layer, fill.given["cache_by_length"], fill.given["cache_gate"])


def image_model(fill: Filling, config: Mapping[str, Any]) -> Any:
    """Latent numbers (B, Z), and class numbers or -1 (B,) where there are classes, to pictures (B, C, R, R)."""
    given = fill.given
    inputs = [keras.Input((config["latent"],), name="latent")]
    z = inputs[0]
    if "classes.weight" in given:
        inputs.append(keras.Input((), dtype="int32", name="labels"))
        # The row of no class stands first here, so that -1 asks for it.
        row = layers.ReLU()(layers.Rescaling(1.0, offset=1.0)(inputs[1]))
        table = np.roll(given["classes.weight"], 1, axis=0)
        told = fill(layers.Embedding(*table.shape, name="classes"), table)(row)
        z = layers.Concatenate()([z, told])
    x = SHAPES[config["shape"]](fill, z)
    x = layers.Activation("tanh", dtype="float32", name="colours_tanh")(x)
    return keras.Model(inputs, [layers.Permute((3, 1, 2), name="pictures")(x)], name="bowerbird")


def _conv(fill: Filling, z: Any) -> Any:
    given = fill.given
    weight, bias = given["body.start.weight"], given["body.start.bias"]
    x = fill.dense("start", weight, bias)(z)
    x = layers.Permute((2, 3, 1))(layers.Reshape((len(weight) // 16, 4, 4))(x))
    x = _rectified(_batch_normed(fill, 0)(x))
    for number in _counted(given, "body.doublings"):
        prefix = f"body.doublings.{number}"
        weight = given[f"{prefix}.weight"]
        double = layers.Conv2DTranspose(
            weight.shape[1], weight.shape[2:], strides=2, padding="same", name=f"double_{number}"
        )
        x = fill(double, weight.transpose(2, 3, 1, 0), given[f"{prefix}.bias"])(x)
        x = _rectified(_batch_normed(fill, number + 1)(x))
    return fill.convolution("colours", "body.colours")(x)


def _batch_normed(fill: Filling, number: int) -> Any:
    names = ("weight", "bias", "running_mean", "running_var")
    weights = [fill.given[f"body.norms.{number}.{name}"] for name in names]
    return fill(layers.BatchNormalization(epsilon=1e-5, name=f"norm_{number}"), *weights)


def _residual(fill: Filling, z: Any) -> Any:
    given = fill.given
    x = fill.dense("start", given["body.start.weight"])(z)
    basis = given["body.basis"][0].transpose(1, 2, 0)
    x = fill(layers.EinsumDense("bc,hwc->bhwc", output_shape=basis.shape, name="basis"), basis)(x)
    for stage in _counted(given, "body.stages"):
        if stage:
            if f"body.between.{stage - 1}.weight" in given:
                x = fill.convolution(f"between_{stage}", f"body.between.{stage - 1}")(x)
            x = layers.UpSampling2D(2, interpolation="bilinear")(x)
        for block in _counted(given, f"body.stages.{stage}"):
            x = _block(fill, f"body.stages.{stage}.{block}", f"{stage}_{block}", x)
    return fill.convolution("colours", "body.colours")(x)


def _block(fill: Filling, prefix: str, name: str, x: Any) -> Any:
    mix = fill.given[f"{prefix}.mix.weight"]
    inner = _rectified(fill.convolution(f"widen_{name}", f"{prefix}.widen")(x))
    groups = len(mix) // mix.shape[1]
    inner = _rectified(fill.convolution(f"mix_{name}", f"{prefix}.mix", groups=groups)(inner))
    return layers.Add(name=f"block_{name}")(
        [x, fill.convolution(f"narrow_{name}", f"{prefix}.narrow")(inner)]
    )


def _rectified(x: Any) -> Any:
    return layers.LeakyReLU(negative_slope=_SLOPE)(x)


def _counted(given: Given, prefix: str) -> range:
    """The numbers that follow a prefix in the names."""
    begin = len(prefix) + 1
    return range(len({name[begin:].partition(".")[0] for name in given if name.startswith(f"{prefix}.")}))


SHAPES: dict[str, Callable[[Filling, Any], Any]] = {"conv": _conv, "residual": _residual}


def write(folder: Path, path: Path) -> None:
    task = json.loads((folder / "task.json").read_text(encoding="utf-8"))
    with np.load(folder / "arrays.npz", allow_pickle=False) as held:
        fill = Filling({name: held[name] for name in held.files})
    our_layers(Path(__file__).with_name("keras_layers.py"))
    model = (image_model if task["kind"] == "image" else text_model)(fill, task["config"])
    fill.done()
    model.save(path)
    _tell(path, json.dumps(task["told"]))


def _tell(path: Path, about: str) -> None:
    """Put what an export tells of itself into its file: one more of the archive's files, or a dataset."""
    if path.suffix == ".keras":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(TOLD, about)
    else:
        import h5py

        with h5py.File(path, "r+") as file:
            file[TOLD] = about


def run(path: Path) -> Callable[[Arrays], Arrays]:
    """The model in a file, as a function of arrays; with the layers that lie beside it."""
    own = path.with_name(f"{LAYERS}.py")
    if own.exists():
        our_layers(own)
    model = keras.saving.load_model(path, compile=False)

    def step(given: Arrays) -> Arrays:
        found = model.predict_on_batch(list(given))
        return found if isinstance(found, list) else [found]

    return step


def our_layers(path: Path) -> None:
    """Import a file of layers under the name that it has beside an export: files tell where a layer is from."""
    spec = importlib.util.spec_from_file_location(LAYERS, path)
    assert spec is not None, "it is a file of Python"
    assert spec.loader is not None, "it is a file of Python"
    module = sys.modules[LAYERS] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        serve(lambda: run(Path(sys.argv[2])))
