"""The reference of a model: made when it is evaluated or published, and where the bundle goes it goes too."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.conftest import TINY
from tests.untrained_bundles import VERSE, melody_model, text_model

from bowerbird import lifecycle
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import ROLES
from bowerbird.evaluation.reference import read_reference
from bowerbird.kinds.surprise import surprises
from bowerbird.runs.reference import make_reference
from bowerbird.store.beside import reference_of
from bowerbird.workspace import Workspace


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


def test_evaluating_writes_a_reference_beside_the_bundle(run: Path, tiny_dataset: Path) -> None:
    lifecycle.evaluate(run, settings=["samples=4", "length=40"])
    model = lifecycle.load(run)
    found = read_reference(model.bundle.path, model.digest)
    assert found is not None
    assert (found.kind, found.dataset) == ("text", Dataset.open(tiny_dataset).digest)
    assert found.prompts is not None
    assert found.outputs is not None
    assert {*found.prompts.numbers} == {"surprise", "alphabet", "unseen", "repetition"}
    assert {*found.outputs.numbers} == {"novelty", "repetition"}
    assert found.prompts.names["language"]
    assert len(found.outputs) >= 4
    assert 0.05 < np.median(found.prompts.at("surprise", 16)) < 12
    assert found.alphabet[" "] > 10


def test_publishing_takes_the_reference_along(
    run: Path, workspace: Path, mlflow_space: Callable[[Path], Path], tmp_path: Path
) -> None:
    lifecycle.evaluate(run, settings=["samples=4", "length=40"])
    model = lifecycle.load(run)
    places = [Workspace(workspace / "folder")]
    if shutil.which("mlflow") or _has_mlflow():
        places.append(Workspace(mlflow_space(tmp_path / "mlflow"), "mlflow"))
    for space in places:
        version = lifecycle.publish(run, "poems", alias="live", workspace=space)
        path = space.resolve("poems@live").path
        assert reference_of(path).read_bytes() == reference_of(model.bundle.path).read_bytes()
        assert read_reference(path, version.digest) is not None


def _has_mlflow() -> bool:
    import importlib.util

    return importlib.util.find_spec("mlflow") is not None


def test_publishing_writes_one_of_prompts_where_there_is_none(run: Path) -> None:
    version = lifecycle.publish(run, "poems")
    found = read_reference(version.path, version.digest)
    assert found is not None
    assert found.prompts is not None
    assert found.outputs is None


def test_a_model_in_fewer_bits_has_its_reference_too(run: Path) -> None:
    version = lifecycle.publish(run, "poems", precision="bfloat16")
    assert version.digest != lifecycle.load(run).digest
    assert read_reference(version.path, version.digest) is not None


def test_without_its_dataset_a_model_is_published_all_the_same(tmp_path: Path) -> None:
    version = lifecycle.publish(text_model(tmp_path / "bundle"), "poems")
    assert read_reference(version.path, version.digest) is None


def test_another_dataset_does_not_replace_the_model_s_own(run: Path, tmp_path: Path) -> None:
    lifecycle.evaluate(run, settings=["samples=2", "length=20"])
    model = lifecycle.load(run)
    before = reference_of(model.bundle.path).read_bytes()
    (tmp_path / "other.txt").write_text("another text altogether\n" * 200)
    other = lifecycle.prepare(tmp_path / "other.txt", tmp_path / "other")
    lifecycle.evaluate(run, dataset=other, settings=["samples=2", "length=20"])
    assert reference_of(model.bundle.path).read_bytes() == before


def test_passages_are_cut_from_the_held_out_part_and_do_not_overlap(tmp_path: Path) -> None:
    words = [f"line {number} says {number * number}." for number in range(4000)]
    (tmp_path / "book.txt").write_text("\n".join(words))
    data = lifecycle.prepare(tmp_path / "book.txt", tmp_path / "data", settings=["split.test=0.5"])
    model = lifecycle.train(data, tmp_path / "run", steps=2, settings=TINY)
    found = make_reference(lifecycle.load(model.path), data)
    assert found.prompts is not None
    assert 200 <= len(found.prompts) <= 256
    assert found.prompts.longest >= 64
    assert len(set(found.prompts.clusters.tolist())) >= 8


def test_prompts_of_a_chat_model_are_turns_of_its_user(tmp_path: Path) -> None:
    (tmp_path / "chats").mkdir()
    rows = [
        f'{{"messages": [{{"role": "user", "content": "hello number {number}"}}, '
        f'{{"role": "assistant", "content": "good day to you {number}"}}]}}'
        for number in range(60)
    ]
    (tmp_path / "chats" / "chats.jsonl").write_text("\n".join(rows))
    settings = ["split.test=0.5", "clean.near_duplicates=false"]
    data = lifecycle.prepare(tmp_path / "chats", tmp_path / "data", settings=settings)
    model = lifecycle.load(lifecycle.train(data, tmp_path / "run", steps=2, settings=TINY).path)
    assert model.structure == "chat"
    found = make_reference(model, data)
    assert found.prompts is not None
    assert 20 <= len(found.prompts) <= 40
    assert found.prompts.longest in (4, 8, 16)


def test_surprise_is_what_the_model_spends(tmp_path: Path) -> None:
    model = lifecycle.load(text_model(tmp_path / "bundle"))
    one, none, other = surprises(model, [VERSE, "", VERSE[:20]])
    assert one.size == len(VERSE)
    assert one.at(20) == pytest.approx(other.at(20), rel=1e-5)
    assert np.isnan(none.at(5))
    assert one.at(10_000) == pytest.approx(one.bits[-1] / one.size)
    chat = lifecycle.load(text_model(tmp_path / "chat", structure="chat"))
    [turn] = surprises(chat, [f"the {ROLES['user']}lark"])
    assert turn.size == len("the lark")


def test_surprise_of_a_tune_is_counted_in_notes(tmp_path: Path) -> None:
    model = lifecycle.load(melody_model(tmp_path / "bundle"))
    [found] = surprises(model, ["K0:major M4/4 | 0:60:24 24:64:24 48:67:48"])
    assert found.size == 3
    assert found.at(2) > 0
