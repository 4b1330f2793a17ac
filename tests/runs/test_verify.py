"""`verify-resume` tells of every tensor of a run, a GAN's too: both networks, both optimisers, what is carried."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Ran
from tests.pictures import new_model, write_dataset

from bowerbird import lifecycle
from bowerbird.data.dataset import Dataset
from bowerbird.evaluation.extractors.own import own
from bowerbird.learning.adversarial import Adversarial
from bowerbird.runs.run import Run

PARTS = (
    "weights/",
    "partners/generator/",
    "partners/critic/",
    "generator_optimizer/",
    "critic_optimizer/",
)


@pytest.fixture(scope="module")
def pictures_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a small GAN that has not made a step."""
    folder = tmp_path_factory.mktemp("verify")
    dataset = write_dataset(folder / "dataset")
    own(Dataset.open(dataset), steps=2)  # kept with the dataset, so that no run has to learn one
    return new_model(dataset, folder / "run", "evaluate_every=100")


def test_a_gan_that_is_stopped_and_resumed_is_equal_in_every_tensor(
    pictures_run: Path, bowerbird: Callable[..., Ran]
) -> None:
    ran = bowerbird("verify-resume", pictures_run, "--steps", 5, "--stops", 2, "--json")
    assert ran.code == 0, ran.err
    found = json.loads(ran.out)
    assert found["equal"]
    names = [row["name"] for row in found["tensors"]]
    for part in PARTS:
        assert any(name.startswith(part) for name in names), part
    assert {"scale", "penalty_scale", "augment", "sure"} <= set(names)
    assert all(row["equal"] and row["max_abs_difference"] == 0 for row in found["tensors"])
    moved = Run.open(pictures_run).newest()[0]
    assert {f"weights/{name}" for name in moved.weights()} <= set(names)


def test_the_command_line_has_a_line_for_each_tensor(
    pictures_run: Path, bowerbird: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    restore = Adversarial.restore

    def forgetful(self: Adversarial, shipped: Any, partners: Any, resume_state: Any = None) -> None:
        kept = {name: value for name, value in (resume_state or {}).items() if "critic_optimizer" not in name}
        restore(self, shipped, partners, kept if resume_state is not None else None)

    monkeypatch.setattr(Adversarial, "restore", forgetful)
    ran = bowerbird("verify-resume", pictures_run, "--steps", 4, "--stops", 1)
    assert ran.code == 5
    assert "a resumed run is not the run that was never stopped" in ran.err
    lines = {line.split()[0]: line.split() for line in ran.out.splitlines()}
    assert lines["tensor"] == ["tensor", "shape", "equal", "difference"]
    forgotten = [words for name, words in lines.items() if name.startswith("critic_optimizer/")]
    assert forgotten
    assert any(words[2] == "NO" for words in forgotten)
    assert lines["partners/critic/output.bias"][1] == "1"
    assert "DIFFER" in ran.out.splitlines()[-1]


def test_every_tensor_of_a_text_run_is_told_with_its_shape(tiny_run: Path) -> None:
    found = lifecycle.verify_resume(tiny_run, steps=4, stops=1)
    rows = {row["name"]: row for row in found["tensors"]}
    weights = Run.open(tiny_run).best_bundle().weights()
    assert rows["weights/embedding.weight"]["shape"] == list(weights["embedding.weight"].shape)
    assert any(name.startswith("optimizer/") for name in rows)
    assert any(name.startswith("state/") for name in rows)
