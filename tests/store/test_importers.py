"""Foreign files are read into networks that give what the foreign ones give."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.foreign import (
    SYMBOLS,
    TOKENS,
    char_lstm,
    char_rnn,
    in_h5,
    keras_layer,
    lstm_parts,
    plain_state,
    sequential,
    write_h5,
    write_keras,
)

from bowerbird.base.errors import CorruptFile, DataError, NotFound
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.store.importers import IMPORTERS, hdf5
from bowerbird.store.importers.importer import Foreign
from bowerbird.store.importers.symbols import as_symbols, read_symbols

TEXT = torch.randint(0, TOKENS, (3, 40), generator=torch.Generator().manual_seed(5))


def logits(foreign: Foreign, tokens: torch.Tensor = TEXT) -> torch.Tensor:
    """What our network gives with the weights of a file."""
    network = RNN(RNNConfig.model_validate(foreign.architecture), len(foreign.weights["output"]))
    network.load_state_dict(dict(foreign.weights))
    with torch.no_grad():
        return network.eval()(tokens, network.start(len(tokens)))[0]


@pytest.mark.parametrize("embedding", [6, None], ids=["embedding", "one-hot"])
@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_a_char_rnn_of_pytorch_s_gives_what_it_gave(
    cell: str, embedding: int | None, suffix: str, tmp_path: Path
) -> None:
    network = char_rnn(cell=cell, embedding=embedding)
    path = tmp_path / f"model{suffix}"
    if suffix == ".safetensors":
        save_file(plain_state(network), path)
        found = IMPORTERS["safetensors"].read(path)
    else:
        torch.save(plain_state(network), path)
        found = IMPORTERS["pth"].read(path)
    assert found.architecture == {
        "cell": cell.lower(),
        "width": 12,
        "layers": 2,
        "embedding": embedding or TOKENS,
    }
    with torch.no_grad():
        assert torch.allclose(logits(found), network(TEXT), atol=1e-6)
    assert bool(found.notes) == (cell == "RNN"), "the nonlinearity of a plain RNN is told to be assumed"


def test_a_checkpoint_s_own_list_of_symbols_is_found(tmp_path: Path) -> None:
    network = char_rnn(embedding=None)
    path = tmp_path / "rnn.net"
    for number, (name, table) in enumerate(
        {"tokens": tuple(SYMBOLS), "stoi": {symbol: number for number, symbol in enumerate(SYMBOLS)},
         "int2char": dict(enumerate(SYMBOLS)), "chars": "".join(SYMBOLS)}.items()
    ):  # fmt: skip
        path = tmp_path / f"{number}.pth"
        torch.save({"n_hidden": 12, "state_dict": plain_state(network), name: table}, path)
        assert IMPORTERS["pth"].read(path).symbols == tuple(SYMBOLS)


def test_older_files_of_torch_s_are_read_too(tmp_path: Path) -> None:
    network = char_rnn()
    torch.save(plain_state(network), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with torch.no_grad():
        assert torch.allclose(logits(IMPORTERS["pth"].read(tmp_path / "old.pth")), network(TEXT), atol=1e-6)


def test_names_within_a_larger_module_and_no_biases_change_nothing(tmp_path: Path) -> None:
    network = char_rnn(cell="GRU")
    state = OrderedDict((f"module.net.{name}", value) for name, value in plain_state(network).items())
    for name in [name for name in state if "bias" in name]:
        state[name].zero_()
        del state[name]
    torch.save(state, tmp_path / "model.pth")
    with torch.no_grad():
        assert torch.allclose(logits(IMPORTERS["pth"].read(tmp_path / "model.pth")), network(TEXT), atol=1e-6)


def _without(name: str) -> dict[str, Any]:
    return {key: value for key, value in plain_state(char_rnn()).items() if key != name}


STRANGE: dict[str, tuple[dict[str, Any], str]] = {
    "a bidirectional one": (plain_state(torch.nn.LSTM(4, 4, bidirectional=True)), "both ends"),
    "one with a projection": (plain_state(torch.nn.LSTM(4, 4, proj_size=2)), "projection"),
    "no recurrent layer": (plain_state(torch.nn.Linear(3, 3)), "of recurrent layers this has none"),
    "attention beside it": (
        {**plain_state(char_rnn()), "attention.weight": torch.ones(3, 3), "attention.bias": torch.ones(3)},
        "nothing else",
    ),
    "a missing part": (_without("rnn.weight_hh_l1"), "weight_hh_l1"),
    "an output that does not fit": (
        {**plain_state(char_rnn()), "fc.weight": torch.ones(TOKENS, 5)},
        "output layer",
    ),
    "an input that does not fit": (
        {**plain_state(char_rnn()), "embedding.weight": torch.ones(TOKENS, 5)},
        "recurrent layer 1 does not fit",
    ),
    "numbers that are not finite": (
        {**plain_state(char_rnn()), "fc.bias": torch.full((TOKENS,), float("nan"))},
        "not all finite",
    ),
}


@pytest.mark.parametrize(("state", "why"), STRANGE.values(), ids=STRANGE)
def test_a_network_that_ours_cannot_be_is_refused_with_the_reason(
    state: dict[str, Any], why: str, tmp_path: Path
) -> None:
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(DataError, match=why):
        IMPORTERS["pth"].read(tmp_path / "model.pth")


def numpy_lstm(parts: dict[str, Any], tokens: torch.Tensor) -> np.ndarray:
    """Keras' LSTM as its documentation writes it, one row at a time: logits (B, T, V)."""
    (table,), (kernel, recurrent, bias), (out, out_bias) = parts["embedding"], parts["lstm"], parts["dense"]
    made = []
    for row in tokens.tolist():
        h = c = np.zeros(len(recurrent))
        for token in row:
            i, f, g, o = np.split(table[token] @ kernel + h @ recurrent + bias, 4)
            i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
            c = f * c + i * np.tanh(g)
            h = o * np.tanh(c)
            made.append(h @ out + out_bias)
    return np.array(made).reshape(*tokens.shape, -1)


def test_keras_files_are_read_as_keras_documents_them(tmp_path: Path) -> None:
    parts = lstm_parts()
    files = [
        write_keras(tmp_path / "a.keras", char_lstm(), parts),
        write_h5(tmp_path / "b.h5", char_lstm(), in_h5(parts)),
        write_h5(tmp_path / "c.hdf5", None, in_h5(parts)),
    ]
    for path in files:
        found = IMPORTERS["keras" if path.suffix == ".keras" else "h5"].read(path)
        assert np.allclose(logits(found).numpy(), numpy_lstm(parts, TEXT), atol=1e-5), path.name
        assert any("taken to have" in note for note in found.notes) == (path.name == "c.hdf5")


MAKE = """
import os, sys
os.environ["KERAS_BACKEND"] = "torch"
import h5py
import numpy as np
import keras
from keras import layers
folder, V = sys.argv[1], int(sys.argv[2])
tokens = np.load(folder + "/tokens.npy")
L = layers
rows = {
    "lstm": [L.Input((None,)), L.Embedding(V, 6), L.LSTM(9, return_sequences=True), L.Dropout(0.1),
             L.LSTM(9, return_sequences=True), L.Dense(V, activation="softmax")],
    "gru": [L.Input((None,)), L.Embedding(V, 6), L.GRU(9, return_sequences=True),
            L.GRU(7, return_sequences=True), L.TimeDistributed(L.Dense(V)), L.Activation("softmax")],
    "rnn": [L.Input((None,)), L.Embedding(V, 6), L.SimpleRNN(9, return_sequences=True), L.Dense(V)],
    "one_hot": [L.Input((None, V)), L.LSTM(9, return_sequences=True), L.Dense(V, activation="softmax")],
}
for name, row in rows.items():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(row)
    for weight in model.weights:
        weight.assign(np.random.normal(size=weight.shape) * 0.4)
    given = np.eye(V, dtype="float32")[tokens] if name == "one_hot" else tokens
    np.save(f"{folder}/{name}.npy", model.predict(given, verbose=0))
    model.save(f"{folder}/{name}.keras")
    model.save(f"{folder}/{name}.h5")
keras.utils.set_random_seed(3)
at = x = L.Input((40,))
x = L.LSTM(9)(L.Embedding(V, 6)(x))
model = keras.Model(at, L.Dense(V, activation="softmax")(x))
np.save(f"{folder}/last.npy", model.predict(tokens, verbose=0))
model.save(f"{folder}/last.keras")
before = keras.Sequential([L.Input((None,)), L.Embedding(V, 6), L.GRU(9, reset_after=False), L.Dense(V)])
before.save(f"{folder}/before.keras")
before.save(f"{folder}/before.h5")
at = x = L.Input((40,))
x = L.Embedding(V, 6)(x)
y = L.LSTM(9, return_sequences=True)(x)
model = keras.Model(at, L.Dense(V)(L.Concatenate()([x, y])))
model.save(f"{folder}/skip.keras")
model.save(f"{folder}/skip.h5")
both = keras.Sequential([L.Input((None,)), L.Embedding(V, 6), L.Bidirectional(L.LSTM(9)), L.Dense(V)])
both.save(f"{folder}/both.keras")
cell = L.LSTM(9, recurrent_activation="hard_sigmoid")
hard = keras.Sequential([L.Input((None,)), L.Embedding(V, 6), cell, L.Dense(V)])
hard.save(f"{folder}/hard.keras")
"""


@pytest.fixture(scope="module")
def keras_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files that Keras itself wrote, in a process of its own, and what its networks gave."""
    folder = tmp_path_factory.mktemp("keras")
    np.save(folder / "tokens.npy", TEXT.numpy())
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MAKE, str(folder), str(TOKENS)],
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return folder


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", ["lstm", "gru", "rnn", "one_hot"])
def test_a_file_that_keras_wrote_gives_what_keras_gave(keras_files: Path, name: str, suffix: str) -> None:
    found = IMPORTERS[suffix[1:]].read(keras_files / f"{name}{suffix}")
    wanted = torch.from_numpy(np.load(keras_files / f"{name}.npy"))
    ours = logits(found)
    assert torch.allclose(ours if name == "rnn" else ours.softmax(-1), wanted, atol=1e-5)
    if name == "gru":
        assert found.architecture["width"] == 9, "the narrower layer is filled up"


def test_a_model_that_gives_the_last_place_alone_is_read_too(keras_files: Path) -> None:
    found = IMPORTERS["keras"].read(keras_files / "last.keras")
    wanted = torch.from_numpy(np.load(keras_files / "last.npy"))
    assert torch.allclose(logits(found)[:, -1].softmax(-1), wanted, atol=1e-5)
    assert "windows of 40 tokens" in found.notes[0]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("before.keras", "reset_after=False"),
        ("before.h5", "reset_after=False"),
        ("skip.keras", "connections past layers"),
        ("skip.h5", "connections past layers"),
        ("both.keras", "both ends"),
        ("hard.keras", "recurrent_activation 'hard_sigmoid'"),
    ],
)
def test_what_keras_has_and_ours_have_not_is_refused_with_the_reason(
    keras_files: Path, name: str, why: str
) -> None:
    with pytest.raises(DataError, match=why):
        IMPORTERS[name.rpartition(".")[2]].read(keras_files / name)


def textgenrnn(attention: bool, together: bool) -> dict[str, dict[str, Any]]:
    """textgenrnn's weights: two layers, and what comes between them and the output."""
    draw = np.random.default_rng(1)
    reads = 4 + 5 + 5 if together else 5
    shapes = {
        "input": {},
        "embedding": {"embedding/embeddings:0": (TOKENS, 4)},
        "rnn_1": {"rnn_1/kernel:0": (4, 20), "rnn_1/recurrent_kernel:0": (5, 20), "rnn_1/bias:0": (20,)},
        "rnn_2": {"rnn_2/kernel:0": (5, 20), "rnn_2/recurrent_kernel:0": (5, 20), "rnn_2/bias:0": (20,)},
        **({"attention": {"attention/attention_W:0": (reads, 1)}} if attention else {}),
        "output": {"output/kernel:0": (reads, TOKENS), "output/bias:0": (TOKENS,)},
    }
    return {
        layer: {name: draw.normal(size=shape).astype(np.float32) for name, shape in arrays.items()}
        for layer, arrays in shapes.items()
    }


@pytest.mark.parametrize(
    ("attention", "together", "why"),
    [(True, True, "average by attention"), (False, True, "reads the embedding and every layer together")],
)
def test_what_textgenrnn_has_beyond_ours_is_named(
    attention: bool, together: bool, why: str, tmp_path: Path
) -> None:
    path = write_h5(tmp_path / "x.hdf5", None, textgenrnn(attention, together))
    with pytest.raises(DataError, match=f"(?s){why}.*textgenrnn|textgenrnn.*{why}"):
        IMPORTERS["h5"].read(path)


def test_textgenrnn_s_layers_in_a_row_are_read_with_the_vocabulary_beside_them(tmp_path: Path) -> None:
    path = write_h5(tmp_path / "poems_weights.hdf5", None, textgenrnn(attention=False, together=False))
    vocabulary = {symbol: number for number, symbol in enumerate(["<s>", *SYMBOLS[1:-1]], 1)}
    (tmp_path / "poems_vocab.json").write_text(json.dumps(vocabulary))
    found = IMPORTERS["h5"].read(path)
    assert found.symbols == (None, "<s>", *SYMBOLS[1:-1])
    assert found.architecture["layers"] == 2


def test_a_layer_that_reads_from_two_is_refused(tmp_path: Path) -> None:
    config = char_lstm()
    config["class_name"] = "Functional"
    for layer in config["config"]["layers"]:
        layer["inbound_nodes"] = [[["input_layer", 0, 0, {}], ["embedding", 0, 0, {}]]]
    with pytest.raises(DataError, match="layers in a row"):
        IMPORTERS["keras"].read(write_keras(tmp_path / "x.keras", config, lstm_parts()))


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [keras_layer("Dense", "dense", activation="softmax")],
        [keras_layer("LSTM", "lstm"), keras_layer("Embedding", "embedding"), keras_layer("Dense", "dense")],
        [keras_layer("Embedding", "embedding"), keras_layer("LSTM", "lstm")],
        [keras_layer("LSTM", "lstm"), keras_layer("GRU", "gru"), keras_layer("Dense", "dense")],
    ],
    ids=["nothing", "no cell", "another order", "no output", "two kinds"],
)
def test_other_rows_of_layers_are_refused(layers: list[Any], tmp_path: Path) -> None:
    with pytest.raises(DataError):
        IMPORTERS["keras"].read(write_keras(tmp_path / "x.keras", sequential(*layers), lstm_parts()))


def test_symbols_are_read_from_lists_texts_and_tables(tmp_path: Path) -> None:
    assert as_symbols(["a", None, ""]) == ("a", None, None)
    assert as_symbols("abc") == ("a", "b", "c")
    assert as_symbols({"a": 1, "b": 3}) == (None, "a", None, "b")
    assert as_symbols({"1": "a", "0": "b"}) == ("b", "a")
    for wrong in (7, [1, 2], {"a": -1}, {"a": 10**9}, {"a": 0, "b": 0}, {}, {"a": "b"}):
        assert as_symbols(wrong) is None
    (tmp_path / "x.json").write_text('{"a": {}}')
    with pytest.raises(DataError, match="no list of symbols"):
        read_symbols(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("[")
    with pytest.raises(CorruptFile):
        read_symbols(tmp_path / "x.json")
    with pytest.raises(NotFound):
        read_symbols(tmp_path / "none.json")


def step_model() -> dict[str, Any]:
    """One step as `export --to keras` describes it: states in and out, carried by layers of their own."""

    def at(kind: str, name: str, *reads: str, **config: Any) -> dict[str, Any]:
        return {**keras_layer(kind, name, **config), "inbound_nodes": [[[read, 0, 0, {}] for read in reads]]}

    model = sequential(
        at("InputLayer", "tokens", batch_shape=[None]),
        at("Embedding", "embedding", "tokens"),
        at("InputLayer", "state_0", batch_shape=[None, 10]),
        at("Reshape", "halves", "state_0"),
        at("Cropping1D", "half", "halves"),
        at("Reshape", "sequence", "embedding"),
        at("LSTM", "lstm", "sequence", "half", activation="tanh", recurrent_activation="sigmoid"),
        at("Dense", "dense", "lstm", activation="linear"),
        at("Concatenate", "next_state_0", "lstm"),
    )
    model["class_name"] = "Functional"
    model["config"]["name"] = "bowerbird"
    return model


@pytest.mark.parametrize("form", [".keras", ".h5"])
def test_our_own_step_models_are_read_with_what_they_tell(form: str, tmp_path: Path) -> None:
    symbols = ["", "", *SYMBOLS[2:]]
    told = json.dumps({"metadata": {"bowerbird.start_token": "1"}, "symbols": symbols})
    path, parts = tmp_path / f"model{form}", lstm_parts()
    if form == ".keras":
        write_keras(path, step_model(), parts, **{"bowerbird.json": told.encode()})
    else:
        write_h5(path, step_model(), in_h5(parts))
        with h5py.File(path, "a") as root:
            root["bowerbird.json"] = told
    found = IMPORTERS[form[1:]].read(path)
    assert found.symbols == (None, "<s>", *SYMBOLS[2:])
    assert len(found.notes) == 1
    assert "made anew" in found.notes[0]
    assert np.allclose(logits(found).numpy(), numpy_lstm(parts, TEXT), atol=1e-5)


def test_a_process_that_dies_over_a_file_is_an_error_and_the_next_file_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_h5(tmp_path / "model.h5", char_lstm(), in_h5(lstm_parts()))
    monkeypatch.setattr(hdf5, "_READER", hdf5._Reader())
    with monkeypatch.context() as other:
        other.setattr(sys, "executable", "/bin/false")
        with pytest.raises(CorruptFile, match="crashed or hung"):
            IMPORTERS["h5"].read(path)
    assert IMPORTERS["h5"].read(path).architecture["width"] == 5
    hdf5._READER.close()
