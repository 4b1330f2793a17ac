"""`docs/format.md` is enough: a reader written from the page, with numpy, json and hashlib, reads what we write."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.pictures import new_model, write_dataset

from bowerbird.base.digest import sealed
from bowerbird.data.normaliser import Normaliser
from bowerbird.kinds.loaded import Model
from bowerbird.models.cells import CELLS
from bowerbird.models.ngrams import NGrams, count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.store import bundle as ours
from bowerbird.store.migrations import BUNDLES, CHECKPOINTS, migrated

PAGE = Path(__file__).resolve().parents[2] / "docs" / "format.md"
Numbers = NDArray[Any]

# The reader. From here to the next such line nothing is used that is not on the page.


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len({key for key, _ in pairs}) == len(pairs), "a key twice"
    return dict(pairs)


def read_manifest(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "bundle.json").read_bytes(), object_pairs_hook=once)
    assert told["format"] == 1
    rest = {key: value for key, value in told.items() if key != "digest"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert digest(canonical.encode()) == told["digest"]
    for name, wanted in told["files"].items():
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", name)
        assert not (folder / name).is_symlink()
        assert digest((folder / name).read_bytes()) == wanted
    return told


def read_tensors(path: Path) -> dict[str, Numbers]:
    content = path.read_bytes()
    begins = 8 + int.from_bytes(content[:8], "little")
    kinds = {"F32": "<f4", "I64": "<i8", "I32": "<i4"}
    found = {}
    for name, told in json.loads(content[8:begins]).items():
        if name != "__metadata__":
            first, last = told["data_offsets"]
            raw = content[begins + first : begins + last]
            found[name] = np.frombuffer(raw, kinds[told["dtype"]]).reshape(told["shape"])
    return found


def logistic(x: Numbers) -> Numbers:
    return 1 / (1 + np.exp(-x))


class Reader:
    """Text and melody: one step after another."""

    def __init__(self, folder: Path):
        self.manifest = read_manifest(folder)
        self.model = self.manifest["config"]["model"]
        self.weights = {
            name: value.astype(np.float64) if value.dtype == np.float32 else value
            for name, value in read_tensors(folder / "weights.safetensors").items()
        }
        width = self.model["width"]
        self.state = [(np.zeros(width), np.zeros(width)) for _ in range(self.model["layers"])]
        self.read: list[int] = []
        self.vocab_size = len(self.weights["embedding.weight"])
        if self.model["ngrams"]:
            self.count_down()

    def step(self, token: int) -> Numbers:
        w = self.weights
        self.read.append(token)
        x = w["embedding.weight"][token]
        if "widen.weight" in w:
            x = w["widen.weight"] @ x
        for layer in range(self.model["layers"]):
            y = self.cell(layer, self.norm(layer, x))
            x = x + y if self.model["residual"] else y
        x = self.norm(self.model["layers"], x)
        narrow = w["narrow.weight"] @ x if "narrow.weight" in w else x
        logits: Numbers = w["embedding.weight" if self.model["tied"] else "output"] @ narrow + w["bias"]
        if self.model["ngrams"]:
            logits = logits + self.counted(x)
        return self.cached(x, logits) if self.model["cache"] else logits

    def norm(self, layer: int, x: Numbers) -> Numbers:
        if self.model["norm"] == "none":
            return x
        weight = self.weights[f"norms.{layer}.weight"]
        if self.model["norm"] == "rms":
            return np.asarray(x / np.sqrt((x * x).mean() + 2.0**-23) * weight)
        return np.asarray(
            (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + self.weights[f"norms.{layer}.bias"]
        )

    def cell(self, layer: int, u: Numbers) -> Numbers:
        h, c = self.state[layer]
        cell, name = self.model["cell"], f"cells.{layer}."
        if cell == "mingru":
            z, g = np.split(self.weights[name + "input"] @ u + self.weights[name + "input_bias"], 2)
            h = (1 - logistic(z)) * h + logistic(z) * g
        else:
            w = {part: self.weights[f"{name}weights.{part}"] for part in
                 ("input", "recurrent", "input_bias", "recurrent_bias")}  # fmt: skip
            a, b = w["input"] @ u + w["input_bias"], w["recurrent"] @ h + w["recurrent_bias"]
            if cell == "lstm":
                i, f, g, o = np.split(a + b, 4)
                c = logistic(f) * c + logistic(i) * np.tanh(g)
                h = logistic(o) * np.tanh(c)
            elif cell == "gru":
                (r, z), (a3, b3) = np.split(logistic(a + b), 3)[:2], (np.split(part, 3)[2] for part in (a, b))
                h = (1 - z) * np.tanh(a3 + r * b3) + z * h
            else:
                h = np.tanh(a + b)
        self.state[layer] = h, c
        return np.asarray(h)

    def count_down(self) -> None:
        """For each order the probabilities of its grams, and what each context leaves."""
        size = self.vocab_size
        self.order = len(self.weights["ngrams.by_known"])
        times = dict(
            zip(self.weights["ngrams.grams"].tolist(), self.weights["ngrams.counts"].tolist(), strict=True)
        )
        self.levels: dict[int, tuple[dict[int, float], dict[int, float]]] = {}
        for order in range(self.order, 0, -1):
            seen = [sum(1 for found in times.values() if found == n) for n in range(1, 5)]
            less = [0.5, 0.75, 1.0]
            if all(seen):
                y = seen[0] / (seen[0] + 2 * seen[1])
                less = [n - (n + 1) * y * seen[n] / seen[n - 1] for n in range(1, 4)]
                less = [min(max(value, 0.1), n - 0.1) for n, value in enumerate(less, 1)]
            total: dict[int, int] = {}
            left: dict[int, float] = {}
            for gram, found in times.items():
                total[gram // size] = total.get(gram // size, 0) + found
                left[gram // size] = left.get(gram // size, 0.0) + less[min(found, 3) - 1]
            share = {
                gram: (found - less[min(found, 3) - 1]) / total[gram // size] for gram, found in times.items()
            }
            self.levels[order] = share, {context: value / total[context] for context, value in left.items()}
            lower: dict[int, int] = {}
            for gram in times:
                lower[gram % size ** (order - 1)] = lower.get(gram % size ** (order - 1), 0) + 1
            times = lower

    def counted(self, x: Numbers) -> Numbers:
        begun = max(index for index, token in enumerate(self.read) if token == 0)
        past = [0] * self.order + self.read[begun:]
        p, logs, known = np.full(self.vocab_size, 1 / self.vocab_size), [], 1
        for order in range(1, self.order + 1):
            context = sum(past[-1 - age] * self.vocab_size**age for age in range(order - 1))
            share, left = self.levels[order]
            p = p * left.get(context, 1.0)
            p = p + [share.get(context * self.vocab_size + token, 0.0) for token in range(self.vocab_size)]
            known += order > 2 and context in left
            logs += [np.log(p)] if order > 1 else []
        w = self.weights
        gates = w["ngrams.gates.weight"] @ x + w["ngrams.gates.bias"] + w["ngrams.by_known"][known]
        return np.asarray(gates @ np.stack(logs))

    def cached(self, x: Numbers, logits: Numbers) -> Numbers:
        shortest, window = self.model["cache"]["shortest"], self.model["cache"]["window"]
        here, sums = len(self.read) - 1, np.zeros(self.vocab_size)
        begun = max(index for index, token in enumerate(self.read) if token == 0)
        oldest = max(begun, here - window)
        for there in range(oldest, here):
            same = 0
            while same < 16 and there - same >= oldest and self.read[there - same] == self.read[here - same]:
                same += 1
            if same >= shortest:
                by_length = self.weights["cache.by_length"][same - shortest]
                sums[self.read[there + 1]] += np.exp(by_length + self.weights["cache.gate"] @ x)
        whole = np.log(np.exp(logits - logits.max()).sum()) + logits.max()
        return np.asarray(logits + np.log1p(sums * np.exp(np.minimum(whole - logits, 60))))


# The reader ends here.

VOCAB_SIZE = 24
SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "two normed layers": {"layers": 2, "norm": "layer", "embedding": 5},
    "tied and residual": {"tied": True, "residual": True, "embedding": 6, "norm": "rms", "layers": 2},
    "n-grams": {"ngrams": 3},
    "n-grams and a cache": {"ngrams": 4, "cache": {"window": 12, "shortest": 2}},
}


def stream(length: int) -> list[int]:
    """Tokens of two documents that repeat themselves."""
    noise = np.random.default_rng(4)
    tokens = noise.integers(1, 6, length)
    tokens[length // 2 :] = tokens[: length - length // 2]
    tokens[[0, length // 3]] = 0
    return tokens.tolist()


def write(folder: Path, config: Mapping[str, Any]) -> RNN:
    """A bundle of a network with weights drawn at random, all of them."""
    torch.manual_seed(3)
    shape = RNNConfig.model_validate({"width": 8, **config})
    network = RNN(shape, VOCAB_SIZE).eval()
    for value in network.parameters():
        torch.nn.init.normal_(value, std=0.3)
    if isinstance(network.ngrams, NGrams):
        network.ngrams.add(*count(gram_keys(np.array(stream(200)), network.ngrams.order, VOCAB_SIZE)))
    manifest = {
        "kind": "text",
        "config": {"model": shape.model_dump(mode="json"), "optimizer": {"learning_rate": 1e-05}},
        "codec": {"name": "characters", "pieces": ["a", "é", "日", "z"]},
        "normaliser": Normaliser().model_dump(),
        "structure": "plain",
        "lineage": {"dataset": "sha256:0", "settings": "sha256:1", "parent": None},
        "step": 3,
    }
    ours.write_bundle(
        folder, manifest, weights=network.state_dict(), partners={}, codec_files={}, card="# a model"
    )
    return network


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("cell", CELLS)
def test_a_reader_written_from_the_page_gives_the_same_logits(
    cell: str, shape: dict[str, Any], tmp_path: Path
) -> None:
    network = write(tmp_path / "bundle", {"cell": cell, **shape})
    reader, state = Reader(tmp_path / "bundle"), network.start(1)
    for token in stream(60):
        with torch.no_grad():
            logits, state = network.step(torch.tensor([token]), state)
        assert np.abs(reader.step(token) - logits[0].double().numpy()).max() < 1e-4


def test_it_reads_a_trained_bundle_and_its_characters(tiny_run: Path) -> None:
    folder = sorted((tiny_run / "checkpoints").iterdir())[-1] / "bundle"
    model, reader = Model(ours.open_bundle(folder)), Reader(folder)
    assert reader.manifest["digest"] == model.digest
    pieces = reader.manifest["codec"]["pieces"]
    tokens = [0, *(20 + pieces.index(character) for character in "the sea")]
    assert tokens == model.codec.encode("\ufdd0the sea").tolist()
    expected, state = None, model.network.start(1)
    for token in tokens:
        found = reader.step(token)
        with torch.no_grad():
            expected, state = model.network.step(torch.tensor([token]), state)
    assert expected is not None
    assert np.abs(found - expected[0].double().numpy()).max() < 1e-4


def test_it_notices_a_changed_byte(tmp_path: Path) -> None:
    write(tmp_path / "bundle", {})
    for path in sorted((tmp_path / "bundle").iterdir()):
        shutil.copytree(tmp_path / "bundle", tmp_path / "copy")
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / "copy" / path.name).write_bytes(content)
        with pytest.raises((AssertionError, ValueError)):
            read_manifest(tmp_path / "copy")
        shutil.rmtree(tmp_path / "copy")


def keys_told(head: str) -> set[str]:
    """Names in the first column of the table under a heading of the page."""
    part = PAGE.read_text(encoding="utf-8").partition(f"## {head}\n")[2].partition("\n## ")[0]
    firsts = [line.split("|")[1] for line in part.splitlines() if line.startswith("|")]
    return {name for first in firsts for name in re.findall(r"`([\w.]+)`", first)}


def bundles(tiny_run: Path, tmp_path: Path) -> Sequence[Path]:
    pictures = new_model(write_dataset(tmp_path / "dataset"), tmp_path / "pictures")
    return [sorted((run / "checkpoints").iterdir())[-1] / "bundle" for run in (tiny_run, pictures)]


def test_the_page_tells_of_every_key_and_every_file(tiny_run: Path, tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    for folder in bundles(tiny_run, tmp_path):
        manifest = read_manifest(folder)
        assert set(manifest) <= keys_told("`bundle.json`")
        assert all(f"`{key}`" in text for key in manifest["lineage"])
        assert all(f"`{key}`" in text for key in manifest["codec"])
        assert all(path.name in text for path in folder.iterdir())
    assert keys_told("`bundle.json`") >= {"precision", *manifest}
    record = json.loads((tiny_run / "run.json").read_text())
    assert all(f"`{key}`" in text for key in record)


def test_the_page_tells_of_every_weight(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8").partition("## The tensors")[2]
    for shape in SHAPES.values():
        for cell in ("lstm", "mingru"):
            folder = tmp_path / "bundle"
            write(folder, {"cell": cell, **shape})
            for name in read_tensors(folder / "weights.safetensors"):
                general = re.sub(r"\.\d+\.", ".N.", name)
                short = general.removeprefix("cells.N.weights")
                assert f"`{general}`" in text or f"`{short}`" in text, name
            shutil.rmtree(folder)


def test_the_page_says_the_number_that_is_written() -> None:
    assert f"| `format` | {ours.FORMAT} |" in PAGE.read_text(encoding="utf-8")


# Migrations.


def test_every_older_format_has_a_way_to_this_one() -> None:
    assert set(BUNDLES) == set(CHECKPOINTS) == set(range(1, ours.FORMAT))


def test_a_bundle_of_an_invented_older_format_is_read_as_it_should_be(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if format 3 had come: 1 to 2 gave `structure` its name, 2 to 3 joined two settings."""
    folder = tmp_path / "old"
    shutil.copytree(sorted((tiny_run / "checkpoints").iterdir())[-1], folder)
    path = folder / "bundle" / "bundle.json"
    told = json.loads(path.read_text())
    told["shape"] = told.pop("structure")
    del told["digest"]
    old = sealed(told)
    path.write_text(json.dumps(old))
    before = path.read_bytes()
    with pytest.raises(Exception, match="structure missing"):
        ours.open_bundle(folder / "bundle")
    steps = {
        1: lambda one: {
            **{key: value for key, value in one.items() if key != "shape"},
            "structure": one["shape"],
        },
        2: lambda one: {**one, "step": one["step"] + 1000},
    }
    monkeypatch.setattr(ours, "FORMAT", 3)
    monkeypatch.setattr(ours, "BUNDLES", steps)
    found = ours.open_bundle(folder / "bundle")
    assert (found.manifest["structure"], found.manifest["step"]) == ("plain", told["step"] + 1000)
    assert (found.manifest["format"], found.digest) == (3, old["digest"]), "it keeps its name"
    assert path.read_bytes() == before, "a bundle is never edited"
    assert Model(found).digest == old["digest"]


def test_the_seal_of_an_old_bundle_is_checked_before_it_is_migrated(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "old"
    shutil.copytree(sorted((tiny_run / "checkpoints").iterdir())[-1] / "bundle", folder)
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace('"plain"', '"plane"'))
    monkeypatch.setattr(ours, "FORMAT", 2)
    monkeypatch.setattr(ours, "BUNDLES", {1: lambda told: pytest.fail("it was migrated")})
    with pytest.raises(Exception, match="changed or damaged"):
        ours.open_bundle(folder)


def test_steps_are_taken_from_where_a_record_is() -> None:
    steps = {
        number: lambda told, number=number: {**told, "path": [*told["path"], number]} for number in (1, 2, 3)
    }
    told = migrated({"format": 2, "path": [], "digest": "d"}, 4, steps)
    assert told == {"format": 4, "path": [2, 3], "digest": "d"}
    assert migrated(told, 4, steps) == told
