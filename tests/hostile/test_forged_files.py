"""Files made to do harm by someone who knows how they are sealed: refused, before they cost memory, time or more."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file
from tests.conftest import Ran

from bowerbird import lifecycle
from bowerbird.base import files
from bowerbird.base.digest import sealed
from bowerbird.base.errors import CorruptFile, DataError
from bowerbird.base.files import DEEPEST_JSON, MOST_JSON, read_json, write_json
from bowerbird.data.codecs import CODECS, CodecConfig, learn_codec
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.loaded import Model
from bowerbird.runs.run import Run
from bowerbird.store.bundle import open_bundle, open_checkpoint
from fuzz_bench.readers import reseal
from fuzz_bench.sound import picture_dataset


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_run, tmp_path / "run"))


@pytest.fixture
def kept(run: Path) -> Path:
    """A checkpoint free to be changed."""
    return sorted((run / "checkpoints").iterdir())[-1]


@pytest.fixture
def data(tiny_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_dataset, tmp_path / "data"))


def forge(record: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a record and seal everything again."""
    told = json.loads(record.read_text())
    change(told)
    record.write_text(json.dumps(told))
    reseal(record.parent.parent)


def table(path: Path, rows: Any) -> None:
    np.save(path, rows)
    reseal(path.parent)


# JSON.


def test_a_json_file_larger_than_any_of_ours_is_not_even_read(tmp_path: Path) -> None:
    path = tmp_path / "bundle.json"
    path.touch()
    os.truncate(path, MOST_JSON + 1)
    with pytest.raises(CorruptFile, match="too large"):
        read_json(path)
    os.truncate(path, MOST_JSON * 1000)
    with pytest.raises(CorruptFile, match="too large"):
        open_bundle(tmp_path)


def test_nothing_is_written_that_could_not_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "MOST_JSON", 100)
    with pytest.raises(DataError, match="too large"):
        write_json(tmp_path / "a.json", ["x" * 100])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("depth", [DEEPEST_JSON + 1, 300, 900, 980, 990, 1000, 10_000, 1_000_000])
@pytest.mark.parametrize(("open_", "close"), [("[", "]"), ('{"a":', "}")])
def test_json_nested_deeper_than_any_of_ours_is_refused_at_every_depth(
    depth: int, open_: str, close: str, tmp_path: Path
) -> None:
    path = tmp_path / "bundle.json"
    path.write_text(open_ * depth + "1" + close * depth)
    with pytest.raises(CorruptFile):
        read_json(path)


def test_json_as_deep_as_ours_may_be_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[" * DEEPEST_JSON + "]" * DEEPEST_JSON)
    read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("3")
    assert read_json(tmp_path / "a.json") == 3


def test_a_key_that_is_there_twice_is_refused_for_readers_would_differ(kept: Path) -> None:
    path = kept / "bundle" / "bundle.json"
    path.write_text(path.read_text().replace("{", '{"kind": "text",', 1))
    with pytest.raises(CorruptFile, match="twice"):
        open_bundle(kept / "bundle")


@pytest.mark.parametrize("number", ["9" * 5000, "1e999", "-1", "NaN"])
def test_numbers_that_are_none_of_ours_are_refused(number: str, kept: Path) -> None:
    path = kept / "bundle" / "bundle.json"
    path.write_text(path.read_text().replace('"format": 1', f'"format": {number}'))
    with pytest.raises(CorruptFile):
        open_bundle(kept / "bundle")


# Links, pipes, folders.


@pytest.mark.parametrize("name", ["bundle/bundle.json", "checkpoint.json", "resume.safetensors", "bundle"])
def test_a_link_anywhere_in_a_checkpoint_is_refused(name: str, kept: Path) -> None:
    elsewhere = kept.parent.parent / "elsewhere"
    (kept / name).rename(elsewhere)
    (kept / name).symlink_to(elsewhere)
    with pytest.raises(CorruptFile):
        open_checkpoint(kept)


@pytest.mark.parametrize(
    "make", [lambda path: path.symlink_to("/etc/passwd"), os.mkfifo, os.mkdir], ids=["link", "pipe", "folder"]
)
def test_what_is_no_file_is_refused_though_no_manifest_names_it(
    make: Callable[[Path], None], kept: Path
) -> None:
    make(kept / "bundle" / "notes")
    with pytest.raises(CorruptFile, match="no link and no folder"):
        open_bundle(kept / "bundle")


@pytest.mark.parametrize("name", ["bundle/bundle.json", "bundle/weights.safetensors", "resume.safetensors"])
def test_a_pipe_in_place_of_a_file_is_not_waited_for(name: str, kept: Path) -> None:
    (kept / name).unlink()
    os.mkfifo(kept / name)
    with pytest.raises(CorruptFile):
        open_checkpoint(kept)


def test_a_link_is_not_published(kept: Path, bowerbird: Callable[..., Ran], workspace: Path) -> None:
    (kept / "bundle" / "notes").symlink_to("/etc/passwd")
    ran = bowerbird("publish", kept / "bundle", "poems")
    assert ran.code == 3
    assert "no link" in ran.err
    assert not list(workspace.rglob("notes"))


# Sizes that are claimed.


@pytest.mark.parametrize("length", [10 * 2**30, 2**62, 2**63, 2**64 - 1])
def test_a_header_that_claims_gigabytes_is_refused(length: int, kept: Path) -> None:
    weights = kept / "bundle" / "weights.safetensors"
    weights.write_bytes(struct.pack("<Q", length) + weights.read_bytes()[8:])
    reseal(kept)
    with pytest.raises(CorruptFile, match="cannot be read"):
        Model(open_bundle(kept / "bundle"))


def test_a_tensor_that_claims_terabytes_is_refused(kept: Path) -> None:
    weights = kept / "bundle" / "weights.safetensors"
    told = {"bias": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}
    header = json.dumps(told).encode()
    weights.write_bytes(struct.pack("<Q", len(header)) + header + bytes(64))
    reseal(kept)
    with pytest.raises(CorruptFile, match="cannot be read"):
        Model(open_bundle(kept / "bundle"))


@pytest.mark.parametrize("cell", ["lstm", "rnn", "mingru"])
def test_a_network_larger_than_its_weights_is_refused_before_it_is_built(cell: str, kept: Path) -> None:
    wide = {"width": 16384, "layers": 64, "cell": cell}
    forge(kept / "bundle" / "bundle.json", lambda told: told["config"]["model"].update(wide))
    with pytest.raises(CorruptFile, match="parameters"):
        Model(open_bundle(kept / "bundle"))


def test_a_model_is_not_read_with_the_codec_of_another_kind(kept: Path) -> None:
    codec = {"name": "pixels", "height": 8, "width": 8, "channels": 3, "classes": []}
    forge(kept / "bundle" / "bundle.json", lambda told: told.update(codec=codec))
    with pytest.raises(CorruptFile, match="codec"):
        Model(open_bundle(kept / "bundle"))


@pytest.mark.parametrize("lineage", [{"dataset": 3}, {"parent": ["x"]}])
def test_a_lineage_that_is_none_is_refused(lineage: dict[str, Any], kept: Path) -> None:
    forge(kept / "bundle" / "bundle.json", lambda told: told.update(lineage=lineage))
    with pytest.raises(CorruptFile, match="lineage"):
        open_bundle(kept / "bundle")


def test_a_model_of_unknown_descent_is_published_and_told_so(
    kept: Path, bowerbird: Callable[..., Ran]
) -> None:
    forge(kept / "bundle" / "bundle.json", lambda told: told.update(lineage={}))
    loose = shutil.copytree(kept / "bundle", kept.parent.parent.parent / "loose")
    ran = bowerbird("publish", loose, "poems", "--json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["parent"] is None
    ran = bowerbird("evaluate", "poems")
    assert ran.code == 4
    assert "not known here" in ran.err


# Tokenizers.


def pieces() -> dict[str, Any]:
    config = CodecConfig.model_validate({"name": "bpe", "vocab_size": 270})
    codec = learn_codec(config, lambda: iter(["the sea the sea the stone"]))
    told: dict[str, Any] = json.loads(codec.files()["tokenizer.json"])
    return told


SLOW = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}


@pytest.mark.parametrize(
    "change",
    [
        {"pre_tokenizer": SLOW},
        {"pre_tokenizer": None},
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "(a+)+$"}, "content": ""}},
        {"truncation": {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}},
        {"model": {"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}},
        {"model": None},
        {"decoder": 3},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_tokenizer_with_parts_that_we_do_not_make_is_refused(change: dict[str, Any]) -> None:
    CODECS["bpe"].load({"name": "bpe"}, {"tokenizer.json": json.dumps(pieces()).encode()})
    with pytest.raises(CorruptFile, match="tokenizer"):
        CODECS["bpe"].load({"name": "bpe"}, {"tokenizer.json": json.dumps({**pieces(), **change}).encode()})


# Datasets.


def test_tokens_that_the_codec_lacks_are_refused(data: Path) -> None:
    tokens = data / "train.tokens"
    tokens.write_bytes(b"\xff" * tokens.stat().st_size)
    reseal(data)
    with pytest.raises(CorruptFile, match="not the tokens"):
        Dataset.open(data)


def test_tokens_of_another_number_are_refused(data: Path) -> None:
    tokens = data / "train.tokens"
    tokens.write_bytes(tokens.read_bytes()[:-1])
    reseal(data)
    with pytest.raises(CorruptFile, match="not the tokens"):
        Dataset.open(data)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.astype(np.int32),
        lambda rows: rows[:, :3],
        lambda rows: rows[:-1],
        lambda rows: rows - 1,
        lambda rows: rows + np.array([0, 1 << 40, 0, 0]),
        lambda rows: rows + np.array([(1 << 63) - 1 - rows.max(), 0, 0, 0]),
        np.asfortranarray,
    ],
)
def test_a_table_of_documents_that_are_not_there_is_refused(change: Callable[[Any], Any], data: Path) -> None:
    path = data / "train.documents.npy"
    table(path, change(np.load(path)))
    with pytest.raises(CorruptFile, match="table"):
        Dataset.open(data)


def test_a_table_that_claims_terabytes_is_refused(data: Path) -> None:
    path = data / "train.documents.npy"
    content = path.read_bytes()
    forge(data / "dataset.json", lambda told: told["splits"]["train"].update(documents=10**11))
    count = len(np.load(path))
    path.write_bytes(content.replace(f"({count}, 4), }}".encode(), b"(100000000000, 4), }")[: len(content)])
    reseal(data)
    with pytest.raises(CorruptFile, match="table"):
        Dataset.open(data)


@pytest.mark.parametrize("key", ["codec", "normaliser", "kind", "files", "splits", "token_type"])
def test_a_description_that_lacks_a_key_is_refused(key: str, data: Path) -> None:
    told = json.loads((data / "dataset.json").read_text())
    del told[key], told["digest"]
    (data / "dataset.json").write_text(json.dumps(sealed(told)))
    with pytest.raises(CorruptFile):
        Dataset.open(data)


def test_labels_that_no_picture_has_are_refused(tmp_path: Path) -> None:
    path = picture_dataset(tmp_path / "pictures")
    Dataset.open(path)
    labels = np.load(path / "train.labels.npy")
    table(path / "train.labels.npy", labels + 2)
    with pytest.raises(CorruptFile, match="labels"):
        Dataset.open(path)


def test_a_text_in_the_codec_of_pictures_is_refused(data: Path) -> None:
    codec = {"name": "pixels", "height": 8, "width": 8, "channels": 3, "classes": []}
    forge(data / "dataset.json", lambda told: told.update(codec=codec))
    with pytest.raises(CorruptFile, match="codec"):
        Dataset.open(data)


# Runs.


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "morse"},
        {"kind": "image"},
        {"settings": {"batch_size": -1}},
        {"settings": []},
        {"dataset": "here"},
        {"dataset": {"path": 3, "digest": "x"}},
        {"budget": None},
        {"parameters": "many"},
        {"parent": 3},
    ],
    ids=str,
)
def test_a_sealed_record_that_is_of_no_run_is_refused(change: dict[str, Any], run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    del record["digest"]
    (run / "run.json").write_text(json.dumps(sealed({**record, **change})))
    with pytest.raises(CorruptFile):
        Run.open(run)


@pytest.mark.parametrize("step", [10**300, 10**16, -1, True, 1.0, None])
def test_a_step_that_no_run_makes_is_refused(step: Any, run: Path, bowerbird: Callable[..., Ran]) -> None:
    (run / "best.json").write_text(json.dumps({"step": step, "scores": {}}))
    with pytest.raises(CorruptFile):
        Run.open(run).best()
    assert bowerbird("generate", run, "--length", 1).code == 3


def test_folders_that_are_no_checkpoints_are_passed_over(run: Path) -> None:
    before = Run.open(run).checkpoints()
    for name in ("9x", "9 (copy)", "٣"):
        (run / "checkpoints" / name).mkdir()
    assert Run.open(run).checkpoints() == before


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("optimizer/bias/exp_avg", lambda value: value[:1]),
        ("optimizer/bias/exp_avg", lambda value: value.double()),
        ("state/0", lambda value: value[:, :1]),
        ("state/0", None),
        ("scale", None),
    ],
)
def test_a_state_that_does_not_fit_its_run_is_never_trained_on(
    part: str, change: Callable[[Any], Any] | None, run: Path, kept: Path
) -> None:
    tensors = load_file(kept / "resume.safetensors")
    assert part in tensors
    if change is None:
        del tensors[part]
    else:
        tensors[part] = change(tensors[part]).contiguous()
    save_file(tensors, kept / "resume.safetensors")
    reseal(kept)
    with pytest.raises(CorruptFile, match="does not fit this run"):
        lifecycle.resume(run, steps=1)


@pytest.mark.parametrize(
    "change", [{"pace": {}}, {"coach": {"x": 1}}, {"step": "x"}, {"best": None}, {"mean_loss": []}]
)
def test_counters_that_do_not_fit_their_run_are_refused(
    change: dict[str, Any], run: Path, kept: Path
) -> None:
    forge(kept / "checkpoint.json", lambda told: told.update(change))
    with pytest.raises(CorruptFile, match="does not fit this run"):
        lifecycle.resume(run, steps=1)


def test_what_forging_leaves_alone_is_still_read(run: Path, kept: Path) -> None:
    forge(kept / "bundle" / "bundle.json", lambda told: told.update(note="from elsewhere"))
    assert open_checkpoint(kept)[0].manifest["note"] == "from elsewhere"
    assert lifecycle.resume(run, steps=1).outcome["stopped"] == "steps"
