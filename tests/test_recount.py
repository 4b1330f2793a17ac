"""`evaluate` agrees with a recount from the model's files alone, by code that shares nothing with ours."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

from bowerbird import lifecycle
from tests.conftest import TINY

RECOUNT = runpy.run_path(str(Path(__file__).resolve().parent.parent / "benchmarks" / "recount.py"))


@pytest.mark.parametrize("layers", [1, 2])
def test_evaluate_agrees_with_an_independent_recount(layers: int, tmp_path: Path) -> None:
    text = "".join(
        f"the {word} of the sea, né {number}\n" for number, word in enumerate(["lark", "stone"] * 400)
    )
    (tmp_path / "text.txt").write_text(text, encoding="utf-8")
    data = lifecycle.prepare(
        tmp_path / "text.txt", tmp_path / "d", settings=["split.valid=0.1", "split.test=0"]
    )
    run = lifecycle.train(data, tmp_path / "r", steps=20, settings=[*TINY, f"model.layers={layers}"])
    report = lifecycle.evaluate(run.path, settings=["samples=1", "length=10"])
    held_out = text[int(0.9 * len(text)) :]
    recounted = RECOUNT["bits"](run.best_bundle().path, held_out, True) / len(held_out.encode())
    assert report.scores[0].value == pytest.approx(recounted, abs=2e-5)
    assert np.isclose(report.scores[0].n, len(held_out.encode()))
