"""A model from elsewhere lives on like ours: it is judged, tuned, published, and found again."""

from __future__ import annotations

from pathlib import Path

from tests.foreign import SYMBOLS, char_lstm, lstm_parts, write_keras

import bowerbird as bb

BRIEF = ["samples=2", "length=40"]


def test_the_whole_life_of_an_imported_model(tiny_dataset: Path, tmp_path: Path) -> None:
    path = write_keras(tmp_path / "model.keras", char_lstm(), lstm_parts())
    model = bb.import_model(path, tmp_path / "bundle", symbols=SYMBOLS)
    before = bb.evaluate(tmp_path / "bundle", dataset=tiny_dataset, settings=BRIEF).scores[0]
    assert before.name == "bits_per_byte"
    first = bb.publish(tmp_path / "bundle", "strange", alias="live")
    tuned = bb.finetune(
        "strange@live", tiny_dataset, tmp_path / "tuned", steps=60, settings=["optimizer.learning_rate=0.01"]
    )
    after = bb.evaluate(tuned.path, dataset=tiny_dataset, settings=BRIEF).scores[0]
    assert before.value is not None
    assert after.value is not None
    assert after.value < before.value - 0.5, "it learnt"
    second = bb.publish(tuned.path, "strange", alias="live")
    assert (first.digest, second.version, second.parent) == (model.digest, 2, model.digest)
    assert bb.load("strange@live").generate(prompt="the sea", length=20, seed=1)[0].text
