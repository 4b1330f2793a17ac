"""The simulation of drift, small: it counts what it says, and sees a switch of language."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.untrained_bundles import text_model

pytest.importorskip("scipy")

from bowerbird import lifecycle
from bowerbird.evaluation.traits import Alphabet
from bowerbird.kinds.loaded import Model
from bowerbird.monitoring.monitor import MonitorConfig
from drift_bench.counting import Watch, halves, reference_of, until_alarm, without_change
from drift_bench.traffic import Said, of_catalogues, of_folder, stream

ENGLISH = "the sea the stone and the lark was under the rain by the lamp of the door in the field"
GERMAN = "der Wind und das Meer sind nicht so grau wie die Steine auf dem Feld es war ein Licht"
CONFIG = MonitorConfig(window=50)


def pool(words: str, documents: int = 80) -> list[Said]:
    rng = random.Random(len(words))
    return [
        Said(f"{number}", " ".join(rng.choices(words.split(), k=rng.randint(4, 10))))
        for number in range(documents)
        for _ in range(6)
    ]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return lifecycle.load(text_model(tmp_path / "bundle"))


def test_windows_without_a_change_are_counted(model: Model) -> None:
    alphabet = Alphabet.of([ENGLISH])
    known, alone = without_change(pool(ENGLISH), Watch(model), alphabet, CONFIG, windows=3, replicates=2)
    assert (known["callers_known"], alone["callers_known"]) == (True, False)
    assert known["windows"] == alone["windows"] == 6
    assert known["windows_with_alarm"] == 0
    assert known["level"] == 0.05


def test_a_switch_of_language_is_seen_soon(model: Model) -> None:
    alphabet = Alphabet.of([ENGLISH])
    ours, theirs = halves(pool(ENGLISH), 1)
    assert not {one.document for one in ours} & {one.document for one in theirs}
    normal = reference_of(theirs, model, alphabet, 1)
    found = until_alarm(ours, pool(GERMAN), Watch(model), normal, CONFIG, 1.0, tries=2, most=200)
    assert found["alarms"] == 2
    assert found["requests_until_alarm"]["most"] <= 100


def test_traffic_is_drawn_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("This is the first sentence here. Another one follows it at once!\n")
    said = of_folder(tmp_path)
    assert [one.text for one in said] == [
        "This is the first sentence here.",
        "Another one follows it at once!",
    ]
    assert list(stream(said, 20, 1)) == list(stream(said, 20, 1))
    assert of_catalogues("xx", tmp_path) == []
