"""Extractors' files that are damaged, missing, of another time, or more than data: refused with words."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import save
from tests.evaluation.toy_pictures import Toy, toy

from bowerbird.base.digest import digest_bytes, sealed
from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound
from bowerbird.base.files import read_json, write_json
from bowerbird.evaluation.extractors.inception import VARIABLE, build
from bowerbird.evaluation.extractors.own import own
from bowerbird.evaluation.extractors.stored import RECORD, WEIGHTS


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    dataset = toy(tmp_path_factory.mktemp("sound"))
    own(dataset, steps=2)
    return dataset


def changed(folder: Path, **values: Any) -> None:
    """The record with other values, sealed again."""
    record = {key: value for key, value in read_json(folder / RECORD).items() if key != "digest"}
    write_json(folder / RECORD, sealed(record | values))


def other_weights(folder: Path, content: bytes) -> None:
    (folder / WEIGHTS).write_bytes(content)
    changed(folder, weights=digest_bytes(content))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "a bit of the weights": lambda folder: flip(folder / WEIGHTS),
    "the weights cut short": lambda folder: (folder / WEIGHTS).write_bytes(
        (folder / WEIGHTS).read_bytes()[:500]
    ),
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "weights that are none, sealed": lambda folder: other_weights(
        folder, b"\x08" + b"\x00" * 7 + b"notjson!"
    ),
    "a pickle as weights, sealed": lambda folder: other_weights(folder, pickle.dumps({"a": 1})),
    "weights of another network, sealed": lambda folder: other_weights(
        folder, save({"head.weight": torch.zeros(2)})
    ),
    "a record that is no JSON": lambda folder: (folder / RECORD).write_text("{"),
    "a record that is a list": lambda folder: (folder / RECORD).write_text("[1]"),
    "a record changed": lambda folder: (folder / RECORD).write_text(
        (folder / RECORD).read_text().replace('"steps": 2', '"steps": 3')
    ),
    "a newer format": lambda folder: changed(folder, format=99),
    "no format": lambda folder: changed(folder, format=None),
    "a config of the wrong type": lambda folder: changed(folder, config=[]),
    "a config that no network has": lambda folder: changed(folder, config={"resolution": -1}),
    "a config that is too large": lambda folder: changed(
        folder, config={"resolution": 16, "channels": 3, "outputs": 2, "width": 10**9}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_extractor_is_refused_with_words(
    sound: Toy, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    folder = tmp_path / "dataset"
    shutil.copytree(sound.path, folder)
    damage(folder)
    with pytest.raises(CorruptFile) as caught:
        own(Toy(folder, sound.pictures, sound.classes_of, sound.digest))
    assert "extractor" in caught.value.what
    assert caught.value.where


def test_weights_without_a_record_are_trained_anew(sound: Toy, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    shutil.copytree(sound.path, folder)
    (folder / RECORD).unlink()
    own(Toy(folder, sound.pictures, sound.classes_of, sound.digest), steps=1)
    assert read_json(folder / RECORD)["steps"] == 1


class Exploit:
    def __reduce__(self) -> tuple[Any, ...]:
        return (sys.exit, (3,))


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch-fidelity as if it were installed; its network is never reached."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the network was built")

    module = ModuleType("torch_fidelity.feature_extractor_inceptionv3")
    module.FeatureExtractorInceptionV3 = never  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", ModuleType("torch_fidelity"))
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)


@pytest.mark.parametrize("content", [Exploit(), None], ids=["code in the file", "not a file of weights"])
def test_what_is_no_file_of_weights_is_refused_and_never_run(
    package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    path = tmp_path / "weights.pth"
    if content is None:
        path.write_bytes(b"\x00garbage" * 50)
    else:
        torch.save(content, path)
    monkeypatch.setenv(VARIABLE, str(path))
    with pytest.raises(CorruptFile, match="not the weights of Inception"):
        build(toy(tmp_path))


def test_missing_weights_say_where_to_put_them(
    package: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "nowhere.pth"))
    with pytest.raises(NotFound) as caught:
        build(toy(tmp_path))
    assert isinstance(caught.value, BowerbirdError)
    assert VARIABLE in str(caught.value)
