"""A text model from folder to served answer, through the public functions."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.conftest import TINY

import bowerbird as bb
from bowerbird.base.errors import NotFound, UsageError


def test_the_whole_life_of_a_text_model(poems: Path, tmp_path: Path) -> None:
    dataset = bb.prepare(poems, out=tmp_path / "dataset")
    assert dataset.summary["items"] == 40
    run = bb.train(dataset, out=tmp_path / "run", model="gru", steps=30, settings=TINY)
    model = bb.load(tmp_path / "run")
    samples = model.generate(prompt="the sea", n=3, length=40, seed=1)
    assert len(samples) == 3
    assert [sample.seed for sample in samples] == [1, 2, 3]
    assert "".join(model.stream(prompt="the sea", length=40, seed=1)) == samples[0].text
    report = bb.evaluate(tmp_path / "run")
    assert {"bits_per_byte", "novelty"} <= {score.name for score in report.scores}
    assert "<html" in (tmp_path / "run" / "report.html").read_text()
    assert json.loads((tmp_path / "run" / "report.json").read_text())["digest"] == model.digest
    first = bb.publish(run.path, "poems", alias="live")
    assert first.scores["bits_per_byte"] == pytest.approx(report.scores[0].value)
    tuned = bb.finetune("poems@live", dataset, tmp_path / "tuned", steps=6, settings=["freeze=[embedding]"])
    second = bb.publish(tuned.path, "poems", alias="live")
    assert (second.version, second.parent) == (2, model.digest)
    assert bb.load("poems").digest == second.digest
    assert bb.rollback("poems").version == 1
    assert bb.load("poems@live").generate(prompt="the sea", length=40, seed=1)[0].text == samples[0].text
    against = bb.evaluate("poems@2", dataset=dataset, against="poems@1")
    assert against.comparison


def test_fine_tuning_changes_what_is_not_frozen_and_nothing_else(
    tiny_run: Path, tiny_dataset: Path, tmp_path: Path
) -> None:
    tuned = bb.finetune(
        tiny_run, tiny_dataset, tmp_path / "tuned", steps=4, settings=["freeze=[embedding,cells]"]
    )
    before, after = bb.load(tiny_run).bundle.weights(), tuned.best_bundle().weights()
    changed = {name for name in before if not before[name].equal(after[name])}
    assert changed
    assert all(not name.startswith(("embedding", "cells")) for name in changed)


def test_fine_tuning_spells_and_counts_characters_it_never_saw(tiny_run: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("the sea ☃ was ☃ under the stone\n" * 200)
    data = bb.prepare(tmp_path / "new.txt", tmp_path / "new", settings=["split.test=0"])
    tuned = bb.finetune(tiny_run, data, tmp_path / "tuned", steps=40)
    assert tuned.outcome["unseen"]["characters"] == 400
    assert tuned.outcome["unseen"]["most"] == ["☃"]
    assert bb.load(tuned.path).codec.describe() == bb.load(tiny_run).codec.describe()


def test_old_data_is_mixed_in_when_asked_for(tiny_run: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("a field of salt and rain\n" * 100)
    data = bb.prepare(tmp_path / "new.txt", tmp_path / "new", settings=["split.test=0"])
    plain = bb.finetune(tiny_run, data, tmp_path / "plain", steps=20)
    mixed = bb.finetune(
        tiny_run,
        data,
        tmp_path / "mixed",
        steps=20,
        settings=[f"mix.dataset={tiny_dataset}", "mix.share=0.5"],
    )
    scores = [
        bb.evaluate(run.path, dataset=tiny_dataset, settings=["samples=1", "length=20"]).scores[0].value
        for run in (plain, mixed)
    ]
    assert scores[1] is not None
    assert scores[0] is not None
    assert scores[1] < scores[0], "reading old data beside the new keeps more of it"


def test_fine_tuning_refuses_another_shape(tiny_run: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"model\.width cannot change"):
        bb.finetune(tiny_run, tiny_dataset, tmp_path / "x", steps=1, settings=["model.width=17"])
    assert not (tmp_path / "x").exists()


def test_a_chat_model_answers_in_turn(tmp_path: Path) -> None:
    rows = [
        {"messages": [{"role": "user", "content": f"hi {n}"}, {"role": "assistant", "content": "well well"}]}
        for n in range(60)
    ]
    (tmp_path / "chat.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    data = bb.prepare(tmp_path / "chat.jsonl", tmp_path / "d", settings=["clean.near_duplicates=false"])
    assert data.structure == "chat"
    run = bb.train(
        data,
        tmp_path / "run",
        steps=400,
        settings=[
            "batch_size=8",
            "length=24",
            "model.width=40",
            "optimizer.learning_rate=0.01",
            "patience=null",
        ],
    )
    answer = bb.load(run.path).generate(prompt="hi 3", length=60, temperature=0, seed=1)[0]
    assert answer.text == "well well"
    assert answer.finish_reason == "stop"


def test_evaluating_what_nobody_knows_the_data_of_says_so(tiny_run: Path, tmp_path: Path) -> None:
    bundle = bb.Run.open(tiny_run).best_bundle()
    (tmp_path / "copy").mkdir()
    for name in (*bundle.manifest["files"], "bundle.json"):
        (tmp_path / "copy" / name).write_bytes((bundle.path / name).read_bytes())
    with pytest.raises(NotFound, match="not known here"):
        bb.evaluate(tmp_path / "copy")
