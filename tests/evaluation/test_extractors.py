"""The dataset's own extractor: what it learns, that it is kept, and what the hand-made one sees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.evaluation.toy_pictures import Toy, bars, toy

from bowerbird.base.errors import DataError, MissingExtra, Refused
from bowerbird.evaluation.extractors import EXTRACTORS, gradients, stored
from bowerbird.evaluation.extractors import own as own_module
from bowerbird.evaluation.extractors.own import VARIANCE, contrast, own, train, view
from bowerbird.evaluation.fidelity import frechet


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """A labelled dataset with its extractor beside it. Not to be changed."""
    dataset = toy(tmp_path_factory.mktemp("labelled"))
    own(dataset, steps=25)
    return dataset


def test_two_obvious_classes_are_told_apart_on_pictures_not_learnt_from(trained: Toy) -> None:
    record = json.loads((trained.path / stored.RECORD).read_text())
    assert record["accuracy"] > 0.8
    assert record["judged"] == 40
    assert record["learnt"] == "classes"
    assert record["dataset"] == trained.digest
    assert record["steps"] == 25
    extractor = own(trained)
    assert extractor.classify is not None
    pictures, labels = bars(50, 77)
    assert np.mean(extractor.classify(pictures) == labels) > 0.8
    assert f"{record['accuracy']:.1%} of 40 valid pictures" in extractor.note


def test_the_stored_extractor_is_loaded_and_not_trained_again(
    trained: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = bars(9, 5)[0]
    first = own(trained).features(pictures)

    def never(*_: object, **__: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(own_module, "train", never)
    again = own(trained, seed=5, steps=1)
    assert np.array_equal(again.features(pictures), first)
    assert again.digest == json.loads((trained.path / stored.RECORD).read_text())["weights"]


def test_what_was_just_trained_and_what_is_loaded_give_the_same_features(tmp_path: Path) -> None:
    dataset, pictures = toy(tmp_path), bars(9, 5)[0]
    fresh = own(dataset, steps=3)
    loaded = own(dataset)
    assert np.array_equal(fresh.features(pictures), loaded.features(pictures))
    assert fresh.digest == loaded.digest


def test_training_is_a_function_of_the_seed_and_leaves_other_noise_alone(tmp_path: Path) -> None:
    dataset = toy(tmp_path)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    one, _ = train(dataset, steps=3, seed=1)
    assert torch.equal(torch.rand(1), expected)
    same, _ = train(dataset, steps=3, seed=1)
    other, _ = train(dataset, steps=3, seed=2)
    states = [
        torch.cat([value.flatten().float() for value in network.state_dict().values()])
        for network in (one, same, other)
    ]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_without_labels_it_learns_to_know_pictures_again(tmp_path: Path) -> None:
    dataset = toy(tmp_path, labelled=False)
    extractor = own(dataset, steps=2)
    record = json.loads((tmp_path / stored.RECORD).read_text())
    assert record["learnt"] == "views"
    assert "accuracy" not in record
    assert extractor.classify is None
    assert "know a picture again" in extractor.note


def test_views_of_pictures_not_learnt_from_are_known_again_better_than_by_chance(tmp_path: Path) -> None:
    dataset = toy(tmp_path, labelled=False)
    network, _ = train(dataset, steps=25)
    pictures = torch.from_numpy(dataset.images("valid").copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        loss = contrast(network(torch.cat([view(pictures, 1.0, noise), view(pictures, 1.0, noise)])), 0.2)
    assert float(loss) < 0.85 * np.log(2 * len(pictures) - 1)


def test_the_contrastive_loss_falls_when_views_are_alike() -> None:
    rows = torch.eye(4)
    assert contrast(torch.cat([rows, rows]), 0.2) < contrast(torch.cat([rows, rows.roll(1, 0)]), 0.2)
    # By hand: two orthogonal pictures, perfect views, temperature 1: -log(e / (e + 2)).
    pair = torch.eye(2)
    expected = -np.log(np.e / (np.e + 2))
    assert float(contrast(torch.cat([pair, pair]), 1.0)) == pytest.approx(expected, rel=1e-5)


def test_a_view_of_no_strength_is_the_picture() -> None:
    images = torch.rand(3, 3, 16, 16) * 2 - 1
    same = view(images, 0.0, torch.Generator().manual_seed(0))
    assert torch.allclose(same, images, atol=1e-5)
    assert not torch.allclose(view(images, 1.0, torch.Generator().manual_seed(0)), images, atol=0.1)


def test_one_average_picture_repeated_is_as_far_away_as_the_variance_says(trained: Toy) -> None:
    features = own(trained).features(trained.images("train"))
    repeated = np.tile(features.mean(0), (len(features), 1))
    unbiased = VARIANCE * len(features) / (len(features) - 1)
    assert frechet(features, repeated) == pytest.approx(unbiased, rel=1e-3)


def test_an_extractor_of_another_dataset_is_refused(trained: Toy) -> None:
    with pytest.raises(Refused, match="another dataset") as caught:
        own(replace(trained, digest="sha256:" + "1" * 64))
    assert "delete" in str(caught.value)


def test_an_extractor_of_an_older_recipe_is_trained_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = toy(tmp_path)
    own(dataset, steps=2)
    monkeypatch.setattr(own_module, "RECIPE", own_module.RECIPE + 1)
    own(dataset, steps=3)
    record = json.loads((tmp_path / stored.RECORD).read_text())
    assert (record["recipe"], record["steps"]) == (own_module.RECIPE, 3)


def test_where_nothing_can_be_written_it_is_kept_in_memory_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    dataset = replace(toy(tmp_path / "file" / "dataset"), digest="sha256:" + "2" * 64)
    extractor = own(dataset, steps=2)
    assert "not stored" in extractor.note
    again = own(dataset, steps=50)
    assert again.digest == extractor.digest
    assert "2 steps" in again.note


def test_time_ends_the_training(tmp_path: Path) -> None:
    own(toy(tmp_path), seconds=1e-6)
    assert json.loads((tmp_path / stored.RECORD).read_text())["steps"] <= 1


def test_one_picture_is_not_enough(tmp_path: Path) -> None:
    dataset = toy(tmp_path)
    few = {split: pictures[:1] for split, pictures in dataset.pictures.items()}
    labels = {split: found[:1] for split, found in dataset.classes_of.items()}
    with pytest.raises(DataError, match="at least 2"):
        own(replace(dataset, pictures=few, classes_of=labels))


def test_one_class_alone_is_learnt_as_without_labels(tmp_path: Path) -> None:
    dataset = toy(tmp_path)
    ones = {split: np.zeros_like(found) for split, found in dataset.classes_of.items()}
    extractor = own(replace(dataset, classes_of=ones, codec=SimpleNamespace(classes=("one",))), steps=2)
    assert extractor.classify is None


def test_gradients_see_direction_place_and_colour() -> None:
    lying = np.full((1, 32, 32, 3), 255, np.uint8)
    lying[:, 15:17, :] = 0
    standing = np.swapaxes(lying, 1, 2)
    edges = [gradients.features(picture)[0, :128].reshape(8, 4, 4) for picture in (lying, standing)]
    # Directions are those of the gradient: 4 of 8 is straight down, 0 is across.
    assert edges[0].sum((1, 2)).argmax() == 4
    assert edges[1].sum((1, 2)).argmax() == 0
    assert edges[0][4].sum(1).argmax() in (1, 2)
    red, blue = (np.full((1, 32, 32, 3), 255, np.uint8) for _ in range(2))
    red[..., 1:], blue[..., :2] = 0, 0
    moments = [gradients.features(picture)[0, -9:-6] for picture in (red, blue)]
    assert moments[0].tolist() == [10, 0, 0]
    assert moments[1].tolist() == [0, 0, 10]


@pytest.mark.parametrize(("length", "side"), [(16, 32), (28, 32), (64, 32), (33, 32)])
def test_resizing_keeps_the_mean(length: int, side: int) -> None:
    grey = np.random.default_rng(0).random((2, length, length)).astype(np.float32)
    assert gradients.resized(grey, side).mean((1, 2)) == pytest.approx(grey.mean((1, 2)), rel=1e-4)


def test_resizing_by_a_half_takes_the_mean_of_four() -> None:
    grey = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert gradients.resized(grey, 2)[0].tolist() == [[2.5, 4.5], [10.5, 12.5]]


def test_inception_without_its_package_names_the_extra(tmp_path: Path) -> None:
    with pytest.raises(MissingExtra) as caught:
        EXTRACTORS["inception"].build(toy(tmp_path))
    assert "bowerbird[inception]" in str(caught.value)
