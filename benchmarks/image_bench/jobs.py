"""What a worker process does: one job with its arguments as JSON in, one JSON object out.

Each job has a process of its own, so that threads, memory and libraries of one never weigh on another.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bowerbird import lifecycle
from bowerbird.base.device import use_threads
from bowerbird.base.errors import UsageError
from bowerbird.data.dataset import Dataset
from bowerbird.data.render.pictures import to_png
from bowerbird.evaluation.extractors import extractors_for
from bowerbird.evaluation.extractors.own import own
from bowerbird.runs.run import Run
from image_bench import making, scoring
from image_bench.classifier import classifier_of
from image_bench.making import Pictures
from image_bench.networks import Generator
from image_bench.running import OURS, WAYS
from image_bench.sets import SPLIT, split_exactly, unpacked
from image_bench.training import PUPILS, Way, learn
from machine import describe

EXTRACTOR_STEPS = 1500
"""Of the extractor of each dataset, whatever the machine is busy with."""
GRID = 10
"""Pictures in a row of the sheet that is kept of each cell."""


def prepare(
    source: str,
    size: int | None,
    small: int,
    dataset: str,
    whole: str,
    sources: str,
    classifier: str,
    samples: int,
) -> dict[str, Any]:
    """The dataset, its extractors, and what pictures of its train split score as if they were made.

    A small set is judged by the extractors of the whole, which few pictures could not teach.
    """
    settings = [*SPLIT, *([f"image.size={size}"] if size else [])]
    found = lifecycle.prepare(
        unpacked(source, Path(sources)), whole if small else dataset, kind="image", settings=settings
    )
    judge = found
    if small:
        found = fewer(judge, small, Path(sources) / "few", dataset)
    began = time.monotonic()
    for one in (found, judge):  # made once, also for those who judge themselves as they learn
        own(one, steps=EXTRACTOR_STEPS)
    extractors = extractors_for(judge)
    extractor_seconds = time.monotonic() - began
    classes = class_names(found)
    count = counted(found, samples)
    real = scoring.held_out(found, count)
    about = {
        "source": Path(source).name,
        "pictures": {split: len(found.images(split)) for split in ("train", "valid", "test")},
        "shape": list(found.images("train").shape[1:]),
        "classes": classes,
        "samples": count,
        "judged_by": len(judge.images("train")),
        "extractors": [
            {"name": extractor.name, "size": extractor.size, "digest": extractor.digest}
            for extractor in extractors
        ],
        "extractor_seconds": extractor_seconds,
        "floor": scoring.scores(judge, real, scoring.learnt_from(found, count)),
    }
    if len(classes) > 1:
        labels = np.concatenate([found.labels(split) for split in ("test", "valid")])
        pictures = np.concatenate([found.images(split) for split in ("test", "valid")])
        known = labels >= 0
        told = classifier_of(found, Path(classifier))(pictures[known])
        about["classifier_accuracy"] = scoring.share_in_class(told, labels[known].astype(np.int64))
    return about


def fewer(whole: Dataset, count: int, folder: Path, dataset: str) -> Dataset:
    """A dataset that learns from so many pictures of the most frequent class, others of it held out.

    Raises:
        UsageError: the class has too few.
    """
    pictures, labels = whole.images("train"), whole.labels("train")
    known = labels[labels >= 0]
    chosen = np.flatnonzero(labels == np.bincount(known).argmax()) if len(known) else np.arange(len(pictures))
    held, settings = split_exactly(count, len(chosen) - count)
    if held < 6:
        raise UsageError(f"--small {count} leaves none of {len(chosen)} pictures to judge by", where=dataset)
    folder.mkdir(parents=True)
    for number, place in enumerate(chosen[: count + held].tolist()):
        (folder / f"{number:05d}.png").write_bytes(to_png(pictures[place]))
    settings += [f"image.size={pictures.shape[1]}"]
    settings += ["image.alpha=keep"] if pictures.shape[3] == 4 else []
    return lifecycle.prepare(folder, dataset, kind="image", settings=settings)


def class_names(dataset: Dataset) -> list[str]:
    return list(getattr(dataset.codec, "classes", ()))


def counted(dataset: Dataset, samples: int) -> int:
    """Pictures that a score is of: what is asked for, as far as so many are held out."""
    return min(samples, sum(len(dataset.images(split)) for split in ("test", "valid")))


def probe(contestant: str, dataset: str, way: str, seconds: float) -> dict[str, Any]:
    """Steps a second of one way to train a baseline."""
    pupil = PUPILS[contestant](Dataset.open(dataset).images("train"), 1, Way(**WAYS[way]))
    pupil.step()
    found = learn(pupil, seconds, None)
    return {"steps_per_second": found.steps / found.seconds, "finite": found.finite}


def learn_baseline(
    contestant: str, dataset: str, seconds: float, seed: int, weights: str, way: str
) -> dict[str, Any]:
    """Train a baseline by the clock and keep its best weights."""
    data = Dataset.open(dataset)
    judge = scoring.judge_of(data)
    pupil = PUPILS[contestant](data.images("train"), seed, Way(**WAYS[way]))
    found = learn(pupil, seconds, judge)
    if found.weights:
        save_file(found.weights, weights)
    return {
        "way": way,
        "made": bool(found.weights),
        "finite": found.finite,
        "steps": found.steps,
        "pictures": pupil.pictures,
        "seconds": found.seconds,
        "judging_seconds": found.judging_seconds,
        "pictures_per_second": pupil.pictures / max(found.seconds, 1e-9),
        "curve": found.curve,
    }


def score(
    contestant: str,
    dataset: str,
    judge: str,
    model: str,
    classifier: str,
    samples: int,
    seed: int,
    picture: str,
) -> dict[str, Any]:
    """A finished cell's pictures, scored by every extractor; of ours, also whether a class asked for is met."""
    data, judging = Dataset.open(dataset), Dataset.open(judge)
    count = counted(data, samples)
    real = scoring.held_out(data, count)
    if contestant in OURS:
        loaded = lifecycle.load(model)
        asked = making.asked_for(data.labels("train"), count, seed) if conditional(loaded) else None
        first = seed << 20  # so that no two seeds make the same pictures
        made = (
            making.unasked(loaded, count, first) if asked is None else making.by_class(loaded, asked, first)
        )
        about = about_ours(Path(model))
        if asked is not None:
            told = classifier_of(data, Path(classifier))(made)
            about["class_accuracy"] = scoring.share_in_class(told, asked)
        about |= {"parameters": loaded.parameters, "model_bytes": size_of(loaded.bundle.path)}
        about |= {"scores": scoring.scores(judging, real, made), "samples": count}
    else:
        found = {}
        for mode in ("batch", "running"):
            generator = opened(model, data).train(mode == "batch")
            pictures = making.sampled(generator, count, seed)
            found[mode] = (scoring.scores(judging, real, pictures), pictures)
        about, made = better(found)
        about |= {"parameters": sum(weight.numel() for weight in generator.parameters())}
        about |= {"model_bytes": Path(model).stat().st_size, "samples": count}
    sheet(made, seed, picture)
    return about


def better(
    found: Mapping[str, tuple[dict[str, dict[str, float]], Pictures]],
) -> tuple[dict[str, Any], Pictures]:
    """Of the two statistics a baseline may normalise by, those that make the better pictures."""
    first = next(iter(next(iter(found.values()))[0]))
    fids = {mode: scores[first]["fid"] for mode, (scores, _) in found.items()}
    best = min(fids, key=lambda mode: fids[mode] if math.isfinite(fids[mode]) else math.inf)
    scores, pictures = found[best]
    return {"statistics": best, "fid_by_statistics": fids, "scores": scores}, pictures


def about_ours(run: Path) -> dict[str, Any]:
    """Settings, curve and speed from a run's record and journal. Its seconds include its own judging."""
    opened_run = Run.open(run)
    settings: Mapping[str, Any] = opened_run.record["settings"]
    lines = opened_run.journal_path.read_text(encoding="utf-8").splitlines()
    records = [json.loads(line) for line in lines]
    steps = [record for record in records if record["event"] == "train"]
    per_second = [record["steps_per_second"] for record in steps]
    return {
        "way": settings["precision"],
        "settings": settings,
        "pictures": settings["batch_size"] * max(record["step"] for record in records),
        "pictures_per_second": settings["batch_size"] * median(per_second) if per_second else None,
        "warnings": [record["message"] for record in records if record["event"] == "warning"],
        "curve": [
            (record["seconds"], record["valid_fid"])
            for record in records
            if record["event"] == "evaluate" and "valid_fid" in record
        ],
    }


def conditional(model: Any) -> bool:
    return int(model.bundle.manifest["config"]["model"].get("classes") or 0) > 1


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def opened(weights: str, dataset: Dataset) -> Generator:
    _, resolution, _, channels = dataset.images("train").shape
    generator = Generator(resolution, channels)
    generator.load_state_dict(load_file(weights))
    return generator


def sheet(pictures: Pictures, seed: int, path: str) -> None:
    """A square of pictures drawn from all that were made."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(pictures))[: GRID**2])
    rows = len(chosen) // GRID
    if not rows:
        return
    _, height, width, channels = pictures.shape
    tiles = pictures[chosen[: rows * GRID]].reshape(rows, GRID, height, width, channels)
    whole = tiles.swapaxes(1, 2).reshape(rows * height, GRID * width, channels)
    Path(path).write_bytes(to_png(whole))


def generate(
    dataset: str, models: dict[str, str], ways: dict[str, str], batches: list[int], seconds: float
) -> dict[str, Any]:
    """Pictures a second by contestant and batch, as arrays in memory."""
    data = Dataset.open(dataset)
    makers = {
        name: making.ours(lifecycle.load(path))
        if name in OURS
        else making.baseline(opened(path, data), **WAYS[ways[name]])
        for name, path in models.items()
    }
    rates = making.rates(makers, batches, seconds, repeats=3)
    return {"threads": torch.get_num_threads(), "contestants": rates}


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    job.__name__: job for job in (describe, prepare, probe, learn_baseline, score, generate)
}


def work(job: str, arguments: str, out: Path) -> None:
    """Do a job and write what came of it."""
    use_threads()
    out.write_text(json.dumps(numbers(JOBS[job](**json.loads(arguments)))), encoding="utf-8")


def numbers(found: Any) -> Any:
    """The same with None for numbers that JSON does not have."""
    if isinstance(found, dict):
        return {key: numbers(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [numbers(value) for value in found]
    return None if isinstance(found, float) and not math.isfinite(found) else found
