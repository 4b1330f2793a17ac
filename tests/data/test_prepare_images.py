"""Preparing pictures: one size for all, duplicates out, classes by folder, and a dataset that maps them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bowerbird.base.config import resolve
from bowerbird.base.errors import CorruptFile, DataError, Refused, UsageError
from bowerbird.data import picture_spool
from bowerbird.data.codecs import CodecConfig, load_codec
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.dataset import SPLITS, Dataset
from bowerbird.data.picture_spool import chosen_size
from bowerbird.data.prepare import PrepareConfig, prepare

Pictures = NDArray[np.uint8]


def scenes(count: int, size: int = 32, seed: int = 1) -> Pictures:
    """(count, size, size, 3): coarse random patches, no two alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3))
    return coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2).astype(np.uint8)


def saved(folder: Path, pictures: Pictures | Sequence[Pictures], first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(pictures, first):
        Image.fromarray(picture).save(folder / f"{number:03}.png")
    return folder


def made(out: Path, *sources: Path | str, settings: tuple[str, ...] = (), **options: Any) -> dict[str, Any]:
    config = resolve(PrepareConfig, settings=settings)
    return prepare([str(source) for source in sources], out, config, kind="image", **options)


def ledger(dataset: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset / "ledger.jsonl").read_text().splitlines()]


def all_images(dataset: Dataset) -> Pictures:
    return np.concatenate([dataset.images(split) for split in SPLITS])


def as_set(pictures: Pictures) -> set[bytes]:
    return {picture.tobytes() for picture in pictures}


def test_a_folder_becomes_a_dataset_with_all_its_pictures(tmp_path: Path) -> None:
    pictures = scenes(40)
    result = made(tmp_path / "out", saved(tmp_path / "in", pictures))
    dataset = Dataset.open(tmp_path / "out")
    assert as_set(all_images(dataset)) == as_set(pictures)
    assert result["splits"] == {"train": 36, "valid": 2, "test": 2}
    assert (result["kind"], result["structure"], result["codec"]) == ("image", "plain", "pixels")
    assert (result["size"], result["channels"], result["classes"]) == (32, 3, {})
    assert (result["items"], result["rejected"], result["duplicates"]) == (40, 0, 0)
    assert result["bytes"] == 40 * 32 * 32 * 3
    assert result["digest"] == dataset.digest
    assert [line["status"] for line in ledger(tmp_path / "out")] == ["kept"] * 40
    assert sorted(os.listdir(tmp_path)) == ["in", "out"]
    assert not [name for name in os.listdir(tmp_path / "out") if "tmp" in name or "draft" in name]


def test_pictures_are_mapped_from_disk_with_their_table(tmp_path: Path) -> None:
    made(tmp_path / "out", saved(tmp_path / "in", scenes(20)))
    dataset = Dataset.open(tmp_path / "out")
    train = dataset.images("train")
    assert isinstance(train, np.memmap)
    assert train.shape == (18, 32, 32, 3)
    assert dataset.documents("train").tolist()[1] == [3072, 3072, 3072, 1]
    assert dataset.labels("train").tolist() == [-1] * 18
    assert dataset.labels("train").dtype == np.int32
    assert dataset.units_per_token() == pytest.approx(1 / 3072)
    assert dataset.held_out() == "test"


def test_without_a_test_split_there_are_no_pictures_in_it(tmp_path: Path) -> None:
    made(tmp_path / "out", saved(tmp_path / "in", scenes(4)), settings=("split.test=0",))
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.images("test").shape == (0, 32, 32, 3)
    assert dataset.labels("test").shape == (0,)


def test_the_same_pictures_give_the_same_dataset_and_another_seed_another(tmp_path: Path) -> None:
    source = saved(tmp_path / "in", scenes(20))
    first = made(tmp_path / "one", source)["digest"]
    source.rename(tmp_path / "elsewhere")
    assert made(tmp_path / "two", tmp_path / "elsewhere")["digest"] == first
    assert made(tmp_path / "three", tmp_path / "elsewhere", settings=("seed=2",))["digest"] != first


# size


@pytest.mark.parametrize(
    ("sides", "size"),
    [
        ([8], 16),
        ([22], 16),
        ([23], 32),
        ([28] * 9, 32),
        ([10, 64, 5000], 64),
        ([45], 32),
        ([46], 64),
        ([3000], 64),
    ],
)
def test_the_size_is_the_nearest_in_ratio_to_the_median(sides: list[int], size: int) -> None:
    assert chosen_size(sides) == size


def test_the_size_is_chosen_from_the_first_pictures_and_all_are_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture_spool, "HELD_PICTURES", 3)
    saved(tmp_path / "in", scenes(3, 16))
    saved(tmp_path / "in", scenes(4, 128, seed=2), first=3)
    result = made(tmp_path / "out", tmp_path / "in")
    assert (result["size"], result["items"]) == (16, 7)


def test_a_size_that_is_asked_for_is_used_and_enlarging_is_told(tmp_path: Path) -> None:
    result = made(tmp_path / "out", saved(tmp_path / "in", scenes(4, 8)), settings=("image.size=256",))
    assert Dataset.open(tmp_path / "out").images("train").shape[1:] == (256, 256, 3)
    assert any("enlarged" in line for line in result["warnings"])
    result = made(tmp_path / "same", tmp_path / "in", settings=("image.size=16",))
    assert any("enlarged" in line for line in result["warnings"])
    with pytest.raises(UsageError, match="size"):
        made(tmp_path / "odd", tmp_path / "in", settings=("image.size=48",))


def test_every_way_to_fit_gives_other_pictures(tmp_path: Path) -> None:
    wide = [np.concatenate([one, two], axis=1) for one, two in zip(scenes(4), scenes(4, seed=2), strict=True)]
    saved(tmp_path / "in", wide)
    made_with = {
        fit: frozenset(
            as_set(all_images(_opened(made(tmp_path / fit, tmp_path / "in", settings=(f"image.fit={fit}",)))))
        )
        for fit in ("crop", "pad", "squash")
    }
    assert len(set(made_with.values())) == 3


def _opened(result: dict[str, Any]) -> Dataset:
    return Dataset.open(result["dataset"])


# opacity


def seen_through(count: int) -> list[Pictures]:
    pictures = np.zeros((count, 32, 32, 4), np.uint8)
    pictures[..., :3] = 40
    pictures[..., 3] = scenes(count)[..., 0]
    return list(pictures)


def test_shapes_cut_out_of_one_colour_are_laid_on_the_background(tmp_path: Path) -> None:
    saved(tmp_path / "in", seen_through(4))
    images = all_images(_opened(made(tmp_path / "white", tmp_path / "in")))
    assert images.shape == (4, 32, 32, 1)  # black on white
    assert images.max() > 240
    black = made(tmp_path / "black", tmp_path / "in", settings=("image.background=black",))
    assert all_images(_opened(black)).max() <= 40


def test_opacity_is_a_fourth_channel_where_asked_and_there_is_some(tmp_path: Path) -> None:
    keep = ("image.alpha=keep",)
    see_through = seen_through(3)
    saved(tmp_path / "in", [*see_through, *scenes(2)])
    images = all_images(_opened(made(tmp_path / "out", tmp_path / "in", settings=keep)))
    assert images.shape == (5, 32, 32, 4)
    assert {picture[..., 3].tobytes() for picture in see_through} < {one[..., 3].tobytes() for one in images}
    opaque = made(tmp_path / "opaque", saved(tmp_path / "other", scenes(4)), settings=keep)
    assert opaque["channels"] == 3
    assert as_set(all_images(_opened(opaque))) == as_set(scenes(4))


def test_grey_pictures_have_one_channel_unless_colours_are_kept(tmp_path: Path) -> None:
    grey = scenes(5)[..., :1].repeat(3, axis=-1)
    saved(tmp_path / "in", [*grey, grey[0]])
    result = made(tmp_path / "out", tmp_path / "in")
    assert (result["channels"], result["items"], result["duplicates"]) == (1, 5, 1)
    images = all_images(_opened(result))
    assert images.shape == (5, 32, 32, 1)
    assert as_set(images) == as_set(grey[..., :1])
    kept = made(tmp_path / "kept", tmp_path / "in", settings=("image.colours=keep",))
    assert as_set(all_images(_opened(kept))) == as_set(grey)
    saved(tmp_path / "in", scenes(1, seed=9), first=6)
    assert made(tmp_path / "mixed", tmp_path / "in")["channels"] == 3


# duplicates


def test_copies_and_near_copies_are_left_out_with_the_reason(tmp_path: Path) -> None:
    pictures = scenes(6)
    near = np.clip(pictures[1].astype(int) + 2, 0, 255).astype(np.uint8)
    saved(tmp_path / "in", [*pictures, pictures[0], near])
    result = made(tmp_path / "out", tmp_path / "in")
    assert (result["items"], result["duplicates"]) == (6, 2)
    *_, copy, close = ledger(tmp_path / "out")
    assert (copy["status"], copy["reason"]) == ("duplicate", f"the same as {tmp_path}/in/000.png")
    assert close["reason"].startswith(f"nearly the same as {tmp_path}/in/001.png (colours differ by")
    kept = made(tmp_path / "all", tmp_path / "in", settings=("image.near_duplicates=false",))
    assert (kept["items"], kept["duplicates"]) == (7, 1)


def test_one_picture_is_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="one picture is not enough: at least 2"):
        made(tmp_path / "out", saved(tmp_path / "in", scenes(1)))
    assert os.listdir(tmp_path) == ["in"]


def test_pictures_that_are_all_the_same_are_not_enough(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all 5 pictures are the same"):
        made(tmp_path / "out", saved(tmp_path / "in", np.repeat(scenes(1), 5, axis=0)))


def test_two_pictures_are_enough_and_few_are_told(tmp_path: Path) -> None:
    result = made(tmp_path / "out", saved(tmp_path / "in", scenes(2)))
    assert result["splits"] == {"train": 1, "valid": 1, "test": 0}
    assert any("2 pictures are few" in line for line in result["warnings"])
    assert "too few pictures for a test split" in result["warnings"]
    many = made(tmp_path / "many", saved(tmp_path / "more", scenes(120)))
    assert many["warnings"] == []


# classes


def labelled(folder: Path, counts: dict[str, int]) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        saved(folder / name, scenes(count, seed=number + 1))
    return folder


def test_folders_are_classes(tmp_path: Path) -> None:
    result = made(tmp_path / "out", labelled(tmp_path / "in", {"dog": 10, "cat": 12}))
    dataset = Dataset.open(tmp_path / "out")
    assert isinstance(dataset.codec, Pixels)
    assert dataset.codec.classes == ("cat", "dog")
    assert dataset.structure == "labelled"
    assert result["classes"] == {"cat": 12, "dog": 10}
    dogs = as_set(scenes(10, seed=1))
    for split in SPLITS:
        for picture, label in zip(dataset.images(split), dataset.labels(split), strict=True):
            assert (picture.tobytes() in dogs) == (label == 1)


def test_a_class_of_one_picture_is_kept_and_told(tmp_path: Path) -> None:
    result = made(tmp_path / "out", labelled(tmp_path / "in", {"cat": 9, "dog": 1}))
    assert result["classes"] == {"cat": 9, "dog": 1}
    assert "classes with only one picture: dog" in result["warnings"]


def test_classes_are_not_learnt_where_they_are_not_wanted(tmp_path: Path) -> None:
    source = labelled(tmp_path / "in", {"cat": 5, "dog": 5})
    result = made(tmp_path / "out", source, settings=("image.labels=none",))
    assert (result["structure"], result["classes"]) == ("plain", {})
    assert Dataset.open(tmp_path / "out").labels("train").tolist() == [-1] * 8


def test_a_class_whose_pictures_are_all_copies_is_no_class(tmp_path: Path) -> None:
    labelled(tmp_path / "in", {"cat": 5})
    saved(tmp_path / "in" / "dog", scenes(5, seed=1))
    result = made(tmp_path / "out", tmp_path / "in")
    assert (result["structure"], result["duplicates"]) == ("plain", 5)
    assert "all pictures are of one class, so none is learnt" in result["notes"]


# what goes wrong


def test_a_bad_picture_is_told_and_the_rest_goes_on(tmp_path: Path) -> None:
    saved(tmp_path / "in", [*scenes(5), np.full((32, 32, 3), 9, np.uint8)])
    (tmp_path / "in" / "bad.png").write_bytes(b"words")
    result = made(tmp_path / "out", tmp_path / "in")
    assert (result["items"], result["rejected"]) == (5, 2)
    reasons = {line["reason"] for line in ledger(tmp_path / "out") if line["status"] == "rejected"}
    assert reasons == {"blank: it is all one colour", "not a picture, or a damaged one"}


def test_what_is_blank_once_it_is_cropped_is_left_out(tmp_path: Path) -> None:
    edge = np.full((32, 96, 3), 200, np.uint8)
    edge[:, 0] = 0
    saved(tmp_path / "in", [*scenes(3), edge])
    made(tmp_path / "out", tmp_path / "in")
    (line,) = [line for line in ledger(tmp_path / "out") if line["status"] == "rejected"]
    assert line["reason"] == "blank: it is all one colour, at 32 x 32 pixels"


def test_what_is_transparent_all_over_is_blank_once_it_is_laid_on_the_background(tmp_path: Path) -> None:
    ghost = np.dstack([scenes(1)[0], np.zeros((32, 32), np.uint8)])
    saved(tmp_path / "in", [*scenes(3), ghost])
    assert made(tmp_path / "out", tmp_path / "in")["rejected"] == 1


def test_a_file_named_that_is_no_picture_stops_unless_told_otherwise(tmp_path: Path) -> None:
    saved(tmp_path / "in", scenes(3))
    (tmp_path / "bad.png").write_bytes(b"words")
    with pytest.raises(DataError, match="1 of the 2 sources named"):
        made(tmp_path / "out", tmp_path / "in", tmp_path / "bad.png")
    assert not (tmp_path / "out").exists()
    assert made(tmp_path / "out", tmp_path / "in", tmp_path / "bad.png", skip_bad=True)["items"] == 3


def test_no_pictures_at_all_is_an_error_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no pictures found"):
        made(tmp_path / "out", tmp_path / "in")
    (tmp_path / "in" / "a.txt").write_text("words")
    with pytest.raises(DataError, match=r"unsupported file type \.txt"):
        made(tmp_path / "out", tmp_path / "in")


def test_a_dataset_is_never_overwritten(tmp_path: Path) -> None:
    made(tmp_path / "out", saved(tmp_path / "in", scenes(3)))
    with pytest.raises(Refused):
        made(tmp_path / "out", tmp_path / "in")


def test_a_changed_picture_or_label_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "out", labelled(tmp_path / "in", {"cat": 5, "dog": 5}))
    for name in ("train.tokens", "train.labels.npy"):
        path = tmp_path / "out" / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(CorruptFile, match="changed or damaged"):
            Dataset.open(tmp_path / "out")
        path.write_bytes(content)
    Dataset.open(tmp_path / "out")


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    source = saved(tmp_path / "in", scenes(5))
    made(tmp_path / "out", source, on_progress=lambda stage, count: told.append((stage, count)))
    assert told == [("gather", 5), ("duplicates", 0), ("encode", 5)]


# the codec and texts


def test_pixels_are_described_and_loaded() -> None:
    codec = Pixels(32, 16, 3, ["cat", "dog"])
    loaded = load_codec(json.loads(json.dumps(codec.describe())), codec.files())
    assert isinstance(loaded, Pixels)
    assert (loaded.height, loaded.width, loaded.channels) == (32, 16, 3)
    assert loaded.classes == ("cat", "dog")
    assert (loaded.vocab_size, loaded.unit, loaded.byte_sizes.tolist()) == (256, "image", [0.0] * 256)


def test_pixels_are_no_text() -> None:
    codec = Pixels(32, 32, 3)
    for refused in (lambda: codec.encode("a"), lambda: codec.decode([1]), codec.decoder):
        with pytest.raises(UsageError, match="pictures are no text"):
            refused()
    with pytest.raises(UsageError):
        Pixels.learn(lambda: iter(["a"]), CodecConfig())


def test_a_dataset_of_texts_has_no_pictures(tiny_dataset: Path) -> None:
    dataset = Dataset.open(tiny_dataset)
    with pytest.raises(UsageError, match="holds no pictures"):
        dataset.images("train")
    with pytest.raises(UsageError, match="holds no pictures"):
        dataset.labels("train")


def test_preparing_texts_needs_no_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    (tmp_path / "a.txt").write_text("the sea was under the stone\n" * 20)
    prepare([str(tmp_path / "a.txt")], tmp_path / "out", PrepareConfig())
