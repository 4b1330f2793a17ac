"""An update of tunes and of pictures: what `prepare` reads is learnt, and the gates judge by what each kind has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import TINY
from tests.life.test_melody import a_tune
from tests.pictures import SIDE, TINY_GAN, draw_folder

import bowerbird as bb
from bowerbird.base.errors import UsageError
from bowerbird.evaluation.extractors.own import own
from bowerbird.monitoring.update import plan, update
from bowerbird.monitoring.update_config import UpdateConfig
from bowerbird.monitoring.wanted import Wanted
from bowerbird.workspace import Workspace


def book(folder: Path, first: int, count: int) -> Path:
    folder.mkdir()
    path = folder / "book.abc"
    path.write_text("\n".join(a_tune(number) for number in range(first, first + count)))
    return path


def asked(source: Path, **config: Any) -> Wanted:
    return Wanted("made", sources=[str(source)], steps=10, config=UpdateConfig.model_validate(config))


def test_a_model_of_tunes_is_updated_with_tunes(tmp_path: Path) -> None:
    data = bb.prepare(book(tmp_path / "old", 1, 40), tmp_path / "data", kind="melody")
    bb.publish(bb.train(data, tmp_path / "run", steps=20, settings=TINY).path, "made", alias="live")
    new = book(tmp_path / "new", 100, 40)
    with pytest.raises(UsageError, match="words"):
        plan(Wanted("made", feedback=True), Workspace())
    assert plan(asked(new), Workspace()).decision == "planned"
    decision = update(asked(new, judge={"samples": 2}, policy={"novelty_margin": 1.0}), Workspace())
    gates = {gate["name"]: gate for gate in decision.to_json()["gates"]}
    assert gates["better on the new data"]["numbers"]["unit"] == "bits/note"
    assert gates["not worse on old data"]["numbers"]["interval"] is not None
    assert decision.decision in ("on trial", "refused")


@pytest.mark.slow  # what judges the new pictures is trained first
def test_a_model_of_pictures_is_updated_with_pictures(tmp_path: Path) -> None:
    settings = [f"image.size={SIDE}", "image.near_duplicates=false"]
    data = bb.prepare(draw_folder(tmp_path / "old"), tmp_path / "data", kind="image", settings=settings)
    own(data, steps=10)
    bb.publish(bb.train(data, tmp_path / "run", steps=30, settings=TINY_GAN).path, "made", alias="live")
    new = draw_folder(tmp_path / "new")
    decision = update(asked(new, judge={"samples": 64}, policy={"margin": 0.9}), Workspace())
    gates = {gate["name"]: gate for gate in decision.to_json()["gates"]}
    assert gates["better on the new data"]["numbers"]["name"] == "fid"
    assert "not tested" in gates["better on the new data"]["why"]
    assert decision.decision in ("on trial", "refused")
