"""Model files made to run code, to read or write elsewhere, or to fill the memory: each is refused, and nothing ran.

Each file of the corpus is made here. What it would run makes a file, the canary; opened the usual way, most do.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import os
import pickle
import runpy
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from tests.conftest import Ran
from tests.foreign import SYMBOLS, char_lstm, char_rnn, in_h5, lstm_parts, plain_state, write_h5, write_keras

import bowerbird as bb
from bowerbird.base.errors import BowerbirdError, CorruptFile, DataError, Refused
from bowerbird.store.importers import IMPORTERS
from bowerbird.store.importers import hdf5 as hdf5_module


@pytest.fixture
def canary(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place where nothing may appear."""
    path = tmp_path_factory.mktemp("canary") / "ran"
    monkeypatch.setenv("CANARY", str(path))
    yield path
    assert not path.exists(), "code of the file ran"


class Calls:
    """Pickles to a call of a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def by_hand(module: str, name: str, argument: str, protocol: int = 2) -> bytes:
    """A pickle that calls a function by its name, which need not be there."""
    if protocol >= 4:
        return (
            b"\x80\x04" + b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
            + b"\x93\x8c" + bytes([len(argument)]) + argument.encode() + b"\x85R."
        )  # fmt: skip
    return b"\x80\x02c%s\n%s\n(X%s%stR." % (
        module.encode(), name.encode(), struct.pack("<I", len(argument)), argument.encode(),
    )  # fmt: skip


TOUCH = "open(__import__('os').environ['CANARY'], 'w').close()"
SHELL = 'touch "$CANARY"'


def objects() -> dict[str, Any]:
    """Values that call something when they are unpickled."""
    state = plain_state(char_rnn())
    return {
        "os.system": Calls(os.system, SHELL),
        "builtins.exec": Calls(exec, TOUCH),
        "builtins.eval": Calls(eval, TOUCH),
        "subprocess by name": Calls(__import__("subprocess").check_call, ["sh", "-c", SHELL]),
        "runpy": Calls(runpy.run_path, "/nonexistent"),
        "nested in a state dict": {**state, "fc.bias": Calls(os.system, SHELL)},
        "nested in a list in a checkpoint": {
            "state_dict": state,
            "history": [{"loss": [Calls(exec, TOUCH)]}],
        },
        "a pickle in a pickle": Calls(pickle.loads, pickle.dumps(Calls(os.system, SHELL))),
        "getattr": Calls(getattr, "os", "system"),
        "a whole module": Calls(torch.nn.Linear, 1, 1),
    }


def in_zip(content: bytes, path: Path, name: str = "model/data.pkl") -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, content)
        archive.writestr("model/version", "3\n")


MADE_BY_HAND = {
    "posix.system": by_hand("posix", "system", SHELL),
    "builtins.exec, protocol 4": by_hand("builtins", "exec", TOUCH, 4),
    "__builtin__.eval": by_hand("__builtin__", "eval", TOUCH),
    "a module that is not there": by_hand("evil_module", "payload", "x"),
    "torch.hub.load": by_hand("torch.hub", "load", "evil/evil"),
    "numpy.testing": by_hand("numpy.testing._private.utils", "runstring", TOUCH),
    "pip.main": by_hand("pip", "main", "install evil"),
    "webbrowser": by_hand("webbrowser", "open", "http://evil.example"),
    "asyncio's shell": by_hand("asyncio.unix_events", "_UnixSubprocessTransport._start", "x"),
    "cut short after the call": by_hand("posix", "system", SHELL)[:-1],
    "protocol 0": b"cposix\nsystem\n(S'" + SHELL.encode() + b"'\ntR.",
    "an instance by name": b"(S'" + SHELL.encode() + b"'\niposix\nsystem\n.",
}


def refused_untouched(path: Path, tmp_path: Path, *kinds: type[BowerbirdError]) -> BowerbirdError:
    """The import is refused by one of these errors, and the bundle is not there."""
    with pytest.raises(kinds or (Refused,)) as caught:
        bb.import_model(path, tmp_path / "bundle", symbols=SYMBOLS)
    assert not (tmp_path / "bundle").exists()
    assert caught.value.where
    return caught.value


@pytest.mark.parametrize("form", ["zip", "legacy", "bare"])
@pytest.mark.parametrize("name", objects())
def test_a_pickle_that_calls_something_is_refused_with_what_it_is(
    name: str, form: str, canary: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.pth"
    if form == "bare":
        path.write_bytes(pickle.dumps(objects()[name]))
    else:
        torch.save(objects()[name], path, _use_new_zipfile_serialization=form == "zip")
    error = refused_untouched(path, tmp_path)
    assert "run" in error.what
    wanted = {
        "os.system": "system",
        "getattr": "getattr",
        "runpy": "runpy",
        "a whole module": "linear.Linear",
    }
    assert wanted.get(name, "") in error.what


@pytest.mark.parametrize("packed", [True, False], ids=["zip", "bare"])
@pytest.mark.parametrize("name", MADE_BY_HAND)
def test_a_pickle_written_by_hand_is_refused(name: str, packed: bool, canary: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    if packed:
        in_zip(MADE_BY_HAND[name], path)
    else:
        path.write_bytes(MADE_BY_HAND[name])
    error = refused_untouched(path, tmp_path, Refused, CorruptFile)
    if "not there" in name:
        assert "evil_module.payload" in error.what


def test_the_corpus_does_run_where_it_is_not_refused(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = tmp_path_factory.mktemp("ran") / "ran"
    monkeypatch.setenv("CANARY", str(ran))
    torch.save(objects()["nested in a state dict"], tmp_path / "model.pth")
    torch.load(tmp_path / "model.pth", weights_only=False)
    assert ran.exists(), "the canary would have told"


def test_a_second_pickle_hidden_in_the_archive_is_found(canary: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    torch.save(plain_state(char_rnn()), path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("model/extra.pkl", MADE_BY_HAND["posix.system"])
    refused_untouched(path, tmp_path)


def test_a_torchscript_program_is_refused(canary: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/constants.pkl", pickle.dumps(()))
        archive.writestr("model/data.pkl", by_hand("__torch__", "Model", "x"))
        archive.writestr("model/code/__torch__.py", "class Model(Module): pass")
    refused_untouched(path, tmp_path, Refused, CorruptFile)


def test_a_tensor_larger_than_its_memory_is_refused(tmp_path: Path) -> None:
    state = {**plain_state(char_rnn()), "fc.bias": torch.zeros(1).expand(10**9)}
    torch.save(state, tmp_path / "model.pth")
    assert (
        "none that weights are made of"
        in refused_untouched(tmp_path / "model.pth", tmp_path, CorruptFile).what
    )


def test_zip_bombs_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    for suffix, name in ((".pth", "model/data.pkl"), (".keras", "config.json")):
        path = tmp_path / f"bomb{suffix}"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name, bytes(50_000_000))
        assert "zip bomb" in refused_untouched(path, tmp_path).what


@pytest.mark.parametrize(
    "name", ["../escaped", "/tmp/escaped", "a/../../escaped", "C:\\escaped", "..\\escaped"]
)
def test_a_member_that_would_leave_the_folder_is_refused(name: str, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", char_lstm(), lstm_parts(), **{name: b"x"})
    assert "outside its folder" in refused_untouched(path, tmp_path).what


def test_a_link_in_the_archive_is_refused(tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", char_lstm(), lstm_parts())
    with zipfile.ZipFile(path, "a") as archive:
        link = zipfile.ZipInfo("assets")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc")
    assert "link" in refused_untouched(path, tmp_path).what


def lambda_code() -> str:
    """The code of a Lambda layer as Keras packs it."""
    return base64.b64encode(marshal.dumps(compile(f"lambda x: {TOUCH}", "x", "eval"))).decode()


def with_layer(layer: dict[str, Any], place: int = 2) -> dict[str, Any]:
    config = char_lstm()
    config["config"]["layers"].insert(place, layer)
    return config


def custom(**parts: Any) -> dict[str, Any]:
    return {"config": {"name": "strange"}, **parts}


LAYERS: dict[str, tuple[dict[str, Any], str]] = {
    "a Lambda": (
        {"module": "keras.layers", "class_name": "Lambda", "registered_name": None, "config": {"name": "x",
         "function": {"class_name": "__lambda__", "config": {"code": lambda_code(), "defaults": None}}}},
        "Lambda",
    ),
    "a Lambda of Keras 2": (
        {"class_name": "Lambda", "config": {"name": "x", "function": [lambda_code(), None, None],
         "function_type": "lambda"}},
        "Lambda",
    ),
    "code as an activation": (
        {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"name": "x",
         "activation": {"class_name": "__lambda__", "config": {"code": lambda_code()}}}},
        "__lambda__",
    ),
    "a class of another module": (custom(module="os", class_name="system", registered_name=None), r"os\.system"),
    "a class of a module with a name like Keras'": (
        custom(module="keras_evil.layers", class_name="Layer"), r"keras_evil\.layers\.Layer"
    ),
    "a registered class": (
        custom(module=None, class_name="Layer", registered_name="evil>Layer"), "evil>Layer"
    ),
    "a registered class of Keras 2": (custom(class_name="evil>Layer"), "evil>Layer"),
    "a function of Keras' that fetches files": (
        {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"name": "x",
         "activation": {"module": "keras.utils", "class_name": "function", "config": "get_file",
                        "registered_name": "get_file"}}},
        r"keras\.utils\.get_file",
    ),
    "a function of another module": (
        {"module": "keras.layers", "class_name": "Dense", "registered_name": None, "config": {"name": "x",
         "activation": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}}},
        r"os\.system",
    ),
    "a built-in": (custom(module="builtins", class_name="eval"), r"builtins\.eval"),
    "a torch module in a pickle": (
        {"module": "keras.layers", "class_name": "TorchModuleWrapper", "registered_name": None,
         "config": {"name": "x", "module": base64.b64encode(MADE_BY_HAND["posix.system"]).decode()}},
        "TorchModuleWrapper",
    ),
    "a saved program": (
        {"module": "keras.layers", "class_name": "TFSMLayer", "registered_name": None,
         "config": {"name": "x", "filepath": "/tmp/evil"}},
        "TFSMLayer",
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", [".keras", ".h5"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_keras_file_that_would_run_code_is_refused_with_what_it_is(
    name: str, form: str, canary: Path, tmp_path: Path
) -> None:
    layer, told = LAYERS[name]
    path = tmp_path / f"model{form}"
    if form == ".keras":
        write_keras(path, with_layer(layer), lstm_parts())
    else:
        write_h5(path, with_layer(layer), in_h5(lstm_parts()))
    with pytest.raises(Refused, match=told) as caught:
        bb.import_model(path, tmp_path / "bundle", symbols=SYMBOLS)
    assert "would" in caught.value.what


def test_code_elsewhere_in_a_keras_file_is_found_too(canary: Path, tmp_path: Path) -> None:
    config = {**char_lstm(), "compile_config": {"loss": custom(module="os", class_name="system")}}
    refused_untouched(write_keras(tmp_path / "a.keras", config, lstm_parts()), tmp_path)
    config = {**char_lstm(), "module": "evil", "class_name": "Model"}
    refused_untouched(write_keras(tmp_path / "b.keras", config, lstm_parts()), tmp_path)


@pytest.mark.parametrize(
    "config",
    [
        "[" * 200_000,
        "{",
        "7",
        "null",
        '{"class_name": "Sequential"}',
        '{"class_name": "Sequential", "config": {"layers": [1]}}',
        '{"class_name": ["Sequential"], "config": {"layers": []}}',
        '{"class_name": "Model", "config": {"layers": [{"class_name": "LSTM", "config": 1}]}}',
        json.dumps(char_lstm()).replace('"LSTM"', '"TimeDistributed"'),
        json.dumps(char_lstm()).replace('"tanh"', '{"config": []}'),
        b"\xff\xfe",
    ],
)
def test_a_keras_description_that_is_none_is_refused(config: str | bytes, tmp_path: Path) -> None:
    refused_untouched(
        write_keras(tmp_path / "a.keras", config, lstm_parts()), tmp_path, CorruptFile, DataError
    )


def changed_weights(change: Callable[[h5py.File], object]) -> bytes:
    """The sound weights, with one change."""
    from tests.foreign import weights_file

    content = io.BytesIO(weights_file(lstm_parts()))
    with h5py.File(content, "r+") as root:
        change(root)
    return content.getvalue()


def replaced(root: h5py.File, **how: Any) -> None:
    del root["layers/dense/vars/0"]
    root["layers/dense/vars"].create_dataset("0", **how)


def linked(root: h5py.File, link: Any) -> None:
    del root["layers/dense/vars/0"]
    root["layers/dense/vars/0"] = link


def virtual(root: h5py.File) -> None:
    layout = h5py.VirtualLayout((5, 28), "f4")
    layout[:] = h5py.VirtualSource("/etc/passwd", "x", (5, 28))
    del root["layers/dense/vars/0"]
    root["layers/dense/vars"].create_virtual_dataset("0", layout)


WEIGHTS: dict[str, Callable[[h5py.File], object]] = {
    "a link to another file": lambda root: linked(root, h5py.ExternalLink("/etc/passwd", "/x")),
    "a soft link": lambda root: linked(root, h5py.SoftLink("/layers/lstm/cell/vars/0")),
    "numbers in another file": lambda root: replaced(
        root, shape=(5, 28), dtype="f4", external=[("/etc/passwd", 0, 560)]
    ),
    "a virtual array": virtual,
    "an array that claims to be huge": lambda root: replaced(
        root, shape=(50_000, 50_000), dtype="f4", chunks=(100, 100)
    ),
    "an array that claims to be huge, packed": lambda root: replaced(
        root, data=np.zeros((2000, 2000), "f4"), compression="gzip"
    ),
    "a filter that is a plugin": lambda root: replaced(
        root, shape=(5, 28), dtype="f4", chunks=(5, 28), compression=32015, allow_unknown_filter=True
    ),
    "texts instead of numbers": lambda root: replaced(root, data=[b"a"] * 5),
    "a group instead of an array": lambda root: (
        root.pop("layers/dense/vars/0"), root.create_group("layers/dense/vars/0")
    ),
    "no weights": lambda root: root.pop("layers/dense"),
    "an array of nothing": lambda root: replaced(root, data=h5py.Empty("f4")),
}  # fmt: skip


@pytest.mark.parametrize("name", WEIGHTS)
def test_keras_weights_that_are_elsewhere_or_too_much_are_refused(name: str, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", char_lstm(), changed_weights(WEIGHTS[name]))
    refused_untouched(path, tmp_path, Refused, CorruptFile, DataError)


def test_one_array_under_many_names_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    with h5py.File(path, "w") as root:
        names = [f"layer{number}" for number in range(900)]
        root.attrs["layer_names"] = [name.encode() for name in names]
        big = root.create_group("layer0")
        big.attrs["weight_names"] = [b"x"]
        big.create_dataset("x", data=np.ones((1000, 250), "f4"))
        for name in names[1:]:
            root[name] = big
    assert "many names" in refused_untouched(path, tmp_path).what


def test_a_library_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setitem(sys.modules, "picklescan.scanner", None)
    (tmp_path / "x.h5").write_bytes(b"x")
    (tmp_path / "x.pth").write_bytes(b"x")
    with pytest.raises(BowerbirdError, match=r"bowerbird\[export\]"):
        IMPORTERS["h5"].read(tmp_path / "x.h5")
    with pytest.raises(BowerbirdError, match=r"bowerbird\[security\]"):
        IMPORTERS["pth"].read(tmp_path / "x.pth")
    assert hdf5_module.__doc__


def test_the_command_tells_of_a_hostile_file_in_plain_lines(
    bowerbird: Callable[..., Ran], canary: Path, tmp_path: Path
) -> None:
    torch.save(objects()["os.system"], tmp_path / "model.pth")
    ran = bowerbird("import", tmp_path / "model.pth", "--out", tmp_path / "bundle")
    assert ran.code == 5
    assert "would run code" in ran.err
    assert "system" in ran.err
    assert "Traceback" not in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("suffix", [".pth", ".keras", ".h5", ".safetensors"])
def test_cut_and_flipped_files_are_errors_with_words_or_sound(suffix: str, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save(plain_state(char_rnn()), path)
    elif suffix == ".keras":
        write_keras(path, char_lstm(), lstm_parts())
    elif suffix == ".h5":
        write_h5(path, char_lstm(), in_h5(lstm_parts()))
    else:
        save_file(plain_state(char_rnn()), path)
    sound = path.read_bytes()
    draw = np.random.default_rng(7)
    read = IMPORTERS[suffix[1:]].read
    outcomes = {"read": 0, "refused": 0}
    for number in range(60):
        content = bytearray(sound)
        if number % 2:
            del content[int(draw.integers(len(content))) :]
        else:
            for place in draw.integers(len(content) if number % 4 else 2000, size=5):
                content[int(place) % len(content)] ^= 1 << int(draw.integers(8))
        path.write_bytes(bytes(content))
        try:
            read(path)
            outcomes["read"] += 1
        except BowerbirdError:
            outcomes["refused"] += 1
    assert outcomes["refused"] >= 30, "all that are cut short"
