"""Small sound files of every kind, to be damaged: datasets, runs, an extractor, a registry."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from bowerbird import lifecycle
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.dataset import Dataset, DatasetWriter
from bowerbird.data.normaliser import Normaliser
from bowerbird.evaluation.extractors.own import own
from bowerbird.kinds import KINDS
from bowerbird.runs.carry import begin, settle
from bowerbird.store.registry.folder import FolderRegistry

SIDE = 16
TEXT = ("batch_size=4", "length=8", "model.width=8", "model.embedding=8")
COUNTED = ("model.ngrams=3", "model.cache.window=16")
BARE = ("model.ngrams=null", "model.cache=null")
PICTURE = ("batch_size=4", "model.width=8", "model.critic_width=4", "model.latent=4", "precision=float32")
_FIGURES = ("C2DE F2GA", "G2FE D2CD", "E2EF GABc", "c2BA G2FE", "CEGE CEGc")


def text_dataset(folder: Path, *settings: str) -> Path:
    """A few short documents."""
    source = folder.with_name(f"{folder.name}-source")
    source.mkdir()
    for number in range(12):
        things = [("sea", "stone", "lark", "rain")[(number * step) % 4] for step in (1, 2, 3)]
        (source / f"{number:02}.txt").write_text(
            f"the {things[0]} was by the {things[1]}, {things[2]} {number}\n"
        )
    wanted = ["clean.near_duplicates=false", "split.valid=0.2", "split.test=0.2", *settings]
    return lifecycle.prepare(source, folder, settings=wanted).path


def melody_dataset(folder: Path) -> Path:
    """A few short tunes."""
    book = folder.with_name(f"{folder.name}.abc")
    tunes = []
    for number in range(12):
        bars = [_FIGURES[(number * step + step) % len(_FIGURES)] for step in range(1, 5)]
        tunes.append(f"X:{number}\nM:4/4\nL:1/8\nK:{'CGDF'[number % 4]}\n{' | '.join([*bars, 'C8'])} |]\n")
    book.write_text("\n".join(tunes))
    return lifecycle.prepare(book, folder, kind="melody").path


def picture_dataset(folder: Path) -> Path:
    """Pictures of noise in two classes."""
    folder.mkdir()
    noise = np.random.default_rng(1)
    with DatasetWriter(folder, Pixels(SIDE, SIDE, 3, ("one", "two"))) as writer:
        for number in range(30):
            split = ("test", "valid", "train", "train", "train")[number % 5]
            writer.add_picture(split, noise.integers(0, 256, (SIDE, SIDE, 3), np.uint8), number % 2)
        told = {"kind": "image", "structure": "labelled", "normaliser": Normaliser().model_dump()}
        writer.finish(told)
    return folder


def text_run(dataset: Path, folder: Path, *settings: str) -> Path:
    """A run of two steps."""
    return lifecycle.train(dataset, folder, steps=2, settings=[*TEXT, *settings]).path


def picture_run(dataset: Path, folder: Path) -> Path:
    """A run that has not made a step."""
    data, kind = Dataset.open(dataset), KINDS["image"]
    nothing = {"model": None, "minutes": None, "seed": None, "config": None}
    config = settle(kind, data, size="small", settings=PICTURE, **nothing)
    return begin(kind, data, folder, config, minutes=None, steps=1).path


def newest(run: Path) -> Path:
    """Its newest checkpoint."""
    return sorted((run / "checkpoints").iterdir())[-1]


def copied(source: Path, target: Path) -> Path:
    return Path(shutil.copytree(source, target))


def extractor(dataset: Path, folder: Path) -> Path:
    """The two files of an extractor, away from the dataset."""
    own(Dataset.open(dataset), steps=2)
    folder.mkdir()
    for name in ("extractor.json", "extractor.safetensors"):
        shutil.move(dataset / name, folder / name)
    return folder


def registry(bundle: Path, folder: Path) -> Path:
    """A name with two versions of one bundle, an alias, and a log of four entries."""
    made = FolderRegistry(folder)
    made.publish("poems", bundle, "sha256:1", scores={"bits_per_byte": 2.5}, alias="live", why="first")
    made.publish("poems", bundle, "sha256:2", parent="sha256:1", alias="live")
    made.rollback("poems", why="worse")
    return folder
