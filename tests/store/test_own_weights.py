"""The exporters `pth` and `safetensors`: what lies in their files, for other libraries and for us."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tests.store.toy_export import toy, toy_pictures

from bowerbird.base.errors import Refused
from bowerbird.store.exporters import EXPORTERS
from bowerbird.store.exporters.own_weights import greedy_lines, runner_of

NAMES = {"weights": "w", "architecture": "a", "symbols": "s"}


def written(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    EXPORTERS["pth"].write(toy(**changes), tmp_path / "a.pth")
    found: dict[str, Any] = torch.load(tmp_path / "a.pth", weights_only=True)
    return found


def test_a_pth_file_holds_architecture_weights_and_optimizer(tmp_path: Path) -> None:
    optimizer = {"optimizer/output.weight/exp_avg": torch.ones(7, 3), "scale": torch.tensor(1.0)}
    found = written(tmp_path, optimizer=optimizer, partners={"critic": torch.zeros(2)})
    assert (found["format"], found["kind"], found["architecture"]) == (1, "text", {"cell": "toy", "width": 3})
    assert found["state_dict"].keys() == toy().weights.keys()
    assert all(torch.equal(value, toy().weights[name]) for name, value in found["state_dict"].items())
    assert found["optimizer"].keys() == optimizer.keys()
    assert found["partners"].keys() == {"critic"}
    assert found["symbols"] == ["", *"abcdef"]
    assert found["codec_files"] == {"tokenizer.json": "{}"}
    assert found["manifest"]["digest"] == "sha256:toy"


def test_without_an_optimizer_a_pth_file_says_nothing_of_one(tmp_path: Path) -> None:
    assert "optimizer" not in written(tmp_path)


def test_a_pth_file_holds_no_more_than_its_tensors(tmp_path: Path) -> None:
    whole = torch.zeros(500_000)
    written(tmp_path, weights={"part": whole[:10]})
    assert (tmp_path / "a.pth").stat().st_size < 10_000


def test_a_safetensors_folder_is_laid_out_as_on_the_hub(tmp_path: Path) -> None:
    EXPORTERS["safetensors"].write(toy(), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "README.md",
        "tokenizer.json",
    }
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["model_type"], config["architectures"], config["vocab_size"]) == ("bowerbird", ["RNN"], 7)
    assert (config["model"], config["bundle"]["digest"]) == ({"cell": "toy", "width": 3}, "sha256:toy")
    assert json.loads((tmp_path / "generation_config.json").read_text())["eos_token_id"] == [0]
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: bowerbird\npipeline_tag: text-generation\n---\n")
    assert "# A toy" in card
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(file.keys()) == set(toy().weights)
        assert file.metadata()["format"] == "pt"
        assert json.loads(file.metadata()["bowerbird.config"]) == config


def test_a_folder_of_pictures_tells_nothing_of_tokens(tmp_path: Path) -> None:
    EXPORTERS["safetensors"].write(toy_pictures(symbols=(), codec_files={}), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"config.json", "model.safetensors", "README.md"}
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["Generator"]


def test_a_codec_s_file_does_not_take_the_place_of_ours(tmp_path: Path) -> None:
    EXPORTERS["safetensors"].write(toy(codec_files={"config.json": b"[]"}), tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "bowerbird"


@pytest.mark.parametrize("change", ["value", "missing", "more", "shape", "type"])
def test_weights_that_come_back_otherwise_are_refused(change: str) -> None:
    exported = toy()
    weights = {name: value.clone() for name, value in exported.weights.items()}
    if change == "value":
        weights["output.bias"][2] += 1e-7
    elif change == "missing":
        del weights["output.bias"]
    elif change == "more":
        weights["output.scale"] = torch.ones(1)
    elif change == "shape":
        weights["output.bias"] = weights["output.bias"][None]
    else:
        weights["output.bias"] = weights["output.bias"].double()
    with pytest.raises(Refused, match=r"output\."):
        runner_of(exported, weights)


def test_weights_that_are_no_numbers_are_equal_to_themselves() -> None:
    weights = {"w": torch.tensor([1.0, float("nan")])}
    runner_of(toy(weights=weights), {"w": weights["w"].clone()})


def test_the_file_s_own_weights_are_run_where_the_network_can_be_rebuilt() -> None:
    asked: list[Any] = []

    def rebuilt(weights: Any) -> Any:
        asked.append(weights)
        return lambda inputs: [inputs[0] * 2]

    exported = replace(toy(), rebuilt=rebuilt)
    weights = dict(exported.weights)
    assert runner_of(exported, weights)([torch.ones(2).numpy()])[0].tolist() == [2.0, 2.0]
    assert asked[0] is weights


@pytest.mark.parametrize(
    ("change", "own"),
    [
        ({}, False),
        ({"cell": "gru"}, False),
        ({"cell": "rnn", "tied": True, "embedding": 4}, False),
        ({"tied": True, "embedding": 3}, True),
        ({"cell": "mingru"}, True),
        ({"norm": "rms"}, True),
        ({"residual": True}, True),
        ({"ngrams": 4}, True),
        ({"cache": {"window": 8}}, True),
    ],
    ids=str,
)
def test_lines_use_our_network_only_where_torch_has_none(change: dict[str, Any], own: bool) -> None:
    config = {"cell": "lstm", "width": 4, "embedding": 3, "layers": 2, "norm": "none", **change}
    made = greedy_lines(toy(config=config), "import torch", "w = a = s = None", NAMES)
    assert ("bowerbird" in made) == own
    compile(made, "lines", "exec")
