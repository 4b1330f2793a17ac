"""An image model from a folder of pictures to served answers, through the public functions."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from tests.pictures import CLASSES, SIDE, TINY_GAN, draw_folder

import bowerbird as bb
from bowerbird.base.errors import Interrupted, UsageError
from bowerbird.evaluation.extractors.own import own
from bowerbird.runs.carry import begin, carry_on
from bowerbird.runs.run import Run
from bowerbird.serving.app import create_app
from bowerbird.store.bundle import open_checkpoint

SETTINGS = (*TINY_GAN, "evaluate_every=15")


@pytest.fixture(scope="session")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("shapes") / "shapes")


@pytest.fixture(scope="session")
def dataset(shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("image") / "dataset"
    settings = [f"image.size={SIDE}", "image.near_duplicates=false"]
    data = bb.prepare(shapes, out, kind="image", settings=settings)
    own(data, steps=10)  # kept with the dataset: what pictures are judged by need not be good here
    return data.path


@pytest.fixture(scope="session")
def run(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bb.train(dataset, tmp_path_factory.mktemp("image-run") / "run", steps=30, settings=SETTINGS).path


def frames(path: Path) -> int:
    with Image.open(path) as film:
        return int(film.n_frames)  # type: ignore[attr-defined]


def test_the_whole_life_of_an_image_model(dataset: Path, run: Path, tmp_path: Path) -> None:
    data = bb.Dataset.open(dataset)
    assert (data.structure, tuple(data.codec.classes)) == ("labelled", CLASSES)  # type: ignore[attr-defined]
    model = bb.load(run)
    made = model.generate(n=3, seed=1)
    assert [sample.content.shape for sample in made] == [(SIDE, SIDE, 3)] * 3
    assert np.array_equal(model.generate(seed=2)[0].content, made[1].content)
    report = bb.evaluate(run, settings=["samples=64"])
    scores = {score.name: score.value for score in report.scores}
    assert {"fid", "kid", "precision", "recall", "copied_share"} <= set(scores)
    assert "data:image/png" in (run / "report.html").read_text()
    assert json.loads((run / "report.json").read_text())["kind"] == "image"
    first = bb.publish(run, "shapes", alias="live")
    assert first.scores["fid"] == pytest.approx(scores["fid"])
    against = bb.evaluate(run, against="shapes@live", settings=["samples=64"])
    assert {row["name"] for row in against.comparison or ()} >= {"fid"}
    tuned = bb.finetune("shapes@live", dataset, tmp_path / "tuned", steps=4)
    assert bb.publish(tuned.path, "shapes").parent == model.digest
    assert bb.verify_resume(run, steps=8, stops=2)["equal"]


def test_a_run_shows_what_it_makes_on_the_way(run: Path) -> None:
    names = sorted(path.name for path in (run / "samples").iterdir())
    assert names == ["00000000.png", "00000015.png", "00000030.png"]
    assert frames(run / "timelapse.webp") == 3
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    told = [record["path"] for record in records if record["event"] == "sample"]
    assert told == [f"samples/{name}" for name in names]
    judged = [record for record in records if record["event"] == "evaluate"]
    assert all({"valid_fid", "valid_recall"} <= set(record) for record in judged)
    assert {"generator_loss", "real_score", "fake_score"} <= set(
        next(record for record in records if record["event"] == "train")
    )
    best = Run.open(run).best()
    assert best["scores"]["fid"] == min(record["fid"] for record in records if record["event"] == "end"), (
        "the end says how the best one does"
    )


def test_stopping_and_resuming_changes_no_bit(run: Path, dataset: Path, tmp_path: Path) -> None:
    whole = Run.open(run)
    stopped = begin(
        whole.kind, bb.Dataset.open(dataset), tmp_path / "run", whole.config, minutes=None, steps=30
    )
    for place in (7, 16):
        with pytest.raises(Interrupted):
            carry_on(stopped, sitting=place)
    outcome = bb.resume(stopped).outcome
    assert (outcome["steps"], outcome["model"], outcome["kind"]) == (30, "gan", "image")
    ours, theirs = (open_checkpoint(one.checkpoints()[-1]) for one in (whole, stopped))
    for mine, other in ((ours[0].weights(), theirs[0].weights()), (ours[0].partners(), theirs[0].partners()),
                        (ours[1], theirs[1])):  # fmt: skip
        assert mine.keys() == other.keys()
        assert all(torch.equal(mine[name], other[name]) for name in mine)
    assert whole.best_bundle().digest == stopped.best_bundle().digest
    assert sorted(path.name for path in (tmp_path / "run" / "samples").iterdir()) == sorted(
        path.name for path in (run / "samples").iterdir()
    )


def test_fine_tuning_begins_with_the_critic_too(run: Path, dataset: Path, tmp_path: Path) -> None:
    tuned = Run.open(bb.finetune(bb.load(run), dataset, tmp_path / "tuned", steps=2).path)
    assert tuned.config.learner.learning_rate == pytest.approx(  # type: ignore[attr-defined]
        0.3 * Run.open(run).config.learner.learning_rate  # type: ignore[attr-defined]
    )
    before = bb.load(run).bundle.partners()
    after = open_checkpoint(tuned.checkpoints()[-1])[0].partners()
    assert before.keys() == after.keys()
    critic = [name for name in before if name.startswith("critic/") and before[name].dim() > 1]
    assert critic
    for name in critic:
        drift = float((before[name] - after[name]).norm() / before[name].norm())
        assert drift < 0.5, f"{name} was not taken over"
    with pytest.raises(UsageError, match="resolution"):
        bb.finetune(bb.load(run), dataset, tmp_path / "no", steps=2, settings=["model.resolution=32"])


def test_it_is_served(run: Path) -> None:
    model = bb.load(run)
    with TestClient(create_app({"shapes": model})) as client:
        found = client.post("/v1/images/generations", json={"model": "shapes", "prompt": "disc", "seed": 5})
        assert found.status_code == 200, found.text
        picture = Image.open(io.BytesIO(base64.b64decode(found.json()["data"][0]["b64_json"])))
        assert np.array_equal(np.asarray(picture), model.generate(label="disc", seed=5)[0].content)


def test_the_command_line_makes_files(
    run: Path, dataset: Path, tmp_path: Path, bowerbird: Callable[..., Any]
) -> None:
    made = bowerbird(
        "generate", run, "-n", 3, "--label", "disc", "--seed", 1, "--out", tmp_path / "made", "--json"
    )
    assert made.code == 0, made.err
    told = json.loads(made.out)["samples"]
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        "0001.png", "0002.png", "0003.png", "grid.png"}  # fmt: skip
    assert [Path(one["path"]).name for one in told] == ["0001.png", "0002.png", "0003.png"]
    film = bowerbird("generate", run, "--seed", 1, "--to-seed", 2, "--frames", 5, "--out", tmp_path / "film")
    assert film.code == 0, film.err
    assert frames(tmp_path / "film" / "0001.webp") == 5
    nowhere = bowerbird("generate", run)
    assert nowhere.code == 2
    assert "--out FOLDER" in nowhere.err
    wrong = bowerbird("generate", run, "--label", "dusc", "--out", tmp_path / "no")
    assert wrong.code == 2
    assert "did you mean `disc`" in wrong.err
    assert not (tmp_path / "no").exists()
    prompted = bowerbird("generate", run, "--prompt", "x", "--out", tmp_path / "no")
    assert prompted.code == 2
    again = bowerbird("train", dataset, "--out", tmp_path / "run", "--steps", 2,
                      *[word for setting in SETTINGS for word in ("--set", setting)])  # fmt: skip
    assert again.code == 0, again.err
    assert "fid" in again.out
    assert "held out: fid" in again.err
    looked = bowerbird("inspect", dataset, "--json")
    assert json.loads(looked.out)["classes"] == list(CLASSES)
