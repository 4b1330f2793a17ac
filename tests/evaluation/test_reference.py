"""Reference statistics: traits of texts and tunes, the ladder of lengths, and the file beside the bundle."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bowerbird.base.digest import sealed
from bowerbird.base.errors import CorruptFile
from bowerbird.data.tune import parse
from bowerbird.evaluation.image_traits import image_traits
from bowerbird.evaluation.languages import language
from bowerbird.evaluation.melody_traits import cut_tune, melody_traits
from bowerbird.evaluation.reference import (
    LADDER,
    MOST_BYTES,
    PASSAGES,
    Measured,
    Reference,
    measured,
    read_reference,
    write_reference,
)
from bowerbird.evaluation.traits import Alphabet, cut, repetition, size, traits


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("The sea was grey and the wind had turned to the north.", "English"),
        ("Das Meer ist grau, und der Wind kommt nicht von Norden.", "German"),
        ("La mer est grise et le vent ne vient pas du nord.", "French"),
        ("El mar es gris y el viento no viene del norte.", "Spanish"),
        ("Море было серым, и ветер не стих, как вчера.", "Russian"),
        ("海は灰色でした", "Japanese"),
        ("大海是灰色的", "Chinese"),
        ("바다는 회색이었다", "Korean"),
        ("البحر رمادي", "Arabic"),
        ("Η θάλασσα ήταν γκρίζα", "Greek"),
        ("Xqzt", "unclear"),
        ("12:30 ...", "no letters"),
        ("", "no letters"),
        ("ᚠᚢᚦ", "another script"),
    ],
)
def test_languages(text: str, told: str) -> None:
    assert language(text) == told


def test_traits_of_a_text() -> None:
    alphabet = Alphabet.of(["\ufdd0abab\ufdd2", "ab"])
    assert alphabet.counts == {"a": 3, "b": 3}
    found = traits("abz", alphabet)
    assert found["unseen"] == pytest.approx(1 / 3)
    assert alphabet.bits("zz") > alphabet.bits("ab") == pytest.approx(1.1, abs=0.2)
    assert repetition("abcdefgh" * 4) == pytest.approx(17 / 25)
    assert repetition("abcdefghi") == 0.0
    assert repetition("short") == 0.0
    assert traits("", alphabet)["alphabet"] == 0.0


def test_a_cut_breaks_no_character() -> None:
    assert cut("aé☃", 3) == "aé"
    assert cut("aé☃", 5) == "aé"
    assert size("aé☃") == 6


def test_traits_of_a_tune() -> None:
    tune = parse("K0:major M4/4 | 0:60:24 24:64:24 48:67:24 72:61:24 | 0:60:96")
    found = melody_traits(tune)
    assert found["step"] == pytest.approx((4 + 3 + 6 + 1) / 4)
    assert found["note_length"] == pytest.approx((4 * 1 + 4) / 5)
    assert found["in_key"] == pytest.approx(4 / 5)
    assert (found["mode"], found["metre"]) == ("major", "4/4")
    assert len(cut_tune(tune, 2).notes) == 2
    assert melody_traits(parse("K9:minor M4/4 | 0:60:24 24:65:24 48:69:24"))["in_key"] == 1.0


def test_traits_of_pictures() -> None:
    pictures = np.zeros((2, 4, 4, 3), np.uint8)
    pictures[1, ::2] = 255
    dark, striped = image_traits(pictures)
    assert dark == {"brightness": 0.0, "colour": 0.0, "edges": 0.0}
    assert striped["brightness"] == 0.5
    assert striped["edges"] == 0.5
    assert image_traits(pictures[:0]) == []


def some(count: int = 40) -> Measured:
    """Passages of rising length; a number that is ten times the length, and a class that depends on it."""
    return measured(
        count,
        [at // 4 for at in range(count)],
        lambda item, length: (
            None
            if length > 16 * (item + 1)
            else {"ten": 10.0 * np.log2(length), "kind": "long" if length > 8 else "short"}
        ),
    )


def test_between_two_lengths_values_are_in_proportion() -> None:
    found = some()
    assert found.at("ten", 8).tolist() == [30.0] * 40
    assert found.at("ten", 2).tolist() == [20.0] * 40
    assert found.at("ten", np.sqrt(8 * 16)).tolist() == pytest.approx([35.0] * 40)
    assert len(found.at("ten", 64)) == 37
    assert found.longest == 128
    shares, count = found.shares("kind", 14)
    assert dict(zip(found.names["kind"], shares.tolist(), strict=True)) == {"long": 1.0, "short": 0.0}
    assert count == 40


def test_few_documents_are_cut_into_runs() -> None:
    found = measured(64, [0] * 64, lambda item, length: {"x": 1.0}, ladder=(1,))
    assert len(set(found.clusters.tolist())) == 16
    assert measured(0, [], lambda item, length: None).longest == 0


def reference(model: str = "sha256:a") -> Reference:
    return Reference(model, "text", "sha256:d", "test", prompts=some(), alphabet={"a": 3, "é": 2})


def test_a_reference_is_written_and_read(tmp_path: Path) -> None:
    path = write_reference(reference(), tmp_path / "bundle")
    assert path == tmp_path / "bundle.reference.json"
    assert path.stat().st_mode & 0o077 == 0
    found = read_reference(tmp_path / "bundle", "sha256:a")
    assert found is not None
    assert found.prompts is not None
    assert found.to_json() == reference().to_json()
    half = replace(reference(), alphabet={"\ud800": 1})
    write_reference(half, tmp_path / "half")
    again = read_reference(tmp_path / "half", "sha256:a")
    assert again is not None
    assert again.alphabet == half.alphabet
    assert found.outputs is None
    assert read_reference(tmp_path / "other", "sha256:a") is None


def test_the_largest_reference_is_small_enough(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    numbers = rng.random((PASSAGES, len(LADDER), 4)) * 9
    names = ("surprise", "alphabet", "unseen", "repetition")
    whole = measured(
        PASSAGES,
        range(PASSAGES),
        lambda item, length: {
            **dict(zip(names, numbers[item, LADDER.index(length)].tolist(), strict=True)),
            "language": "English",
        },
    )
    outputs = replace(whole, numbers={name: table[:64] for name, table in whole.numbers.items()},
                      classes={name: table[:64] for name, table in whole.classes.items()},
                      clusters=whole.clusters[:64])  # fmt: skip
    letters = {chr(0x4E00 + at): 1000 + at for at in range(1000)}
    told = replace(reference(), prompts=whole, outputs=outputs, alphabet=letters)
    assert write_reference(told, tmp_path / "bundle").stat().st_size <= MOST_BYTES
    found = read_reference(tmp_path / "bundle", "sha256:a")
    assert found is not None
    assert found.prompts is not None
    assert len(found.prompts) == PASSAGES / 2, "in a script of many characters every other passage has to do"


def test_a_changed_reference_or_another_model_s_is_refused(tmp_path: Path) -> None:
    path = write_reference(reference(), tmp_path / "bundle")
    with pytest.raises(CorruptFile, match="another model"):
        read_reference(tmp_path / "bundle", "sha256:b")
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "split": "valid"}))
    with pytest.raises(CorruptFile, match="changed"):
        read_reference(tmp_path / "bundle", "sha256:a")


@pytest.mark.parametrize(
    "change",
    [
        {"prompts": 3},
        {"prompts": {}},
        {"alphabet": []},
        {"alphabet": {"a": "x"}},
        {"prompts": {**some().to_json(), "ladder": [4, 4]}},
        {"prompts": {**some().to_json(), "ladder": [0, 4]}},
        {"prompts": {**some().to_json(), "ladder": [4, 10**30]}},
        {"prompts": {**some().to_json(), "clusters": [[1]]}},
        {"prompts": {**some().to_json(), "clusters": [1]}},
        {"prompts": {**some().to_json(), "numbers": {"ten": [[1.0] * 99] * 40}}},
        {"prompts": {**some().to_json(), "classes": {"kind": [[7]] * 40}}},
    ],
)
def test_a_sealed_file_that_is_no_reference_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    path = write_reference(reference(), tmp_path / "bundle")
    told = json.loads(path.read_text())
    del told["digest"]
    path.write_text(json.dumps(sealed({**told, **change})))
    with pytest.raises(CorruptFile, match="damaged"):
        read_reference(tmp_path / "bundle", "sha256:a")
