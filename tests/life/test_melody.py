"""A melody model from a folder of tunes to served answers, through the public functions."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.conftest import TINY

import bowerbird as bb
from bowerbird.base.config import resolve
from bowerbird.base.errors import BowerbirdError, DataError, UsageError
from bowerbird.data.media import melody_essence
from bowerbird.data.tune import parse
from bowerbird.kinds.melody import MELODY
from bowerbird.kinds.melody_settings import MelodyRun, read_key, read_metre
from bowerbird.serving.app import create_app

HEAD = "X:{number}\nT:Tune {number}\nM:{metre}\nL:1/8\nK:{key}\n"
FIGURES = ("C2DE F2GA", "G2FE D2CD", "E2EF GABc", "c2BA G2FE", "D2D2 EFGA", "CEGE CEGc", "A2GF E2D2")
KEYS = ("C", "G", "D", "F", "Am", "Edor")


def a_tune(number: int) -> str:
    """A tune of eight bars, different for each number."""
    noise = np.random.default_rng(number)
    bars = [FIGURES[at] for at in noise.integers(len(FIGURES), size=7)]
    head = HEAD.format(number=number, metre="4/4", key=KEYS[number % len(KEYS)])
    return head + " | ".join([*bars, "C8"]) + " |]\n"


@pytest.fixture(scope="session")
def tunes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty tunes in one book."""
    path = tmp_path_factory.mktemp("tunes") / "book.abc"
    path.write_text("\n".join(a_tune(number) for number in range(1, 41)))
    return path


@pytest.fixture(scope="session")
def melodies(tunes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bb.prepare(tunes, tmp_path_factory.mktemp("melodies") / "dataset", kind="melody").path


@pytest.fixture(scope="session")
def run(melodies: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bb.train(melodies, tmp_path_factory.mktemp("run") / "run", steps=40, settings=TINY).path


def test_the_whole_life_of_a_melody_model(melodies: Path, run: Path, tmp_path: Path) -> None:
    model = bb.load(run)
    assert (
        "bits_per_note"
        in bb.train(melodies, tmp_path / "r", steps=4, settings=TINY).outcome["best"]["scores"]
    )
    made = model.generate(n=3, seed=1, bars=6)
    assert [len(parse(sample.content).metres) for sample in made] == [6, 6, 6]
    assert [sample.text for sample in model.generate(n=3, seed=1, bars=6)] == [one.text for one in made]
    assert model.generate(seed=2, bars=6)[0].text == made[1].text
    report = bb.evaluate(run, settings=["samples=4"])
    scores = {score.name: score.value for score in report.scores}
    assert scores["valid_share"] == 1.0
    assert scores["bits_per_note"] is not None
    assert "novelty" in scores
    assert "<html" in (run / "report.html").read_text()
    first = bb.publish(run, "tunes", alias="live")
    assert first.scores["bits_per_note"] == pytest.approx(scores["bits_per_note"])
    tuned = bb.finetune("tunes@live", melodies, tmp_path / "tuned", steps=4)
    assert bb.publish(tuned.path, "tunes").parent == model.digest
    assert bb.verify_resume(run, steps=8, stops=2)["equal"]


def test_every_tune_is_whole_and_readable(run: Path) -> None:
    music21 = pytest.importorskip("music21")
    symusic = pytest.importorskip("symusic")
    model = bb.load(run)
    request: Any = model.request(n=20, seed=5, temperature=1.5, length=300)
    for sample in model.generate(**request.model_dump()):
        tune = parse(sample.content)
        assert tune.notes
        assert sample.finish_reason == "stop"
        files = MELODY.render(request, sample)
        assert len(symusic.Score.from_midi(files["mid"]).tracks) >= 1
        assert music21.converter.parse(files["abc"].decode(), format="abc").recurse().notes


@pytest.mark.parametrize("prompt", ["C4 D4 E4:2 G4", "X:1\nM:4/4\nL:1/8\nK:C\nC2DE F2GA | G2"])
def test_a_tune_goes_on_from_its_opening(run: Path, prompt: str) -> None:
    tune = parse(bb.load(run).generate(prompt=prompt, seed=1, key="C", metre="4/4", bars=5)[0].content)
    opening = (60, 62, 64, 67) if ":2" in prompt else (60, 62, 64, 65)
    assert tuple(note.pitch for note in tune.notes[:4]) == opening
    assert (tune.key, len(tune.metres)) == (read_key("C"), 5)


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"prompt": "?"}, DataError),
        ({"prompt": "C99"}, BowerbirdError),
        ({"metre": "7/16"}, UsageError),
        ({"key": "H"}, UsageError),
        ({"metre": "4/5"}, UsageError),
        ({"bars": 0}, UsageError),
        ({"prompt": "C4 D4 E4 F4 G4 A4 B4 C5 D5", "bars": 1}, UsageError),
    ],
)
def test_what_cannot_be_made_is_said(run: Path, asked: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        bb.load(run).generate(**asked)


def test_keys_and_metres_by_name() -> None:
    assert read_key("Bb") == (10, "major")
    assert read_key("F#m") == (6, "minor")
    assert read_key("d Dorian") == (2, "dorian")
    assert read_metre("6/8").ticks == 72
    for wrong in ("", "H", "C nonsense"):
        with pytest.raises(ValueError, match="no key"):
            read_key(wrong)


def test_a_tune_in_another_key_is_the_same_tune(tmp_path: Path) -> None:
    one = parse("K0:major M4/4 | 0:60:24 24:64:24 48:67:48 | 0:65:48 48:64:48")
    assert melody_essence(one.text()) == melody_essence(one.transposed(5).text())
    for number in range(1, 9):
        (tmp_path / f"{number}.abc").write_text(a_tune(number))
    lower = a_tune(1).replace("K:G", "K:C").replace("Tune 1", "By another name")
    (tmp_path / "again.abc").write_text(lower)  # the same letters in another key: other accidentals
    (tmp_path / "copy.abc").write_text(a_tune(1).replace("Tune 1", "By another name"))
    summary = bb.prepare(tmp_path, tmp_path / "dataset", kind="melody").summary
    assert summary["duplicates"] >= 1


def test_one_long_tune_is_cut_at_bar_lines(tmp_path: Path) -> None:
    bars = " | ".join(FIGURES[at % len(FIGURES)] for at in range(80))
    (tmp_path / "long.abc").write_text(HEAD.format(number=1, metre="4/4", key="C") + bars + " |]\n")
    data = bb.prepare(tmp_path / "long.abc", tmp_path / "dataset", kind="melody")
    parts = [data.text(split, 0) for split in ("train", "valid", "test")]
    assert parts[0].startswith("K0:major M4/4 |")
    assert parts[1].startswith("|")
    assert sum(part.count("|") for part in parts) == 80


def test_transposed_training_keeps_tunes_whole(tunes: Path, tmp_path: Path) -> None:
    data = bb.prepare(tunes, tmp_path / "dataset", kind="melody", settings=["codec.pitches=absolute"])
    settings = ["transpose=5", *TINY]
    config = resolve(MelodyRun, MELODY.recommend(data, "lstm", "small", None), settings=settings)
    read, plain = MELODY.batch(data, config), MELODY.batch(data, config.model_copy(update={"transpose": 0}))
    assert np.array_equal(read(7), read(7))
    shifts = set()
    for step in range(12):
        moved, still = read(step), plain(step)
        kinds = data.codec.kind_of  # type: ignore[attr-defined]
        assert np.array_equal(kinds[moved], kinds[still])
        shifts |= set((moved - still)[kinds[still] == 7].tolist())
    assert len(shifts) > 5, "tunes are moved by many different steps"


def test_melodies_are_served(run: Path) -> None:
    symusic = pytest.importorskip("symusic")
    model = bb.load(run)
    with TestClient(create_app({"tunes": model})) as client:
        asked = {"model": "tunes", "seed": 3, "n": 2, "bars": 4, "temperature": 0.9}
        found = client.post("/v1/melodies/generations", json=asked)
        assert found.status_code == 200, found.text
        data = found.json()["data"]
        expected = model.generate(seed=3, n=2, bars=4, temperature=0.9)
        assert [one["abc"] for one in data] == [sample.text for sample in expected]
        score = symusic.Score.from_midi(base64.b64decode(data[0]["b64_json"]))
        assert score.note_num() == len(parse(expected[0].content).notes)
        only = client.post("/v1/melodies/generations", json={**asked, "response_format": "abc"}).json()
        assert "b64_json" not in only["data"][0]
        for wrong, param in (
            ({"key": "H"}, "key"),
            ({"bars": 0}, "bars"),
            ({"nope": 1}, "nope"),
            ({"prompt": "C99 D4"}, "prompt"),
            ({"temperature": "hot"}, "temperature"),
        ):
            refused = client.post("/v1/melodies/generations", json={"model": "tunes", **wrong})
            assert refused.status_code == 400
            assert refused.json()["error"]["param"] == param
        text = client.post("/v1/completions", json={"model": "tunes", "prompt": "x"})
        assert text.status_code == 400
        assert 'data-kind="melody"' in client.get("/").text


def test_the_command_line_makes_files(
    run: Path, tunes: Path, tmp_path: Path, bowerbird: Callable[..., Any]
) -> None:
    made = bowerbird("generate", run, "-n", 2, "--bars", 4, "--seed", 1, "--out", tmp_path / "made", "--json")
    assert made.code == 0, made.err
    names = {path.name for path in (tmp_path / "made").iterdir()}
    assert names == {f"000{number}.{suffix}" for number in (1, 2) for suffix in ("mid", "abc", "png", "wav")}
    again = bowerbird("generate", run, "--prompt-file", tmp_path / "made" / "0001.mid", "--seed", 1)
    assert again.code == 0, again.err
    assert "K:" in again.out
    wrong = bowerbird("generate", run, "--key", "H")
    assert wrong.code == 2
    assert "no key" in wrong.err
    text = bowerbird("prepare", tunes, "--out", tmp_path / "text")
    assert text.code == 3
    assert "--kind melody" in text.err
