"""What is imported is a bundle like any: its text, its digest, its own export read back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.conftest import Ran
from tests.foreign import SYMBOLS, TOKENS, CharRNN, char_lstm, char_rnn, lstm_parts, plain_state, write_keras

import bowerbird as bb
from bowerbird.base.errors import BowerbirdError, CorruptFile, DataError, NotFound, Refused, UsageError
from bowerbird.data.codecs.pieces import FIRST_LEARNT

Bowerbird = Callable[..., Ran]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.save(plain_state(char_rnn()), tmp_path / "model.pth")
    return tmp_path / "model.pth"


def greedy(network: CharRNN, first: str, length: int) -> str:
    """What the foreign network says after a beginning, by its own loop."""
    text = first
    with torch.no_grad():
        for _ in range(length):
            row = torch.tensor([[SYMBOLS.index(character) for character in text]])
            text += SYMBOLS[int(network(row)[0, -1].argmax())]
    return text[len(first) :]


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN"])
def test_an_imported_model_says_what_it_said_before(cell: str, tmp_path: Path) -> None:
    network = char_rnn(cell=cell, embedding=None)
    torch.save(plain_state(network), tmp_path / "model.pth")
    model = bb.import_model(tmp_path / "model.pth", tmp_path / "bundle", symbols=SYMBOLS)
    # The text begins after a line end, which is what stands for the beginning of a document.
    said = model.generate(prompt="the sea", length=60, temperature=0, seed=1)[0].text
    assert said == greedy(network, "\nthe sea", 60)


def test_what_a_foreign_model_does_not_know_takes_nothing_from_the_rest(tmp_path: Path) -> None:
    network = char_rnn()
    torch.save(plain_state(network), tmp_path / "model.pth")
    model: Any = bb.import_model(tmp_path / "model.pth", tmp_path / "bundle", symbols=SYMBOLS)
    tokens = torch.randint(0, TOKENS, (2, 50))
    with torch.no_grad():
        ours = model.network(tokens + FIRST_LEARNT, model.network.start(2))[0].softmax(-1)
        theirs = network(tokens).softmax(-1)
    assert torch.allclose(ours[..., FIRST_LEARNT:], theirs, atol=1e-6)
    assert float(ours[..., :FIRST_LEARNT].sum(-1).max()) < 1e-6


def test_a_token_that_begins_texts_becomes_our_marker_and_those_without_text_are_left_out(
    tmp_path: Path,
) -> None:
    network = char_rnn(embedding=5, tokens=5)
    torch.save(plain_state(network), tmp_path / "model.pth")
    symbols = ["<s>", None, "b", "a", "c"]
    model: Any = bb.import_model(tmp_path / "model.pth", tmp_path / "bundle", symbols=symbols)
    assert model.codec.describe()["pieces"] == ["b", "a", "c"]
    with torch.no_grad():
        ours = model.network(torch.tensor([[0, 21]]), model.network.start(1))[0].softmax(-1)[0, -1]
        theirs = network(torch.tensor([[0, 3]]))[0, -1][[0, 2, 3, 4]].softmax(-1)
    assert torch.allclose(ours[[0, 20, 21, 22]], theirs, atol=1e-6)


def test_a_model_of_small_letters_reads_capitals_as_such(saved: Path, tmp_path: Path) -> None:
    model = bb.import_model(saved, tmp_path / "small", symbols=SYMBOLS)
    assert not model.unseen("The Sea")
    capitals = [symbol.upper() if symbol == "q" else symbol for symbol in SYMBOLS]
    assert bb.import_model(saved, tmp_path / "mixed", symbols=capitals).unseen("The Q") == {"T"}


def test_equal_files_give_equal_bundles_that_name_them(saved: Path, tmp_path: Path) -> None:
    one = bb.import_model(saved, tmp_path / "one", symbols=SYMBOLS)
    (tmp_path / "else").mkdir()
    shutil.copy(saved, tmp_path / "else" / "other.pt")
    two = bb.import_model(tmp_path / "else" / "other.pt", tmp_path / "two", symbols=SYMBOLS)
    assert one.digest == two.digest
    came = one.bundle.manifest["lineage"]["imported"]
    assert came["format"] == "pth"
    assert came["digest"].startswith("sha256:")
    assert "collections.OrderedDict" in came["pickled"]
    assert "imported" in (tmp_path / "one" / "README.md").read_text()


@pytest.mark.parametrize(
    ("symbols", "error", "why"),
    [
        (None, UsageError, r"does not tell which character each of its 28 tokens is"),
        (SYMBOLS[:-1], DataError, "27 symbols for a model of 28 tokens"),
        ([*SYMBOLS[:-1], "word"], DataError, "'word' are none"),
        ([*SYMBOLS[:-1], "\ufdd1"], DataError, "single characters"),
        ([*SYMBOLS[:-1], "\ud800"], DataError, "single characters"),
        ([*SYMBOLS[:-1], "a"], DataError, "more than once: 'a'"),
        ([None] * TOKENS, DataError, "none of its symbols is a character"),
    ],
)
def test_symbols_that_cannot_be_are_refused(
    saved: Path, symbols: Any, error: type[BowerbirdError], why: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=why):
        bb.import_model(saved, tmp_path / "bundle", symbols=symbols)
    assert not (tmp_path / "bundle").exists()


def test_only_files_that_can_be_read_are(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"\.onnx"):
        bb.import_model(tmp_path / "model.onnx", tmp_path / "bundle")
    with pytest.raises(NotFound):
        bb.import_model(tmp_path / "none.pth", tmp_path / "bundle")
    (tmp_path / "folder").mkdir()
    with pytest.raises(NotFound, match=r"model\.safetensors"):
        bb.import_model(tmp_path / "folder", tmp_path / "bundle")


def test_a_place_that_is_taken_is_not_overwritten(saved: Path, tmp_path: Path) -> None:
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "mine").write_text("mine")
    with pytest.raises(Refused, match="taken"):
        bb.import_model(saved, tmp_path / "bundle", symbols=SYMBOLS)
    assert [path.name for path in (tmp_path / "bundle").iterdir()] == ["mine"]


def exported_pth(model: Any, path: Path, **changes: Any) -> Path:
    """As `export --to pth` writes it."""
    manifest = model.bundle.manifest
    content = {
        "format": 1,
        "kind": model.kind.name,
        "architecture": manifest["config"]["model"],
        "state_dict": model.bundle.weights(),
        "partners": model.bundle.partners(),
        "symbols": [],
        "metadata": {},
        "manifest": manifest,
        "codec_files": {name: text.decode() for name, text in model.bundle.codec_files().items()},
        "card": "# ours\n",
    }
    torch.save({**content, **changes}, path)
    return path


def exported_folder(model: Any, folder: Path) -> Path:
    """As `export --to safetensors` writes it."""
    folder.mkdir()
    manifest = model.bundle.manifest
    told = json.dumps({"model": manifest["config"]["model"], "bundle": manifest})
    save_file(model.bundle.weights(), folder / "model.safetensors", metadata={"bowerbird.config": told})
    (folder / "README.md").write_text("---\nlibrary_name: bowerbird\n---\n\n# ours\n")
    for name, content in model.bundle.codec_files().items():
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize("form", ["pth", "folder", "file"])
def test_our_own_exports_come_back_as_they_were(form: str, tiny_run: Path, tmp_path: Path) -> None:
    model = bb.load(tiny_run)
    if form == "pth":
        path = exported_pth(model, tmp_path / "model.pth")
    else:
        path = exported_folder(model, tmp_path / "export")
        path = path / "model.safetensors" if form == "file" else path
    back = bb.import_model(path, tmp_path / "bundle")
    assert back.generate(length=80, seed=3)[0].text == model.generate(length=80, seed=3)[0].text
    assert back.codec.describe() == model.codec.describe()
    lineage = back.bundle.manifest["lineage"]
    assert (lineage["parent"], lineage["dataset"]) == (
        model.digest,
        model.bundle.manifest["lineage"]["dataset"],
    )
    assert (tmp_path / "bundle" / "README.md").read_text() == "# ours\n"
    for name, value in model.bundle.weights().items():
        assert torch.equal(value, back.bundle.weights()[name]), name


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 99},
        {"format": None},
        {"manifest": []},
        {"manifest": {"config": {}}},
        {"architecture": {"width": 7}},
        {"state_dict": {}},
        {"state_dict": {"embedding.weight": torch.ones(2)}},
        {"card": 7},
        {"codec_files": {"x": 7}},
        {"partners": [1]},
    ],
)
def test_an_export_that_was_changed_is_refused(
    changes: dict[str, Any], tiny_run: Path, tmp_path: Path
) -> None:
    path = exported_pth(bb.load(tiny_run), tmp_path / "model.pth", **changes)
    with pytest.raises(CorruptFile):
        bb.import_model(path, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize(
    "name", ["../escaped.json", "bundle.json", "/tmp/escaped.json", "weights.safetensors"]
)
def test_an_export_writes_nothing_outside_and_over_nothing(name: str, tiny_run: Path, tmp_path: Path) -> None:
    path = exported_pth(bb.load(tiny_run), tmp_path / "model.pth", codec_files={name: "{}"})
    with pytest.raises(Refused, match="outside its folder"):
        bb.import_model(path, tmp_path / "deep" / "bundle")
    assert not list(tmp_path.rglob("escaped.json"))


def test_the_command_says_what_it_found(bowerbird: Bowerbird, saved: Path, tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps(SYMBOLS))
    ran = bowerbird("import", saved, "--out", tmp_path / "bundle")
    assert ran.code == 0, ran.err
    assert "picklescan" in ran.out
    assert f"bowerbird generate {tmp_path / 'bundle'}" in ran.err
    (tmp_path / "vocab.json").rename(tmp_path / "characters.json")
    keras = write_keras(tmp_path / "model.keras", char_lstm(), lstm_parts())
    ran = bowerbird(
        "import", keras, "--symbols", tmp_path / "characters.json", "--out", tmp_path / "two", "--json"
    )
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["format"], told["model"], told["pickled"]) == ("keras", "lstm", [])
    assert bowerbird("generate", tmp_path / "two", "--length", 5).code == 0
    assert bowerbird("import", keras, "--out", tmp_path / "three").code == 2
    assert bowerbird("list", "importers").out.split() == ["safetensors", "pth", "keras", "h5"]
