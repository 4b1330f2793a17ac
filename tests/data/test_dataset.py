"""Datasets on disk and the batches read from them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.conftest import Ran

from bowerbird.base.digest import digest_file, sealed
from bowerbird.base.errors import CorruptFile, NotFound, UsageError
from bowerbird.data.codecs import CODECS, Codec, CodecConfig, learn_codec
from bowerbird.data.dataset import SPLITS, Dataset, DatasetWriter, batch
from bowerbird.data.markers import DOCUMENT, plain, turn
from bowerbird.data.normaliser import Normaliser

TEXTS = {
    "train": ["the sea\n", "", "naïve 日本 the sea the sea", turn("user", "hi") + turn("assistant", "sea")],
    "valid": ["a lark ☃"],
    "test": [],
}


def learnt(name: str) -> Codec:
    config = CodecConfig.model_validate({"name": name, "vocab_size": 400})
    return learn_codec(config, lambda: iter(TEXTS["train"]))


def written(folder: Path, codec: Codec) -> Dataset:
    folder.mkdir()
    writer = DatasetWriter(folder, codec)
    for split, texts in TEXTS.items():
        for text in texts:
            writer.add(split, [text[:3], text[3:]])
    writer.finish({"kind": "text", "structure": "chat", "normaliser": Normaliser().model_dump()})
    return Dataset.open(folder)


@pytest.fixture
def copied(tiny_dataset: Path, tmp_path: Path) -> Path:
    """A dataset free to be changed."""
    return Path(shutil.copytree(tiny_dataset, tmp_path / "copied"))


def reseal(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "dataset.json").read_text())
    change(content)
    content.pop("digest", None)
    (folder / "dataset.json").write_text(json.dumps(sealed(content)))


@pytest.mark.parametrize("name", [name for name in CODECS if name not in ("notes", "pixels")])
def test_documents_come_back_as_they_were(name: str, tmp_path: Path) -> None:
    found = written(tmp_path / "d", learnt(name))
    for split in SPLITS:
        texts = [found.text(split, index) for index in range(len(found.documents(split)))]
        assert texts == TEXTS[split]
        assert "".join(found.pieces(split)) == "".join(DOCUMENT + text for text in TEXTS[split])
        rows = found.documents(split)
        assert [row[2] for row in rows.tolist()] == [len(plain(text).encode()) for text in TEXTS[split]]
        assert found.info["splits"][split] == {
            "documents": len(TEXTS[split]),
            "tokens": len(found.tokens(split)),
            "bytes": sum(len(plain(text).encode()) for text in TEXTS[split]),
        }
        assert rows[:, 1].sum() == len(found.tokens(split))
        assert all(found.tokens(split)[row[0]] == 0 for row in rows.tolist())
    assert found.structure == "chat"


def test_tokens_take_no_more_room_than_their_number_needs(tmp_path: Path) -> None:
    small, large = written(tmp_path / "a", learnt("characters")), written(tmp_path / "b", learnt("bpe"))
    assert small.tokens("train").dtype == np.uint8
    assert large.tokens("train").dtype == np.uint16


def test_a_part_of_a_document_is_marked_as_without_its_end(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    writer = DatasetWriter(tmp_path / "d", learnt("bytes"))
    writer.add("train", ["half"], whole=False)
    writer.add("train", ["whole"])
    writer.finish({"kind": "text", "normaliser": {}})
    assert Dataset.open(tmp_path / "d").documents("train")[:, 3].tolist() == [0, 1]


def test_what_is_held_out_is_test_then_valid_then_an_error(tmp_path: Path, tiny_dataset: Path) -> None:
    assert Dataset.open(tiny_dataset).held_out() == "test"
    assert written(tmp_path / "d", learnt("bytes")).held_out() == "valid"
    (tmp_path / "e").mkdir()
    writer = DatasetWriter(tmp_path / "e", learnt("bytes"))
    writer.add("train", ["x"])
    writer.finish({"kind": "text", "normaliser": {}})
    with pytest.raises(UsageError, match="nothing held out"):
        Dataset.open(tmp_path / "e").held_out()


# Batches.

TOKENS = np.arange(97)


@given(
    st.integers(0, 2**40), st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 150), st.integers(1, 97)
)
@settings(max_examples=100, deadline=None)
def test_a_batch_depends_on_seed_and_step_alone(
    seed: int, step: int, rows: int, length: int, total: int
) -> None:
    first = batch(TOKENS[:total], seed, step, rows, length)
    batch(TOKENS[:total], seed + 1, 3, rows, length)
    np.random.default_rng(0).random()
    assert first.shape == (rows, length + 1)
    assert first.dtype == np.int64
    assert np.array_equal(first, batch(TOKENS[:total], seed, step, rows, length))


@given(st.integers(0, 99), st.integers(0, 300), st.integers(1, 9), st.integers(1, 150), st.integers(1, 97))
@settings(max_examples=100, deadline=None)
def test_windows_go_on_from_each_other_and_round_at_the_end(
    seed: int, step: int, rows: int, length: int, total: int
) -> None:
    tokens = TOKENS[:total]
    now, after = (batch(tokens, seed, number, rows, length) for number in (step, step + 1))
    assert np.array_equal(now[:, -1], after[:, 0])
    assert np.array_equal(np.diff(now, axis=1) % total, np.ones((rows, length)) % total)


def test_every_token_is_learnt_as_often_as_every_other() -> None:
    counts: NDArray[np.int64] = np.zeros(97, np.int64)
    for step in range(97):
        np.add.at(counts, batch(TOKENS, 3, step, 4, 5)[:, 1:], 1)
    assert set(counts.tolist()) == {4 * 5}


def test_rows_begin_evenly_spread_from_a_place_that_the_seed_says() -> None:
    firsts = batch(TOKENS, 1, 0, 4, 5)[:, 0]
    assert (np.diff(np.append(firsts, firsts[0] + 97) % 97) % 97 >= 24).all()
    assert len({int(batch(TOKENS, seed, 0, 1, 1)[0, 0]) for seed in range(20)}) > 10


# Damage.


def test_any_byte_changed_in_any_file_is_noticed(copied: Path) -> None:
    chance = random.Random(5)
    good = Dataset.open(copied).info
    for path in sorted(copied.iterdir()):
        if path.name == "ledger.jsonl":
            continue
        content = path.read_bytes()
        for place in {0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(12))}:
            changed = bytearray(content)
            changed[place] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            try:
                found = Dataset.open(copied).info
            except CorruptFile:
                continue
            finally:
                path.write_bytes(content)
            assert path.name == "dataset.json"
            assert found == good, "only white space between the values may differ"


def test_a_missing_file_is_named(copied: Path) -> None:
    for path in [path for path in sorted(copied.iterdir()) if path.name != "ledger.jsonl"]:
        content = path.read_bytes()
        path.unlink()
        with pytest.raises(NotFound if path.name == "dataset.json" else CorruptFile) as found:
            Dataset.open(copied)
        assert str(found.value.where).startswith(str(copied))
        path.write_bytes(content)


def test_a_newer_format_says_to_install_a_newer_version(copied: Path) -> None:
    reseal(copied, lambda told: told.update(format=9))
    with pytest.raises(CorruptFile, match="format 9") as found:
        Dataset.open(copied)
    assert "newer bowerbird" in str(found.value.hint)


@pytest.mark.parametrize("trick", ["../outside", "/etc/passwd", "a/b", "..", "."])
def test_a_description_that_names_a_file_outside_is_refused(copied: Path, trick: str) -> None:
    outside = copied.parent / "outside"
    outside.write_text("secret")
    reseal(copied, lambda told: told["files"].update({trick: digest_file(outside)}))
    with pytest.raises(CorruptFile):
        Dataset.open(copied)


def test_a_link_in_place_of_a_file_is_refused(copied: Path) -> None:
    (copied / "train.tokens").rename(copied.parent / "elsewhere")
    (copied / "train.tokens").symlink_to(copied.parent / "elsewhere")
    with pytest.raises(CorruptFile, match="outside"):
        Dataset.open(copied)


@pytest.mark.parametrize("key", ["kind", "codec", "normaliser", "splits", "files", "token_type"])
@pytest.mark.parametrize("value", [None, 3.5, "morse", ["x"], {"name": []}], ids=repr)
def test_a_sealed_description_of_wrong_types_is_refused_as_damaged(
    copied: Path, key: str, value: Any
) -> None:
    if (key, value) == ("kind", "morse"):
        pytest.skip("a kind that a newer version may have")
    reseal(copied, lambda told: told.update({key: value}))
    with pytest.raises(CorruptFile):
        Dataset.open(copied)


@pytest.mark.parametrize("name", ["train.tokens", "valid.documents.npy"])
def test_a_file_that_is_not_sealed_is_not_read(copied: Path, name: str) -> None:
    reseal(copied, lambda told: told["files"].pop(name))
    with pytest.raises(CorruptFile):
        Dataset.open(copied)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{}", "{", ""])
def test_a_description_that_is_something_else_is_refused(copied: Path, content: str) -> None:
    (copied / "dataset.json").write_text(content)
    with pytest.raises(CorruptFile):
        Dataset.open(copied)


def test_a_table_with_a_pickle_in_it_is_not_read(copied: Path) -> None:
    table = copied / "train.documents.npy"
    np.save(table, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    reseal(copied, lambda told: told["files"].update({table.name: digest_file(table)}))
    with pytest.raises((CorruptFile, ValueError)):
        Dataset.open(copied).documents("train")


def test_a_table_whose_header_ends_in_an_odd_space_is_refused(copied: Path) -> None:
    table = copied / "train.documents.npy"
    content = bytearray(table.read_bytes())
    end = content.index(b"\n", 10)
    content[end] = 0x0B  # white space to Python, nothing to NumPy
    table.write_bytes(content)
    reseal(copied, lambda told: told["files"].update({table.name: digest_file(table)}))
    with pytest.raises(CorruptFile, match="table"):
        Dataset.open(copied)


def test_on_the_command_line_damage_ends_with_3_and_says_where(
    copied: Path, tmp_path: Path, bowerbird: Callable[..., Ran]
) -> None:
    content = bytearray((copied / "train.tokens").read_bytes())
    content[100] ^= 4
    (copied / "train.tokens").write_bytes(content)
    for arguments in (["inspect", copied], ["train", copied, "--out", tmp_path / "run", "--steps", 1]):
        ran = bowerbird(*arguments)
        assert (ran.code, ran.out) == (3, "")
        assert "error: this dataset was changed or damaged" in ran.err
        assert f"where: {copied / 'train.tokens'}" in ran.err
        assert "hint: prepare it again" in ran.err
    assert not (tmp_path / "run").exists()
