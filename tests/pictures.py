"""Drawn shapes for the tests of pictures: a folder of them, a dataset, a model that has learnt nothing yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CLASSES = ("disc", "square")
SIDE = 16
TINY_GAN = ("batch_size=8", "model.width=16", "model.critic_width=4", "model.latent=8", "precision=float32")


def shape(kind: str, number: int, side: int = SIDE) -> NDArray[np.uint8]:
    """(H, W, 3) with one shape, of another place, size and colour for each number."""
    noise = np.random.default_rng([CLASSES.index(kind), number])
    picture = np.empty((side, side, 3), np.uint8)
    picture[:] = noise.integers(180, 256, 3)
    radius = noise.uniform(0.2, 0.35) * side
    middle = noise.uniform(radius, side - radius, 2)
    down, across = np.mgrid[:side, :side] + 0.5
    apart = np.abs(down - middle[0]), np.abs(across - middle[1])
    inside = np.hypot(*apart) < radius if kind == "disc" else np.maximum(*apart) < radius
    picture[inside] = noise.integers(0, 120, 3)
    return picture


def draw_folder(folder: Path, count: int = 120, side: int = SIDE, classes: tuple[str, ...] = CLASSES) -> Path:
    """`count` shapes as PNG files, a folder for each class."""
    for number in range(count):
        kind = classes[number % len(classes)]
        (folder / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(shape(kind, number, side)).save(folder / kind / f"{number:03}.png")
    return folder


def write_dataset(
    folder: Path, count: int = 40, *, side: int = SIDE, classes: tuple[str, ...] = CLASSES
) -> Path:
    """A dataset of shapes as it lies on disk, without preparing one. Every fifth is held out."""
    from bowerbird.data.codecs.pixels import Pixels
    from bowerbird.data.dataset import DatasetWriter
    from bowerbird.data.normaliser import Normaliser

    folder.mkdir(parents=True, exist_ok=True)
    with DatasetWriter(folder, Pixels(side, side, 3, classes)) as writer:
        for number in range(count):
            split = ("test", "valid")[number % 2] if number % 5 == 4 else "train"
            kind = number % len(CLASSES)
            writer.add_picture(split, shape(CLASSES[kind], number, side), kind if classes else -1)
        writer.finish(
            {
                "kind": "image",
                "structure": "labelled" if classes else "plain",
                "normaliser": Normaliser().model_dump(mode="json"),
            }
        )
    return folder


def new_model(dataset: Path, out: Path, *settings: str) -> Path:
    """A run over a dataset that has not made a step."""
    from bowerbird.data.dataset import Dataset
    from bowerbird.kinds import KINDS
    from bowerbird.runs.carry import begin, settle

    data, kind = Dataset.open(dataset), KINDS["image"]
    config = settle(
        kind,
        data,
        model=None,
        size="small",
        minutes=None,
        seed=None,
        config=None,
        settings=[*TINY_GAN, *settings],
    )
    return begin(kind, data, out, config, minutes=None, steps=1).path
