"""The image benchmark's baselines are what they claim to be, and its verdicts follow from the cells."""

from __future__ import annotations

import json
import lzma
import math
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from bowerbird.base.errors import UsageError
from bowerbird.data.split import SplitConfig, split_documents
from image_bench import jobs, running
from image_bench.classifier import teach, used
from image_bench.making import asked_for, by_class, rates, sampled, to_pictures
from image_bench.networks import LATENT, Critic, Generator, as_in_the_paper, widths
from image_bench.running import CONTESTANTS, WAYS, Bench
from image_bench.sets import PictureSet, sets_of, split_exactly, unpacked
from image_bench.summary import NAMES, collapsed, gathered, write_summary
from image_bench.training import CRITIC_STEPS, PUPILS, Shuffled, Way, learn
from learning import NotNumbers
from workplace import Child, Failed, Workplace

SCRIPT = Path(__file__).resolve().parent.parent / "benchmarks" / "image.py"


@pytest.fixture
def pictures() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)


def test_widths_are_the_papers_and_one_layer_fewer_at_half_the_size() -> None:
    assert widths(64) == [512, 256, 128, 64]
    assert widths(32) == [256, 128, 64]
    with pytest.raises(AssertionError):
        widths(48)


@pytest.mark.parametrize("resolution", [16, 32, 64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_networks_fit_each_other_and_the_pictures(resolution: int, channels: int) -> None:
    made = Generator(resolution, channels)(torch.randn(2, LATENT)).detach()
    assert made.shape == (2, channels, resolution, resolution)
    assert float(made.abs().max()) <= 1
    for normalised in (True, False):
        assert Critic(resolution, channels, normalised=normalised)(made).shape == (2,)


def test_only_the_dcgan_critic_is_normalised() -> None:
    def norms(network: torch.nn.Module) -> int:
        return sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())

    assert norms(Critic(64, 3, normalised=True)) == 3  # not the first of four
    assert norms(Critic(64, 3, normalised=False)) == 0


def test_the_dcgan_has_the_size_that_the_tutorial_has() -> None:
    def parameters(network: torch.nn.Module) -> int:
        return sum(weight.numel() for weight in network.parameters())

    assert parameters(Generator(64, 3)) == 3_576_704
    assert parameters(Critic(64, 3, normalised=True)) == 2_765_568


def test_weights_begin_as_the_paper_says() -> None:
    torch.manual_seed(1)
    network = Generator(32, 3)
    as_in_the_paper(network)
    for module in network.modules():
        if isinstance(module, torch.nn.ConvTranspose2d):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
        if isinstance(module, torch.nn.BatchNorm2d):
            assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
            assert not module.bias.detach().any()


@pytest.mark.parametrize("contestant", PUPILS)
@pytest.mark.parametrize("way", ["float32", "float32 channels last"])
def test_a_step_moves_both_networks_and_keeps_numbers(
    contestant: str, way: str, pictures: NDArray[np.uint8]
) -> None:
    pupil = PUPILS[contestant](pictures, 1, Way(**WAYS[way]))
    before = [
        weight.detach().clone()
        for network in (pupil.generator, pupil.critic)
        for weight in network.parameters()
    ]
    pupil.step()
    after = [weight for network in (pupil.generator, pupil.critic) for weight in network.parameters()]
    assert math.isfinite(pupil.last_loss.item())
    assert all(bool(torch.isfinite(weight).all()) for weight in after)
    moved = [not torch.equal(one, other) for one, other in zip(before, after, strict=True)]
    assert all(moved[:-1] if contestant == "wgan-gp" else moved)  # a constant adds to real and fake alike
    assert pupil.pictures == len(pictures) * (CRITIC_STEPS if contestant == "wgan-gp" else 1)


def test_the_penalty_is_of_a_slope_that_is_not_one(pictures: NDArray[np.uint8]) -> None:
    pupil = PUPILS["wgan-gp"](pictures, 1, Way())
    for weight in pupil.critic.parameters():
        torch.nn.init.zeros_(weight)
    real = Shuffled(pictures, 1, Way()).next()
    # A flat critic: no distance, slope 0, so the penalty is 10 x (0 - 1)^2.
    assert pupil.critic_loss(real).item() == pytest.approx(10.0)  # type: ignore[union-attr]


def test_the_wasserstein_baseline_is_taught_as_its_paper_says(
    pictures: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    pupil = PUPILS["wgan-gp"](pictures, 1, Way())
    for optimizer in (pupil.optimizer, pupil.critic_optimizer):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"], group["weight_decay"]) == (1e-4, (0.0, 0.9), 0)
    taught: list[str] = []
    for name in ("critic_optimizer", "optimizer"):
        monkeypatch.setattr(getattr(pupil, name), "step", lambda name=name: taught.append(name))
    pupil.step()
    assert taught == ["critic_optimizer"] * 5 + ["optimizer"]


def test_ways_to_compute_learn_the_same(pictures: NDArray[np.uint8]) -> None:
    losses = []
    for way in (Way(), Way(channels_last=True)):
        pupil = PUPILS["dcgan"](pictures, 1, way)
        pupil.step()
        losses.append(pupil.last_loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


def test_every_picture_is_read_once_a_round(pictures: NDArray[np.uint8]) -> None:
    batches = Shuffled(pictures, 1, Way())
    batches.size = 4
    seen = torch.cat([batches.next() for _ in range(3)])
    read = ((seen + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    assert sorted(map(bytes, read)) == sorted(map(bytes, pictures))
    assert [bytes(one) for one in read] != [bytes(one) for one in pictures]


class Still:
    """A pupil that learns nothing; its loss is told."""

    def __init__(self, loss: float = 1.0):
        torch.manual_seed(1)
        self.generator, self.pictures, self.last_loss = Generator(16, 3), 0, torch.tensor(loss)

    def step(self) -> None:
        self.pictures += 1
        with torch.no_grad():
            next(self.generator.parameters()).add_(1)


def test_the_best_weights_are_kept_not_the_last() -> None:
    pupil, told = Still(), iter([5.0, 3.0])

    def judge(generator: Generator) -> float:
        return next(told, 9.0)

    first = next(pupil.generator.parameters()).detach().clone()
    found = learn(pupil, 0.2, judge)
    kept = found.weights["layers.0.weight"]
    assert found.best == 3.0
    assert [score for _, score in found.curve[:3]] == [5.0, 3.0, 9.0]
    assert not torch.equal(kept, first)
    assert not torch.equal(kept, next(pupil.generator.parameters()))
    assert found.finite


def test_training_ends_where_a_loss_is_no_number() -> None:
    found = learn(Still(math.nan), 60.0, None)
    assert not found.finite
    assert found.seconds < 60


def test_what_is_no_number_is_no_picture() -> None:
    assert to_pictures(torch.tensor([-1.0, 1.0]).reshape(2, 1, 1, 1)).tolist() == [[[[0]]], [[[255]]]]
    with pytest.raises(NotNumbers):
        to_pictures(torch.full((1, 3, 2, 2), math.nan))

    def judge(generator: Generator) -> float:
        raise NotNumbers

    assert not learn(Still(), 60.0, judge).finite


def test_sampling_depends_on_its_seed_alone() -> None:
    generator = Generator(16, 3).eval()
    one = sampled(generator, 70, 3)
    torch.manual_seed(9)
    assert one.shape == (70, 16, 16, 3)
    assert np.array_equal(one, sampled(generator, 70, 3))
    assert not np.array_equal(one, sampled(generator, 70, 4))


class Told:
    """A model of ours whose pictures say what it was asked for."""

    def __init__(self) -> None:
        self.seeds: list[int] = []

    def generate(self, *, n: int, seed: int, label: int) -> list[Any]:
        self.seeds += range(seed, seed + n)
        return [type("Sample", (), {"content": np.full((1, 2, 2, 3), label, np.uint8)}) for _ in range(n)]


def test_classes_are_asked_for_as_often_as_they_are_learnt() -> None:
    labels = np.array([2] * 300 + [0] * 100 + [-1] * 500, np.int32)
    asked = asked_for(labels, 2000, 1)
    assert 0.7 < float(np.mean(asked == 2)) < 0.8
    assert set(asked.tolist()) == {0, 2}
    model = Told()
    made = by_class(model, asked, 5)
    assert made[:, 0, 0, 0].tolist() == asked.tolist()
    assert len(set(model.seeds)) == len(asked)


def test_rates_count_what_was_made() -> None:
    calls: list[int] = []

    def make(count: int, seed: int) -> NDArray[np.uint8]:
        calls.append(count)
        return np.zeros((count, 2, 2, 3), np.uint8)

    found = rates({"ours": make}, [1, 4], 0.001, 2)["ours"]
    assert set(found["pictures_per_second"]) == {"1", "4"}
    assert all(len(several) == 2 for several in found["all"].values())
    assert set(calls) == {1, 4}


def test_the_classifier_learns_what_tells_classes_apart() -> None:
    labels = np.arange(64, dtype=np.int32) % 2
    pictures = np.broadcast_to((labels * 200)[:, None, None, None], (64, 16, 16, 3)).astype(np.uint8)
    told = used(teach(pictures, labels, 2, 40))(pictures)
    assert float(np.mean(told == labels)) > 0.9


@pytest.mark.parametrize(("learnt", "rest"), [(100, 5000), (20, 5000), (2, 5000), (300, 700), (50, 6)])
def test_a_small_set_learns_from_just_so_many(learnt: int, rest: int) -> None:
    held, settings = split_exactly(learnt, rest)
    shares = dict(setting.removeprefix("split.").split("=") for setting in settings[:2])
    config = SplitConfig(valid=float(shares["valid"]), test=float(shares["test"]))
    split = split_documents(np.ones(learnt + held), config, 1)
    assert len(split["train"]) == learnt
    assert len(split["valid"]) == held <= rest


def test_idx_files_packed_by_xz_are_unpacked(tmp_path: Path) -> None:
    folder, into = tmp_path / "given", tmp_path / "into"
    folder.mkdir()
    (folder / "t10k-images-idx3-ubyte.xz").write_bytes(lzma.compress(b"pictures"))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(b"labels")
    assert unpacked(str(folder), into) == str(into)
    assert (into / "t10k-images-idx3-ubyte").read_bytes() == b"pictures"
    assert (into / "t10k-labels-idx1-ubyte.gz").read_bytes() == b"labels"
    assert unpacked("demo:icons", tmp_path / "none") == "demo:icons"


def test_sets_have_names_and_sizes(tmp_path: Path) -> None:
    (tmp_path / "fashion-mnist").mkdir()
    found = sets_of(f"fashion,icons-64,{tmp_path}", tmp_path, 64)
    assert [one.size for one in found.values()] == [32, 64, 64]
    assert found["icons-64"].source == "demo:icons"
    small = sets_of("icons-32", None, small=100)
    assert small == {"icons-32-100-pictures": PictureSet("demo:icons", 32, 100)}


def cell(contestant: str, seed: int = 1, **changed: Any) -> dict[str, Any]:
    scores = {"fid": 2.0, "kid": 0.01, "kid_low": 0.009, "kid_high": 0.011, "precision": 0.6, "recall": 0.5}
    scores |= {name: changed.pop(name) for name in list(changed) if name in scores}
    return {
        "set": "tiny",
        "seed": seed,
        "contestant": contestant,
        "finite": True,
        "scores": {"own": scores, "gradients": {**scores, "fid": 10 * (scores["fid"] or 0)}},
        "steps": 100,
        "seconds": 60.0,
        "pictures": 6400,
        "pictures_per_second": 100.0,
        "process_seconds": 65.0,
        "peak_bytes": 1_000_000 * seed,
        "model_bytes": 4000,
        "parameters": 1000,
        "way": "float32",
        "curve": [[0.0, 90.0], [10.0, 5.0], [60.0, 2.0]],
        **changed,
    }


DIVERGED = {
    "set": "tiny",
    "seed": 2,
    "contestant": "ours",
    "finite": False,
    "scores": {},
    "process_seconds": 60.0,
    "peak_bytes": 0,
}


def test_a_run_without_variety_or_numbers_has_collapsed() -> None:
    assert not collapsed(cell("dcgan"))
    assert not collapsed(cell("dcgan", recall=0.05))
    assert collapsed(cell("dcgan", recall=0.049))
    assert collapsed(cell("dcgan", fid=None))
    assert collapsed(cell("dcgan", kid=math.nan))
    assert collapsed(cell("dcgan", finite=False))
    assert collapsed(DIVERGED)


def test_seeds_are_gathered_with_those_that_diverged() -> None:
    found = gathered([cell("ours", 1, fid=2.0), DIVERGED, cell("ours", 3, fid=4.0, recall=0.01)])
    assert found["seeds"] == [1, 2, 3]
    assert found["collapsed"] == [2, 3]
    assert found["scores"]["own"]["fid"] == 3.0
    assert found["scores"]["own"]["fid_range"] == [2.0, 4.0]
    assert found["scores"]["gradients"]["fid"] == 30.0
    assert found["peak_bytes"] == 3_000_000
    assert gathered([DIVERGED])["scores"] == {}


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    out = tmp_path / "out"
    out.mkdir()
    scores = cell("ours", fid=0.5)["scores"]
    files = {
        "settings": {"minutes": 1.0, "threads": 1, "samples": 50, "sets": {"tiny": {}}},
        "machine": {
            "processor": "a processor",
            "threads": 1,
            "processors": 2,
            "flags": [],
            "torch": "2",
            "commit": "0",
            "date": "today",
            "peak_flops": {"float32": 1e9, "bfloat16": None},
            "load_at_start": 0.0,
        },
        "probes": {
            "dcgan": {
                "set": "tiny",
                "best": "float32",
                "probes": {"float32": {"finite": True, "steps_per_second": 3.0}},
            }
        },
        "set-tiny": {
            "pictures": {"train": 400, "valid": 50, "test": 50},
            "shape": [32, 32, 3],
            "samples": 50,
            "extractors": [{"name": "own"}, {"name": "gradients"}],
            "extractor_seconds": 30.0,
            "judged_by": 400,
            "classifier_accuracy": 0.9,
            "floor": scores,
        },
        "generate": {
            "threads": 1,
            "contestants": {"ours": {"pictures_per_second": {"64": 900.0, "1": 300.0}}},
        },
    }
    for name, content in files.items():
        (out / f"{name}.json").write_text(json.dumps(content))
    cells = [
        cell("dcgan", fid=8.0, recall=0.01, curve=[[0.0, 90.0], [60.0, 8.0]]),
        cell("ours", class_accuracy=0.8),
    ]
    (out / "cells.jsonl").write_text("\n".join(map(json.dumps, [*cells, DIVERGED])) + '\n{"set": "cut sho')
    return out


def test_the_summary_says_what_the_cells_say(finished: Path) -> None:
    told = "\n".join(write_summary(finished))
    assert "FID 4.00 times (own)" in told
    assert "80.0% of its pictures look like the class asked for" in told
    assert "under the best of DCGAN's after: 10 s" in told
    assert "1 of 2" in told
    assert "1 of 1" in told
    assert told.index("1 at once") < told.index("64 at once")
    summary = json.loads((finished / "summary.json").read_text())
    assert summary["results"]["tiny"]["ours"]["collapsed"] == [2]
    assert summary["results"]["tiny"]["dcgan"]["collapsed"] == [1]
    assert len(summary["cells"]) == 3
    assert (finished / "curves.png").stat().st_size > 5000


def test_every_contestant_has_its_rows_in_the_summary(finished: Path) -> None:
    curve = [[0.0, 90.0], [60.0, 6.0]]
    cells = [cell("wgan-gp", fid=6.0, curve=curve), cell("dcgan"), cell("ours-plain"), cell("ours")]
    (finished / "cells.jsonl").write_text("\n".join(map(json.dumps, cells)) + "\n")
    lines = write_summary(finished)
    for name in NAMES.values():
        assert sum(line.startswith(f"{name}  ") for line in lines) >= 3, (
            f"{name}: two extractors and its cost"
        )
    told = "\n".join(lines)
    assert "WGAN-GP against bowerbird: FID 3.00 times (own)" in told
    assert "under the best of WGAN-GP's after: 10 s" in told


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_sheet_is_a_file_of_as_many_channels(tmp_path: Path, channels: int) -> None:
    pictures = np.random.default_rng(2).integers(0, 256, (20, 8, 8, channels), dtype=np.uint8)
    path = tmp_path / "sheet.png"
    jobs.sheet(pictures, 1, str(path))
    read = np.asarray(Image.open(path)).reshape(16, 80, channels)
    first = np.sort(np.random.default_rng(1).permutation(20))[0]
    assert np.array_equal(read[:8, :8], pictures[first])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_few_pictures_are_handed_on_as_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, channels: int
) -> None:
    class Whole:
        def images(self, split: str) -> NDArray[np.uint8]:
            return np.random.default_rng(3).integers(0, 256, (40, 8, 8, channels), dtype=np.uint8)

        def labels(self, split: str) -> NDArray[np.int32]:
            return np.arange(40, dtype=np.int32) % 2

    handed: list[list[str]] = []
    monkeypatch.setattr(jobs.lifecycle, "prepare", lambda *_, settings, **__: handed.append(settings))
    whole: Any = Whole()
    jobs.fewer(whole, 10, tmp_path / "few", "dataset")
    files = sorted((tmp_path / "few").iterdir())
    assert len(files) == 20, "ten to learn from and the ten others of the class"
    for path, picture in zip(files, whole.images("train")[::2], strict=True):
        assert np.array_equal(np.asarray(Image.open(path)).reshape(picture.shape), picture)
    assert ("image.alpha=keep" in handed[0]) == (channels == 4)


def bench_in(out: Path, **changed: Any) -> Bench:
    settings: dict[str, Any] = {
        "minutes": 1.0,
        "threads": 1,
        "seeds": 2,
        "samples": 50,
        "contestants": ("ours", "dcgan"),
        "sets": {"tiny": PictureSet("tiny", 32)},
        "probe_seconds": 1.0,
        "float32": False,
    }
    return Bench(out=out, **{**settings, **changed})


def test_going_on_skips_finished_cells(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[tuple[str, int, str, str]] = []

    def train(self: Bench, name: str, seed: int, contestant: str, way: str) -> dict[str, Any]:
        trained.append((name, seed, contestant, way))
        made = {**cell(contestant, seed), "set": name}
        self.place.add(made)
        return made

    monkeypatch.setattr(Bench, "cell", train)
    script = runpy.run_path(str(SCRIPT))
    bench = bench_in(finished)
    assert script["train_all"](bench) == []
    assert trained == [("tiny", 2, "dcgan", "float32")]
    assert script["train_all"](bench) == []
    assert len(trained) == 1
    assert [(one["seed"], one["contestant"]) for one in bench.place.cells()][-1] == (2, "dcgan")


def test_one_failure_stops_no_other_cell(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(self: Bench, name: str, seed: int, contestant: str, way: str) -> dict[str, Any]:
        if contestant == "ours":
            raise Failed("it broke")
        return {**cell(contestant, seed), "set": name}

    monkeypatch.setattr(Bench, "cell", train)
    failures = runpy.run_path(str(SCRIPT))["train_all"](bench_in(finished, seeds=3))
    assert failures == ["it broke"]


def test_divergence_is_a_result_and_other_failures_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = bench_in(tmp_path)
    bench.claim()
    said = "ours: error: training diverged 4 times: the loss"

    def child(self: Workplace, command: list[str], log: str) -> Child:
        raise Failed(said)

    monkeypatch.setattr(Workplace, "child", child)
    assert collapsed(bench.cell("tiny", 1, "ours", ""))
    assert bench.place.cells()[0]["failed"] == said
    said = "ours: error: the disk is full"
    with pytest.raises(Failed):
        bench.cell("tiny", 2, "ours", "")


def test_ours_is_trained_by_its_command_and_nothing_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, commands = bench_in(tmp_path), []
    bench.claim()

    def child(self: Workplace, command: list[str], log: str) -> Child:
        commands.append(command)
        self.log(log).write_text('{"steps": 5, "seconds": 60.0, "stopped": "minutes"}\n')
        return Child(61.0, 1000)

    monkeypatch.setattr(Workplace, "child", child)
    monkeypatch.setattr(Workplace, "job", lambda self, *_, **__: ({"scores": {}}, Child(1.0, 1)))
    bench.cell("tiny", 2, "ours", "")
    bench.cell("tiny", 2, "ours-plain", "")
    dataset, run = str(tmp_path / "datasets" / "tiny"), str(tmp_path / "models" / "tiny-2-ours")
    plain = [
        sys.executable,
        "-m",
        "bowerbird",
        "train",
        dataset,
        "--out",
        run,
        "--minutes",
        "1",
        "--seed",
        "2",
    ]
    assert commands[0] == [*plain, "--json", "--quiet"]
    assert [part for part in commands[1] if part not in commands[0]] == [
        f"{run}-plain",
        "--set",
        "learner.augment=none",
    ]


def test_a_folder_holds_one_benchmark(tmp_path: Path) -> None:
    bench_in(tmp_path).claim()
    bench_in(tmp_path, seeds=9, sets={"more": PictureSet("more")}).claim()
    for changed in ({"minutes": 2.0}, {"samples": 7}, {"sets": {"tiny": PictureSet("tiny", 64)}}):
        with pytest.raises(UsageError, match="this folder holds results for"):
            bench_in(tmp_path, **changed).claim()


def test_augmentation_is_left_out_where_there_is_little_to_learn_from() -> None:
    assert running.usual(0) == tuple(name for name in CONTESTANTS if name != "ours-plain")
    assert running.usual(100) == CONTESTANTS


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sets", "icons-23"], "did you mean `icons-32`?"),
        (["--sets", "missing/"], "there is no such folder or file"),
        (["--sets", "fashion"], "--data DIR"),
        (["--sets", "icons-32", "--contestants", "ours,dcgann"], "did you mean `dcgan`?"),
        (["--sets", "icons-32", "--minutes", "0"], "--minutes must be more than 0"),
        (["--sets", "icons-32", "--small", "1"], "--small must be 2 or more"),
        (["--sets", "icons-32", "--summary-only"], "no finished cell"),
    ],
)
def test_wrong_input_is_told_before_any_work(
    given: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main([*given, "--out", str(tmp_path / "out")]) != 0
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.fixture
def shapes(tmp_path: Path) -> Path:
    """Bright discs and squares in folders of their names, no two alike."""
    noise, grid = np.random.default_rng(1), np.arange(32)
    for name in ("discs", "squares"):
        (tmp_path / "shapes" / name).mkdir(parents=True)
        for number in range(150):
            across, down = (np.abs(grid - noise.integers(8, 24)) for _ in range(2))
            inside = (
                across**2 + down[:, None] ** 2 < 40
                if name == "discs"
                else np.maximum(across, down[:, None]) < 6
            )
            picture = np.where(inside[..., None], noise.integers(128, 256, 3), noise.integers(0, 99, 3))
            picture = np.clip(picture + noise.normal(0, 6, picture.shape), 0, 255).astype(np.uint8)
            Image.fromarray(picture).save(tmp_path / "shapes" / name / f"{number}.png")
    return tmp_path / "shapes"


@pytest.mark.slow
def test_a_whole_benchmark_runs_and_goes_on_where_it_was(shapes: Path, tmp_path: Path) -> None:
    def bench(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "out"), "--sets", str(shapes)]
        command += [
            "--size",
            "16",
            "--minutes",
            "0.5",
            "--seeds",
            "1",
            "--threads",
            "1",
            "--probe-seconds",
            "1",
        ]
        return subprocess.run(
            [*command, *options], capture_output=True, text=True, check=False, env=dict(os.environ)
        )

    out = tmp_path / "out"
    first = bench("--contestants", "dcgan,ours")
    assert first.returncode == 0, first.stderr
    cells = (out / "cells.jsonl").read_text().splitlines()
    assert [json.loads(line)["contestant"] for line in cells] == ["dcgan", "ours"]
    (out / "cells.jsonl").write_text("\n".join([*cells, '{"set": "cut sho']))

    second = bench()
    assert second.returncode == 0, second.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["results"]["shapes"]) == {"ours", "dcgan", "wgan-gp"}
    assert summary["cells"][:2] == [json.loads(line) for line in cells]
    assert set(summary["generate"]["contestants"]) == {"ours", "dcgan", "wgan-gp"}
    assert summary["results"]["shapes"]["ours"]["class_accuracy"] is not None
    assert all(one["curve"] and len(one["scores"]) >= 2 for one in summary["cells"])
    assert "DCGAN against bowerbird" in second.stdout

    small = bench("--small", "20", "--contestants", "ours,ours-plain")
    assert small.returncode == 0, small.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["results"]["shapes-20-pictures"]) == {"ours", "ours-plain"}
    assert summary["sets"]["shapes-20-pictures"]["pictures"]["train"] == 20
