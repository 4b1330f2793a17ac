"""Bundles made of a model in fewer bits, or without what only training needs: what they hold and what they tell."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from tests.conftest import TINY
from tests.pictures import new_model, write_dataset

import bowerbird as bb
from bowerbird.base.errors import UnknownName
from bowerbird.store.bundle import open_bundle, read_tensors

LOSS = {"bfloat16": 0.05, "float16": 0.005, "int8": 0.2}
"""Bits a byte that a tiny model may lose."""


@pytest.fixture(scope="module")
def run(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose matrices are large enough to be kept in fewer bits."""
    out = tmp_path_factory.mktemp("reduced") / "run"
    return bb.train(tiny_dataset, out, steps=12, settings=[*TINY, "model.width=32", "model.ngrams=3"]).path


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_fewer_bits_are_published_with_what_they_cost(run: Path, precision: str) -> None:
    model = bb.load(run)
    version = bb.publish(run, "poems", precision=precision)
    manifest = open_bundle(version.path).manifest
    told = manifest["precision"]
    assert told["weights"] == precision
    assert told["loss"]["measured"] > 100
    before, after = told["loss"]["before"]["bits_per_byte"], told["loss"]["after"]["bits_per_byte"]
    assert 0 < abs(after - before) < LOSS[precision]
    assert version.scores == pytest.approx(
        {"valid_bits_per_byte": after, "valid_bits_per_byte_lost": after - before}
    )
    assert manifest["lineage"] == {**model.bundle.manifest["lineage"], "made_of": model.digest}
    assert version.digest != model.digest
    kept = (version.path / "weights.safetensors").stat().st_size
    assert kept < (model.bundle.path / "weights.safetensors").stat().st_size


@pytest.mark.parametrize("precision", ["bfloat16", "float16", "int8"])
def test_what_was_published_is_a_model_like_any_other(
    run: Path, tiny_dataset: Path, precision: str, tmp_path: Path
) -> None:
    bb.publish(run, "poems", precision=precision)
    found = bb.load("poems")
    assert found.bundle.manifest["precision"]["weights"] == precision
    assert all(value.dtype == torch.float32 for value in found.network.parameters())
    assert found.network.ngrams is not None
    assert torch.equal(found.network.ngrams.counts, bb.load(run).network.ngrams.counts)
    assert found.generate(length=20, seed=3)[0].text == bb.load("poems").generate(length=20, seed=3)[0].text
    report = bb.evaluate("poems", dataset=tiny_dataset, settings=["samples=2", "length=20"])
    assert any(score.name == "bits_per_byte" for score in report.scores)
    tuned = bb.finetune("poems", tiny_dataset, tmp_path / "tuned", steps=2)
    assert "precision" not in bb.load(tuned.path).bundle.manifest


def test_the_same_again_is_the_same_version(run: Path) -> None:
    first = bb.publish(run, "poems", precision="int8")
    again = bb.publish(run, "poems", precision="int8")
    assert (again.version, again.already) == (first.version, True)


def test_published_once_more_what_it_cost_is_still_told(run: Path) -> None:
    bb.publish(run, "poems", precision="int8")
    told = open_bundle(bb.publish("poems", "small").path).manifest["precision"]
    assert told["loss"]["before"] != told["loss"]["after"]
    once_more = open_bundle(bb.publish("poems", "smaller", weights_only=True).path).manifest
    assert once_more["precision"] == told


def test_where_the_dataset_is_gone_the_cost_is_not_known(run: Path, tmp_path: Path) -> None:
    shutil.copytree(bb.load(run).bundle.path, tmp_path / "alone")
    version = bb.publish(tmp_path / "alone", "poems", precision="float16")
    assert open_bundle(version.path).manifest["precision"] == {"weights": "float16", "loss": None}
    assert version.scores == {}


def test_full_precision_without_partners_is_a_plain_bundle(tmp_path: Path) -> None:
    run = new_model(write_dataset(tmp_path / "data"), tmp_path / "run")
    shutil.copytree(run / "checkpoints" / "00000000" / "bundle", tmp_path / "model")
    whole = bb.publish(tmp_path / "model", "shapes")
    alone = bb.publish(tmp_path / "model", "shapes", weights_only=True)
    assert (whole.version, alone.version) == (1, 2)
    assert "partners.safetensors" in open_bundle(whole.path).manifest["files"]
    manifest = open_bundle(alone.path).manifest
    assert "partners.safetensors" not in manifest["files"]
    assert not (alone.path / "partners.safetensors").exists()
    assert "precision" not in manifest
    assert manifest["lineage"]["made_of"] == whole.digest
    assert manifest["format"] == open_bundle(whole.path).manifest["format"]
    ours, theirs = (read_tensors(one.path / "weights.safetensors") for one in (whole, alone))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())
    made = [bb.load(f"shapes@{number}").generate(seed=2, label="0")[0].content for number in (1, 2)]
    assert (made[0] == made[1]).all()


def test_a_published_model_is_as_it_was_where_nothing_is_asked(run: Path) -> None:
    assert bb.publish(run, "poems").digest == bb.load(run).digest


def test_an_unknown_precision_is_refused_before_any_work(run: Path) -> None:
    with pytest.raises(UnknownName, match="int8"):
        bb.publish(run, "poems", precision="int4")
    assert bb.versions() == []
