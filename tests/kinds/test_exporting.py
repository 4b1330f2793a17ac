"""A model as exporters see it: it makes what the model makes, and tells how."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.untrained_bundles import CACHED, image_model, melody_model, text_model
from torch import nn

import bowerbird as bb
from bowerbird.base.errors import UsageError
from bowerbird.data.codecs.bytes import Bytes
from bowerbird.data.codecs.notes import Notes
from bowerbird.data.codecs.pieces import Characters
from bowerbird.kinds.exporting import exported, symbols_of
from bowerbird.sampling.images import latent
from bowerbird.store.exporters.exporter import Exported, Port


def about(made: Exported, name: str) -> Any:
    return json.loads(made.metadata[f"bowerbird.{name}"])


@torch.no_grad()
def greedy(made: Exported, length: int) -> str:
    """The likeliest tokens, one after the other, by what the export tells alone."""
    states = [made.start[port.name] for port in made.inputs[1:]]
    token, text = int(about(made, "start_token")), ""
    never = about(made, "banned_tokens") + about(made, "end_tokens")
    for _ in range(length):
        logits, *states = made.module(torch.tensor([token]), *states)
        logits[:, never] = -torch.inf
        token, never = int(logits.argmax()), about(made, "banned_tokens")
        if token in about(made, "end_tokens"):
            break
        text += made.symbols[token]
    return text


@pytest.mark.parametrize("options", [{}, CACHED, {"cell": "mingru", "norm": "rms", **CACHED}], ids=str)
def test_stepping_gives_the_characters_that_generate_gives(options: dict[str, Any], tmp_path: Path) -> None:
    model = bb.load(text_model(tmp_path / "bundle", **options))
    expected = model.generate(length=200, temperature=0)[0].text
    assert len(expected) > 20
    assert model.generate(length=200, top_k=1, temperature=1)[0].text == expected
    assert greedy(exported(model), 200) == expected.replace("\N{REPLACEMENT CHARACTER}", "")


def test_in_a_chat_nothing_is_banned(tmp_path: Path) -> None:
    made = exported(bb.load(text_model(tmp_path / "bundle", structure="chat")))
    assert about(made, "banned_tokens") == []
    assert about(made, "end_tokens") == [0]


def test_a_run_is_exported_with_what_it_goes_on_from(tiny_run: Path, tmp_path: Path) -> None:
    model = bb.load(tiny_run)
    made = exported(model)
    assert made.kind == "text"
    assert made.optimizer is not None
    assert any(name.startswith("optimizer/") for name in made.optimizer)
    assert made.config["width"] == 16
    assert set(made.weights) == set(model.network.state_dict())
    assert made.card.startswith("# A text model")
    assert greedy(made, 200) == model.generate(length=200, temperature=0)[0].text
    shutil.copytree(model.bundle.path, tmp_path / "alone")
    assert exported(bb.load(tmp_path / "alone")).optimizer is None


def test_ports_name_what_goes_in_and_out(tmp_path: Path) -> None:
    model = bb.load(text_model(tmp_path / "bundle", layers=2, **CACHED))
    made = exported(model)
    size = model.codec.vocab_size
    widths = (24, 24, 3, 40)  # h and c of two layers, tokens of the n-grams, of the cache
    assert made.inputs == (
        Port("tokens", (), "int64"),
        *(Port(f"state_{index}", (width,), "float32") for index, width in enumerate(widths)),
    )
    assert made.outputs == (
        Port("logits", (size,), "float32"),
        *(Port(f"next_state_{index}", (width,), "float32") for index, width in enumerate(widths)),
    )
    assert {name: value.shape for name, value in made.start.items()} == {
        f"state_{index}": (1, width) for index, width in enumerate(widths)
    }
    assert len(made.symbols) == size


def test_the_reference_is_our_own_network(tmp_path: Path) -> None:
    model = bb.load(text_model(tmp_path / "bundle", **CACHED))
    made = exported(model)
    tokens, states = torch.tensor([4, 30, 21]), model.network.start(3)  # type: ignore[operator]
    logits, after = model.network.step(tokens, states)  # type: ignore[operator]
    found = made.reference([tokens, *states])
    assert torch.equal(found[0], logits)
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[1:], after, strict=True))
    assert not any(part.requires_grad for part in found)
    with torch.no_grad():
        torch.testing.assert_close(made.module(tokens, *states)[0], found[0])


def test_the_metadata_tells_how_to_sample(tmp_path: Path) -> None:
    model = bb.load(text_model(tmp_path / "bundle"))
    made = exported(model)
    assert all(isinstance(value, str) for value in made.metadata.values())
    assert made.metadata["bowerbird.kind"] == "text"
    assert made.metadata["bowerbird.digest"] == model.digest
    assert about(made, "start_token") == 0
    assert about(made, "end_tokens") == [0]
    assert about(made, "banned_tokens") == [1, 2, 3]
    assert about(made, "symbols") == list(made.symbols)


def test_symbols_are_the_texts_of_whole_tokens() -> None:
    characters = symbols_of(Characters(["\n", "x", "\u00e9"]))
    assert characters == ("",) * 20 + ("\n", "x", "\u00e9")
    single = symbols_of(Bytes())
    assert len(single) == Bytes.vocab_size
    assert single[4 + ord("a")] == "a"
    assert single[4 + 0xC3] == "", "half a character"
    notes = Notes()
    words = symbols_of(notes)
    assert words[:4] == ("",) * 4
    assert words[4:6] == (f"{notes.word(4)} ", f"{notes.word(5)} ")


def test_a_melody_is_exported_as_a_text_is(tmp_path: Path) -> None:
    made = exported(bb.load(melody_model(tmp_path / "bundle", cell="gru", ngrams=3)))
    assert made.kind == "melody"
    assert [port.name for port in made.inputs] == ["tokens", "state_0", "state_1"]
    assert greedy(made, 20).split()
    assert about(made, "end_tokens") == [0]


@pytest.mark.parametrize("classes", [(), ("disc", "square")], ids=["unlabelled", "labelled"])
def test_pictures_are_those_that_generate_gives(classes: tuple[str, ...], tmp_path: Path) -> None:
    model = bb.load(image_model(tmp_path / "bundle", classes=classes))
    made = exported(model)
    assert [port.name for port in made.inputs] == (["latent", "labels"] if classes else ["latent"])
    assert made.inputs[0].shape == (8,)
    assert made.outputs == (Port("pictures", (3, 16, 16), "float32"),)
    assert not made.start
    assert not made.symbols
    assert about(made, "classes") == list(classes)
    inputs = [torch.from_numpy(latent(5, 8)[None]), *([torch.tensor([1])] if classes else [])]
    with torch.no_grad():
        (pictures,) = made.module(*inputs)
    torch.testing.assert_close(made.reference(inputs)[0], pictures, rtol=1e-5, atol=1e-5)
    expected = model.generate(seed=5, **({"label": "square"} if classes else {}))[0].content
    pixels = ((pictures[0].permute(1, 2, 0).numpy() + 1) * 127.5).round()
    assert np.abs(pixels - expected).max() <= 1


def test_another_kind_of_network_is_refused(tmp_path: Path) -> None:
    model = bb.load(text_model(tmp_path / "bundle"))
    model.network = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="`text` cannot be exported"):
        exported(model)
