"""Where a model comes from and what differs between two: told by references, runs and published versions alike."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY, Ran

import bowerbird as bb
from bowerbird.base.errors import NotFound
from bowerbird.runs.run import Run
from bowerbird.store.bundle import write_bundle


@pytest.fixture(scope="module")
def tuned(tiny_run: Path, tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run fine-tuned from `tiny_run`."""
    return bb.finetune(tiny_run, tiny_dataset, tmp_path_factory.mktemp("tuned") / "tuned", steps=2).path


@pytest.fixture(scope="module")
def wide(tiny_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run like `tiny_run`, of another cell and width."""
    settings = [*TINY, "model.width=20"]
    out = tmp_path_factory.mktemp("wide") / "wide"
    return bb.train(tiny_dataset, out, model="gru", steps=4, settings=settings).path


def rows(found: dict[str, Any], part: str) -> dict[str, tuple[Any, Any]]:
    return {row.get("key") or row["name"]: (row["first"], row["second"]) for row in found[part]}


def test_a_version_is_traced_from_its_data_to_its_oldest_parent(
    tiny_run: Path, tuned: Path, tiny_dataset: Path, bowerbird: Callable[..., Ran]
) -> None:
    bb.publish(tiny_run, "poems")
    second = bb.publish(tuned, "letters", alias="live")
    told = json.loads(bowerbird("inspect", "letters", "--json").out)
    run = Run.open(tuned)
    first = bb.versions("poems")[0]
    assert [(link["what"], link["digest"]) for link in told["chain"]] == [
        ("dataset", bb.Dataset.open(tiny_dataset).digest),
        ("run", run.record["digest"]),
        ("bundle", second.digest),
        ("version", second.digest),
        ("parent", first.digest),
    ]
    assert [link["name"] for link in told["chain"]][3:] == ["letters@1", "poems@1"]
    assert (told["name"], told["version"], told["aliases"]) == ("letters", 1, ["live"])
    assert told["scores"] == second.scores
    assert second.origin == {"dataset": first.origin["dataset"], "run": run.record["digest"]}
    shown = bowerbird("inspect", "letters")
    assert "from parent" in shown.out
    assert "poems@1" in shown.out


def test_a_run_is_traced_without_a_registry(
    tuned: Path, tiny_run: Path, bowerbird: Callable[..., Ran]
) -> None:
    checkpoint = sorted((tuned / "checkpoints").iterdir())[-1]
    told = json.loads(bowerbird("inspect", checkpoint, "--json").out)
    assert [link["what"] for link in told["chain"]] == ["dataset", "run", "bundle", "parent"]
    assert told["chain"][1]["name"] == str(tuned)
    assert (told["chain"][-1]["digest"], told["chain"][-1]["name"]) == (bb.load(tiny_run).digest, None)
    assert "version" not in told


def test_a_damaged_version_of_another_name_does_not_stop_tracing(
    tuned: Path, tiny_run: Path, workspace: Path, bowerbird: Callable[..., Ran]
) -> None:
    bb.publish(tiny_run, "poems")
    (workspace / "registry" / "poems" / "1" / "version.json").write_text("{")
    assert bowerbird("inspect", sorted((tuned / "checkpoints").iterdir())[-1], "--json").code == 0


def test_what_is_known_of_a_model_goes_with_it_from_name_to_name(tiny_run: Path) -> None:
    first = bb.publish(tiny_run, "poems")
    again = bb.publish("poems@1", "best-of")
    assert first.scores
    assert (again.scores, again.origin, again.digest) == (first.scores, first.origin, first.digest)


def test_a_bundle_that_nobody_knows_is_published_without_scores(tiny_run: Path, tmp_path: Path) -> None:
    shutil.copytree(bb.load(tiny_run).bundle.path, tmp_path / "mine")
    found = bb.publish(tmp_path / "mine", "poems")
    assert found.scores == {}
    assert found.origin == {"dataset": bb.load(tiny_run).bundle.manifest["lineage"]["dataset"]}


def test_a_bundle_without_data_of_its_own_names_what_it_was_made_of(
    tiny_run: Path, tmp_path: Path, bowerbird: Callable[..., Ran]
) -> None:
    first = bb.publish(tiny_run, "poems")
    source = bb.load(tiny_run).bundle
    kept = {key: value for key, value in source.manifest.items() if key not in ("format", "files", "digest")}
    write_bundle(
        tmp_path / "made",
        {**kept, "lineage": {"made_of": first.digest}},
        weights=source.weights(),
        partners={},
        codec_files=source.codec_files(),
        card="# made",
    )
    told = json.loads(bowerbird("inspect", tmp_path / "made", "--json").out)
    assert [link["what"] for link in told["chain"]] == ["bundle", "made_of"]
    assert (told["chain"][1]["digest"], told["chain"][1]["name"]) == (first.digest, "poems@1")
    assert bb.publish(tmp_path / "made", "poems").version == 2
    assert rows(bb.diff("poems@1", "poems@2"), "data")["dataset"] == (first.origin["dataset"], None)


def test_a_difference_names_settings_data_and_scores(tiny_run: Path, wide: Path) -> None:
    found = bb.diff(tiny_run, wide)
    config = rows(found, "config")
    assert (config["model.cell"], config["model.width"]) == (("lstm", "gru"), (16, 20))
    assert "batch_size" not in config
    assert found["data"] == []
    assert not found["same"]
    score = next(row for row in found["scores"] if row["name"] == "valid_bits_per_byte")
    assert score["change"] == score["second"] - score["first"]
    assert [model["parameters"] for model in found["models"]] == [
        bb.load(side).parameters for side in (tiny_run, wide)
    ]


def test_a_difference_of_data_names_what_it_was_made_of(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("ein stein im see\n" * 400)
    data = bb.prepare(tmp_path / "new.txt", tmp_path / "new", settings=["split.test=0"])
    other = bb.train(data, tmp_path / "other", steps=4, settings=TINY).path
    told = rows(bb.diff(tiny_run, other), "data")
    assert told["dataset"][1] == data.digest
    assert told["codec.vocab_size"][1] == data.codec.vocab_size
    assert told["items"] == (40, 1)


def test_a_difference_of_versions_is_of_what_was_kept_with_them(
    tiny_run: Path, wide: Path, bowerbird: Callable[..., Ran]
) -> None:
    one, two = bb.publish(tiny_run, "poems"), bb.publish(wide, "poems")
    found = json.loads(bowerbird("diff", "poems@1", "poems@2", "--json").out)
    assert rows(found, "scores")["valid_bits_per_byte"] == (
        one.scores["valid_bits_per_byte"],
        two.scores["valid_bits_per_byte"],
    )
    assert [model["digest"] for model in found["models"]] == [one.digest, two.digest]
    shown = bowerbird("diff", "poems@1", "poems@2")
    assert shown.code == 0
    assert "model.width" in shown.out
    assert f"{bb.load(wide).parameters}" in shown.out
    assert "valid_bits_per_byte" in shown.out


def test_a_model_does_not_differ_from_itself(tiny_run: Path, bowerbird: Callable[..., Ran]) -> None:
    bb.publish(tiny_run, "poems")
    found = bb.diff(tiny_run, "poems")
    assert found["same"]
    assert (found["config"], found["data"]) == ([], [])
    assert all(row["change"] == 0 for row in found["scores"])
    assert "one and the same model" in bowerbird("diff", tiny_run, "poems").out
    assert bowerbird("diff", tiny_run, "nobody").code == 4


def test_the_log_of_a_name_is_told_in_order(
    tiny_run: Path, wide: Path, bowerbird: Callable[..., Ran]
) -> None:
    bb.publish(tiny_run, "poems", alias="live", why="the first")
    bb.publish(wide, "poems", alias="live")
    bb.rollback("poems", why="it was worse")
    assert [entry["action"] for entry in bb.history("poems")] == [
        "publish",
        "promote",
        "publish",
        "promote",
        "rollback",
    ]
    told = json.loads(bowerbird("versions", "poems", "--log", "--json").out)
    assert (told["name"], told["log"]) == ("poems", bb.history("poems"))
    shown = bowerbird("versions", "poems", "--log").out
    assert "2 -> 1" in shown
    assert "it was worse" in shown
    assert bowerbird("versions", "--log").code == 2
    with pytest.raises(NotFound):
        bb.history("letters")
