"""What an image run reads, what is recommended for it, and what a request for pictures may ask."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from tests.pictures import SIDE, TINY_GAN, new_model, shape, write_dataset

import bowerbird as bb
from bowerbird.base.digest import sealed
from bowerbird.base.errors import CorruptFile, UnknownName, UsageError
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.dataset import Dataset
from bowerbird.kinds import KINDS, image_sizes
from bowerbird.kinds.image_batches import shrunk
from bowerbird.kinds.image_judging import make, seen, some
from bowerbird.kinds.image_settings import ImageRequest
from bowerbird.runs.carry import settle
from bowerbird.sampling.images import ImageJob

IMAGE = KINDS["image"]


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("shapes") / "dataset")


@pytest.fixture(scope="module")
def model(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return bb.load(new_model(shapes, tmp_path_factory.mktemp("image") / "run"))


def config_for(dataset: Path, *settings: str) -> Any:
    shared = {"minutes": None, "seed": None, "config": None}
    return settle(
        IMAGE, Dataset.open(dataset), model=None, size="small", settings=[*TINY_GAN, *settings], **shared
    )


def test_every_picture_is_read_once_a_round_with_its_class(shapes: Path) -> None:
    data = Dataset.open(shapes)
    read = IMAGE.batch(data, config_for(shapes))
    images, labels = data.images("train"), data.labels("train")
    known = {image.tobytes(): label for image, label in zip(images, labels.tolist(), strict=True)}
    assert len(images) == 32
    rounds = []
    for first in (0, 4):
        steps = [read(step) for step in range(first, first + 4)]
        assert all(pictures.shape == (8, SIDE, SIDE, 3) for pictures, _ in steps)
        order = [picture.tobytes() for pictures, _ in steps for picture in pictures]
        numbers = [label for _, part in steps for label in part.tolist()]
        assert sorted(order) == sorted(known)
        assert [known[picture] for picture in order] == numbers
        rounds.append(order)
    assert rounds[0] != rounds[1]
    again = IMAGE.batch(data, config_for(shapes))(5)
    assert np.array_equal(again[0], read(5)[0])
    other = IMAGE.batch(data, config_for(shapes, "seed=2"))(0)
    assert not np.array_equal(other[0], read(0)[0])


def test_without_classes_no_picture_has_one(shapes: Path) -> None:
    _, labels = IMAGE.batch(Dataset.open(shapes), config_for(shapes, "model.classes=0"))(0)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) == {-1}


def test_a_batch_larger_than_the_dataset_goes_round(tmp_path: Path) -> None:
    few = write_dataset(tmp_path / "few", 5)
    pictures, _ = IMAGE.batch(Dataset.open(few), config_for(few))(3)
    assert len(pictures) == 8


def test_a_smaller_picture_is_the_mean_of_the_pixels_it_stands_for() -> None:
    picture = np.zeros((1, 4, 4, 3), np.uint8)
    picture[0, :2, :2, 0] = [[10, 20], [30, 41]]
    assert shrunk(picture, 2)[0, :, :, 0].tolist() == [[25, 0], [0, 0]]
    assert shrunk(picture, 4) is not None
    assert np.array_equal(shrunk(picture, 4), picture)
    assert np.array_equal(seen(shrunk(picture, 2), 4)[0, :2, :2, 0], np.full((2, 2), 25))
    for side in (3, 8):
        with pytest.raises(UsageError, match=f"{side} pixels"):
            shrunk(picture, side)


def fake(side: int, pictures: int, classes: tuple[str, ...] = ()) -> Any:
    info = {"splits": {"train": {"documents": pictures}}}
    return SimpleNamespace(codec=Pixels(side, side, 3, classes), info=info)


@pytest.mark.parametrize(
    ("side", "minutes", "cuda", "wanted"),
    [(64, 3, False, 32), (64, 8, False, 64), (64, None, False, 64), (64, 3, True, 64), (32, 1, False, 32),
     (128, 3, False, 64), (16, 1, False, 16)],
)  # fmt: skip
def test_a_short_time_on_a_processor_is_for_fewer_pixels(
    side: int, minutes: float | None, cuda: bool, wanted: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sizes.torch.cuda, "is_available", lambda: cuda)
    found = image_sizes.recommend(fake(side, 900), "gan", "medium", minutes)
    assert found["model"]["resolution"] == wanted
    assert found["model"]["latent"] == (64 if wanted == 64 else 16)


def test_few_pictures_are_varied_and_classes_are_learnt() -> None:
    few = image_sizes.recommend(fake(32, 4_999, ("a", "b", "c")), "gan", "small", 3)
    many = image_sizes.recommend(fake(32, 5_000), "gan", "large", 3)
    assert (few["learner"]["augment"], many["learner"]["augment"]) == ("adaptive", "none")
    assert (few["model"]["classes"], many["model"]["classes"]) == (3, 0)
    assert few["model"]["width"] < many["model"]["width"]
    assert image_sizes.recommend(fake(32, 5), "gan", "small", 3)["batch_size"] == 5
    for model, size in (("gab", "small"), ("gan", "smal")):
        with pytest.raises(UnknownName):
            image_sizes.recommend(fake(32, 10), model, size, 3)


def test_settings_that_fit_no_picture_here_are_refused(shapes: Path, tmp_path: Path) -> None:
    for number, setting in enumerate(
        ("model.channels=4", "model.classes=5", "model.resolution=64", "freeze=[nothing]")
    ):
        with pytest.raises(UsageError):
            new_model(shapes, tmp_path / str(number), setting)
        assert not (tmp_path / str(number)).exists()


def test_a_class_is_asked_for_by_name_or_number_or_drawn_by_the_seed(model: Any) -> None:
    def job(index: int = 0, **fields: Any) -> ImageJob:
        found: ImageJob = IMAGE.encode_request(model, model.request(**fields), index)
        return found

    assert (
        job(seed=3, label="square").label == job(seed=3, label=1).label == job(seed=3, label="1").label == 1
    )
    drawn = [job(seed=3, index=index).label for index in range(40)]
    assert set(drawn) == {0, 1}
    assert drawn[5:] == [job(seed=8, index=index).label for index in range(35)]
    for wrong in ("sqare", 2, "-1"):
        with pytest.raises(UnknownName, match="disc"):
            job(label=wrong)


def test_each_of_several_has_its_own_seed_and_goes_its_own_way(model: Any) -> None:
    request = model.request(n=3, seed=10, to_seed=20, frames=5, truncation=0.5)
    jobs = [IMAGE.encode_request(model, request, index) for index in range(3)]
    assert [(job.seed, job.to_seed, job.frames) for job in jobs] == [(10, 20, 5), (11, 21, 5), (12, 22, 5)]
    assert {job.truncation for job in jobs} == {0.5}
    assert IMAGE.encode_request(model, model.request(n=1, seed=1), 0).frames == 1


def test_a_model_without_classes_takes_no_label(shapes: Path, tmp_path: Path) -> None:
    plain = bb.load(new_model(shapes, tmp_path / "run", "model.classes=0"))
    assert plain.generate(seed=1)[0].content.shape == (SIDE, SIDE, 3)
    with pytest.raises(UsageError, match="no classes"):
        plain.generate(label="disc")


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"n": 5000}, {"truncation": 0}, {"truncation": 1.1}, {"frames": 1}, {"prompt": "x"}]
)
def test_requests_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ImageRequest.model_validate(wrong)


def test_files_say_how_they_were_made(model: Any) -> None:
    request = model.request(n=2, seed=4, label="disc", truncation=0.8)
    samples = model.generate(**request.model_dump())
    assert [sample.about["seed"] for sample in samples] == ["4", "5"]
    assert all(sample.about["model"] == model.digest for sample in samples)
    assert samples[0].about["label"] == "disc"
    assert b"bowerbird:model" in IMAGE.render(request, samples[0])["png"]
    assert set(IMAGE.together(samples)) == {"grid.png"}
    assert IMAGE.together(samples[:1]) == {}
    film = model.request(seed=4, to_seed=5, frames=3)
    one = model.generate(**film.model_dump())[0]
    assert one.content.shape == (3, SIDE, SIDE, 3)
    assert IMAGE.render(film, one)["webp"].startswith(b"RIFF")


def test_the_noise_of_an_evaluation_is_the_same_every_time(model: Any) -> None:
    labels = np.zeros(20, np.int64)
    one, again = (make(model.network, 20, labels, 3) for _ in range(2))
    assert np.array_equal(one, again)
    assert np.array_equal(make(model.network, 5, labels[:5], 3), one[:5])
    assert not np.array_equal(make(model.network, 20, labels, 4), one)
    assert some(5, 9, 1).tolist() == [0, 1, 2, 3, 4]
    assert len(set(some(90, 9, 1).tolist())) == 9


def test_another_dataset_is_brought_to_the_models_size_and_classes(model: Any, tmp_path: Path) -> None:
    larger = Dataset.open(write_dataset(tmp_path / "larger", 20, side=32, classes=("ring", "disc")))
    data, unseen = IMAGE.recode(model, larger, tmp_path / "made")
    assert data.codec.describe() == model.codec.describe()
    assert data.images("train").shape[1:] == (SIDE, SIDE, 3)
    assert set(data.labels("train").tolist()) == {-1, 0}, "a ring is unknown, and disc has another number"
    assert (unseen["most"], unseen["pictures"], unseen["share"]) == (["ring"], 10, 0.5)
    close = np.abs(data.images("train")[0].astype(int) - shrunk(shape("disc", 0, 32)[None], SIDE)[0])
    assert close.mean() < 12
    same, nothing = IMAGE.recode(model, Dataset.open(write_dataset(tmp_path / "same")), tmp_path / "unused")
    assert same.path == tmp_path / "same"
    assert nothing["pictures"] == 0
    assert not (tmp_path / "unused").exists()


def test_a_bundle_whose_classes_do_not_fit_its_network_is_refused(model: Any, tmp_path: Path) -> None:
    for change in ({"classes": 5}, {"channels": 4}, {"resolution": 17}, {"nothing": 1}):
        copy = tmp_path / "".join(change)
        shutil.copytree(model.bundle.path, copy)
        told = json.loads((copy / "bundle.json").read_text())
        told["config"]["model"].update(change)
        told.pop("digest")
        (copy / "bundle.json").write_text(json.dumps(sealed(told)))
        with pytest.raises(CorruptFile):
            bb.load(copy)
