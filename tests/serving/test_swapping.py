"""Hot swap: an alias moves, and what is served by it is another model, without an answer lost."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from tests.serving.paced import texts, until
from tests.untrained_bundles import text_model

from bowerbird import lifecycle
from bowerbird.base.errors import DataError
from bowerbird.kinds.loaded import Model
from bowerbird.serving import swapping
from bowerbird.serving.engine import Engine
from bowerbird.serving.swapping import AliasWatch
from bowerbird.store.signing import new_key, sign

LIVE = "poems@live"


@pytest.fixture
def bundles(tmp_path: Path) -> list[Path]:
    """Two bundles; the first is published and live."""
    made = [text_model(tmp_path / name, width=width) for name, width in (("one", 12), ("two", 20))]
    lifecycle.publish(made[0], "poems", alias="live")
    return made


@pytest.fixture
def engine(bundles: list[Path]) -> Iterator[Engine]:
    with Engine({LIVE: lifecycle.load(LIVE)}, slots=64) as engine:
        yield engine


def go_live(bundle: Path) -> str:
    return lifecycle.publish(bundle, "poems", alias="live").digest


def test_a_swap_under_64_streams_drops_none(engine: Engine, bundles: list[Path]) -> None:
    watch = AliasWatch(engine, {LIVE: LIVE}, lifecycle.load)
    old = engine.model(LIVE)
    assert watch.look() == []
    fields = [{"prompt": f"the {'abcdefgh'[seed % 8]}", "length": 120, "seed": seed} for seed in range(64)]
    before = [engine.submit(LIVE, old.request(**each)) for each in fields]
    go_live(bundles[1])
    assert watch.look() == [LIVE]
    assert watch.look() == []
    new = engine.model(LIVE)
    assert new.digest != old.digest
    after = [engine.submit(LIVE, new.request(**each)) for each in fields[:8]]
    assert [texts(ticket) for ticket in before] == [[old.generate(**each)[0].text] for each in fields]
    assert [texts(ticket) for ticket in after] == [[new.generate(**each)[0].text] for each in fields[:8]]


def test_a_watch_sees_promotions_and_rollbacks(engine: Engine, bundles: list[Path]) -> None:
    first = engine.model(LIVE).digest
    with AliasWatch(engine, {LIVE: LIVE}, lifecycle.load, every_seconds=0.01):
        second = go_live(bundles[1])
        until(lambda: engine.model(LIVE).digest == second)
        lifecycle.rollback("poems")
        until(lambda: engine.model(LIVE).digest == first)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_in_place(
    engine: Engine, bundles: list[Path], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []

    def load(reference: str) -> Model:
        tried.append(reference)
        raise DataError("it is damaged")

    watch = AliasWatch(engine, {LIVE: LIVE}, load)
    old = engine.model(LIVE)
    go_live(bundles[1])
    assert watch.look() == watch.look() == []
    assert engine.model(LIVE) is old
    assert tried == [LIVE]
    assert "it is damaged" in caplog.text
    monkeypatch.setattr(swapping, "RETRY_SECONDS", 0.0)
    watch.look()
    assert len(tried) == 2
    assert texts(engine.submit(LIVE, old.request(length=5, seed=1)))


def test_a_signature_is_demanded_of_the_new_model_too(
    engine: Engine, bundles: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    new_key(tmp_path / "key")
    watch = AliasWatch(engine, {LIVE: LIVE}, partial(lifecycle.load, signed_by=tmp_path / "key.pub"))
    old = engine.model(LIVE)
    go_live(bundles[1])
    assert watch.look() == []
    assert engine.model(LIVE) is old
    assert "cannot be served" in caplog.text
    third = text_model(tmp_path / "three", width=16)
    sign(third, tmp_path / "key")
    digest = go_live(third)
    assert watch.look() == [LIVE]
    assert engine.model(LIVE).digest == digest


def test_what_is_warmed_badly_is_not_served(engine: Engine, bundles: list[Path]) -> None:
    def warm(model: Model) -> None:
        raise RuntimeError("it makes nothing")

    watch = AliasWatch(engine, {LIVE: LIVE}, lifecycle.load, warm=warm)
    old = engine.model(LIVE)
    go_live(bundles[1])
    assert watch.look() == []
    assert engine.model(LIVE) is old


def test_folders_and_references_that_lead_nowhere_stay_as_they_are(
    engine: Engine, bundles: list[Path], caplog: pytest.LogCaptureFixture
) -> None:
    old = engine.model(LIVE)
    engine.add("folder", old)
    watch = AliasWatch(engine, {LIVE: "poems@gone", "folder": str(bundles[1])}, lifecycle.load)
    assert watch.look() == watch.look() == []
    assert caplog.text.count("cannot be looked up") == 1
    assert engine.model("folder") is engine.model(LIVE) is old
