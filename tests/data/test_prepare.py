"""Preparing a dataset: what is kept, how it is split, what the ledger says, and what happens when it fails."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowerbird.base.config import resolve
from bowerbird.base.errors import DataError, NotFound, Refused, StorageError, UsageError
from bowerbird.data.dataset import Dataset
from bowerbird.data.item import Item, Rejected
from bowerbird.data.prepare import PrepareConfig, prepare
from bowerbird.data.sources import text as text_source
from bowerbird.data.split import SplitConfig, cut_points, split_documents
from bowerbird.data.spool import Spool

SHAKESPEARE = Path(__file__).parents[3] / "shared" / "data" / "tinyshakespeare" / "input.txt"


def made(out: Path, *sources: Path | str, settings: tuple[str, ...] = (), **options: Any) -> dict[str, Any]:
    return prepare(
        [str(source) for source in sources], out, resolve(PrepareConfig, settings=settings), **options
    )


def poems(folder: Path, count: int, words: int = 12) -> Path:
    folder.mkdir()
    rng = random.Random(1)
    for number in range(count):
        content = " ".join("".join(rng.choices("abcdefghij", k=5)) for _ in range(words))
        (folder / f"{number:03}.txt").write_text(content + "\n")
    return folder


def ledger(dataset: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (dataset / "ledger.jsonl").read_text().splitlines()]


def split_text(dataset: Path, split: str) -> list[str]:
    opened = Dataset.open(dataset)
    return [opened.text(split, number) for number in range(len(opened.documents(split)))]


def test_a_folder_becomes_a_dataset_with_all_its_words(tmp_path: Path):
    source = poems(tmp_path / "poems", 40)
    result = made(tmp_path / "out", source)
    written = sorted(path.read_text() for path in source.iterdir())
    kept = [text for split in ("train", "valid", "test") for text in split_text(tmp_path / "out", split)]
    assert sorted(kept) == written
    assert result["items"] == sum(result["splits"].values()) == 40
    assert result["splits"] == {"train": 36, "valid": 2, "test": 2}
    assert result["bytes"] == sum(len(text.encode()) for text in written)
    assert result["bytes"] == sum(result["split_bytes"].values())
    assert (result["rejected"], result["duplicates"], result["warnings"]) == (0, 0, [])
    assert result["structure"] == "plain"
    assert result["digest"] == Dataset.open(tmp_path / "out").digest
    assert [line["status"] for line in ledger(tmp_path / "out")] == ["kept"] * 40


def test_nothing_temporary_is_left_in_the_dataset(tmp_path: Path):
    made(tmp_path / "out", poems(tmp_path / "poems", 5))
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not any("spool" in name or "draft" in name or "tmp" in name for name in names)
    assert set(os.listdir(tmp_path)) == {"out", "poems"}


def test_the_digest_depends_on_content_and_settings_only(tmp_path: Path):
    source = poems(tmp_path / "poems", 20)
    first = made(tmp_path / "one", source)["digest"]
    source.rename(tmp_path / "elsewhere")
    assert made(tmp_path / "two", tmp_path / "elsewhere")["digest"] == first
    assert made(tmp_path / "three", tmp_path / "elsewhere", settings=("seed=2",))["digest"] != first
    (tmp_path / "elsewhere" / "000.txt").write_text("changed\n")
    assert made(tmp_path / "four", tmp_path / "elsewhere")["digest"] != first


def test_one_document_is_cut_into_contiguous_parts(tmp_path: Path):
    content = "".join(f"Zeile {n}: über das Meer\n" for n in range(1000))
    (tmp_path / "a.txt").write_text(content)
    result = made(tmp_path / "out", tmp_path / "a.txt")
    parts = [split_text(tmp_path / "out", split) for split in ("train", "valid", "test")]
    assert ["".join(part) for part in parts] == [
        content[: int(len(content) * 0.9)],
        content[int(len(content) * 0.9) : int(len(content) * 0.95)],
        content[int(len(content) * 0.95) :],
    ]
    assert result["items"] == 1
    assert result["splits"] == {"train": 1, "valid": 1, "test": 1}
    assert [
        bool(Dataset.open(tmp_path / "out").documents(split)[0][3]) for split in ("train", "valid", "test")
    ] == [False, False, True]


def test_the_cut_of_one_document_is_where_the_benchmark_wants_it():
    assert cut_points(1_115_394, SplitConfig(valid=0.1, test=0)) == {
        "train": (0, int(0.9 * 1_115_394)),
        "valid": (int(0.9 * 1_115_394), 1_115_394),
        "test": (1_115_394, 1_115_394),
    }
    assert cut_points(1000, SplitConfig())["train"] == (0, 900)


@given(st.integers(1, 10**10), st.floats(0, 0.49), st.floats(0, 0.49))
def test_the_parts_of_one_document_are_the_whole_of_it(characters: int, valid: float, test: float):
    parts = cut_points(characters, SplitConfig(valid=valid, test=test))
    (zero, a), (b, c), (d, end) = parts.values()
    assert (zero, a, c, end) == (0, b, d, characters)
    assert 0 < a <= c <= end


@pytest.mark.skipif(not SHAKESPEARE.exists(), reason="the benchmark text is not in this checkout")
def test_tiny_shakespeare_passes_byte_for_byte(tmp_path: Path):
    content = SHAKESPEARE.read_text()
    result = made(tmp_path / "out", SHAKESPEARE, settings=("split.valid=0.1", "split.test=0"))
    (train,), (valid,) = split_text(tmp_path / "out", "train"), split_text(tmp_path / "out", "valid")
    assert train == content[: int(0.9 * len(content))]
    assert train + valid == content
    assert result["bytes"] == 1_115_394
    assert result["splits"]["test"] == 0
    assert result["warnings"] == []


@pytest.mark.parametrize(
    "sizes", [[], [10], [10, 5], [7, 7, 7], [1, 1000, 1], [100] * 40, [5] * 1000, [10**9, 1, 1, 1]]
)
@pytest.mark.parametrize(
    "shares", [(0.05, 0.05), (0.1, 0.0), (0.0, 0.1), (0.0, 0.0), (0.3, 0.6), (0.05, 0.9)]
)
@pytest.mark.parametrize("seed", [1, 2])
def test_a_split_keeps_its_promises(sizes: list[int], shares: tuple[float, float], seed: int):
    config = SplitConfig(valid=shares[0], test=shares[1])
    splits = split_documents(sizes, config, seed)
    together = np.concatenate(list(splits.values()))
    assert sorted(together.tolist()) == list(range(len(sizes)))
    assert len(splits["train"]) >= min(1, len(sizes))
    for split, share in (("valid", shares[0]), ("test", shares[1])):
        size = sum(sizes[number] for number in splits[split])
        if not share:
            assert not len(splits[split])
        elif len(sizes) >= 3:
            assert len(splits[split]) == 1 or size <= share * sum(sizes)
            assert len(splits[split]) >= 1
    if len(sizes) == 2 and shares[0]:
        assert splits["valid"].tolist() == [1]
        assert not len(splits["test"])


def test_a_split_comes_close_to_its_share_and_changes_with_the_seed():
    sizes = np.random.default_rng(1).integers(100, 2000, 3000)
    splits = split_documents(sizes, SplitConfig(), 1)
    for split in ("valid", "test"):
        assert 0.044 * sizes.sum() < sizes[splits[split]].sum() <= 0.05 * sizes.sum()
        # Held-out documents are like the others, not only the small ones.
        assert abs(sizes[splits[split]].mean() / sizes.mean() - 1) < 0.15
    assert splits["train"].tolist() != split_documents(sizes, SplitConfig(), 2)["train"].tolist()
    assert splits["train"].tolist() != sorted(splits["train"].tolist())


def test_shares_that_leave_nothing_are_refused():
    with pytest.raises(UsageError, match="nothing to learn from"):
        resolve(PrepareConfig, settings=["split.valid=0.5", "split.test=0.5"])


def test_the_codec_is_learnt_from_training_documents_only(tmp_path: Path):
    source = poems(tmp_path / "poems", 30)
    result = made(tmp_path / "plain", source)
    held_out = split_text(tmp_path / "plain", "test")[0]
    for path in source.iterdir():
        if path.read_text() == held_out:
            path.write_text("%" * len(held_out))
    again = made(tmp_path / "out", source, settings=("codec.min_count=1",))
    assert again["splits"] == result["splits"]
    assert split_text(tmp_path / "out", "test")[0].startswith("%%%")
    assert Dataset.open(tmp_path / "out").codec.unseen("%") == {"%"}


def test_copies_and_near_copies_are_dropped_before_the_split(tmp_path: Path):
    source = poems(tmp_path / "poems", 6, words=80)
    (source / "a.txt").write_text((source / "001.txt").read_text())
    (source / "b.txt").write_text("An opening line.\n" + (source / "002.txt").read_text().upper())
    (source / "c.txt").write_text((source / "003.txt").read_text().replace("\n", "\r\n"))
    result = made(tmp_path / "out", source)
    assert (result["items"], result["rejected"], result["duplicates"]) == (6, 0, 3)
    lines = {Path(line["origin"]).name: line for line in ledger(tmp_path / "out")}
    assert [lines[name]["status"] for name in ("001.txt", "a.txt", "b.txt", "c.txt")] == ["kept"] + [
        "duplicate"
    ] * 3
    assert lines["a.txt"]["reason"] == f"the same as {source / '001.txt'}"
    assert lines["a.txt"]["digest"] == lines["001.txt"]["digest"]
    assert lines["b.txt"]["reason"].startswith(f"nearly the same as {source / '002.txt'} (similarity 0.")
    assert lines["c.txt"]["reason"] == f"the same as {source / '003.txt'}"
    kept = made(tmp_path / "all", source, settings=("clean.near_duplicates=false",))
    assert (kept["items"], kept["duplicates"]) == (7, 2)


def test_every_item_stands_in_the_ledger_with_a_reason(tmp_path: Path):
    source = poems(tmp_path / "poems", 5)
    (source / "empty.txt").touch()
    (source / "blank.txt").write_text(" \n ")
    (source / "binary.txt").write_bytes(b"\0\1\2" * 100)
    (source / "photo.jpg").write_bytes(b"x")
    (source / "rows.jsonl").write_text('{"text": "fine", "license": "CC0"}\n{oops\n')
    result = made(tmp_path / "out", source)
    lines = {Path(line["origin"]).name: line for line in ledger(tmp_path / "out")}
    assert len(lines) == 11
    assert result["items"] == 6
    assert result["rejected"] == 5
    assert lines["empty.txt"]["reason"] == "empty file"
    assert lines["blank.txt"]["reason"] == "empty after cleaning"
    assert lines["binary.txt"]["reason"] == "binary data, not text"
    assert lines["photo.jpg"]["reason"] == "unsupported file type .jpg (image: --kind image)"
    assert lines["rows.jsonl#2"]["reason"].startswith("not JSON")
    assert lines["rows.jsonl#1"]["licence"] == "CC0"
    for line in lines.values():
        assert set(line) - {"licence"} == {"origin", "status", "reason", "digest"}
        assert (line["reason"] is None) == (line["status"] == "kept")
        assert (line["digest"] is None) == (line["status"] == "rejected")
    assert "5 source items were not used" in result["warnings"][0]


def test_a_file_name_that_is_not_utf8_stands_in_the_ledger(tmp_path: Path):
    source = poems(tmp_path / "poems", 3)
    with open(os.fsencode(source) + b"/caf\xe9.txt", "wb") as file:
        file.write(b"words")
    made(tmp_path / "out", source)
    assert any(line["origin"].endswith("caf\udce9.txt") for line in ledger(tmp_path / "out"))


def test_a_file_named_by_the_user_must_be_usable_unless_told_otherwise(tmp_path: Path):
    source = poems(tmp_path / "poems", 5)
    bad = tmp_path / "bad.txt"
    bad.write_bytes(b"\0" * 100)
    with pytest.raises(DataError, match="1 of the 2 sources") as caught:
        made(tmp_path / "out", source, bad)
    assert caught.value.exit_code == 3
    assert "binary data" in str(caught.value)
    assert "--skip-bad" in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert made(tmp_path / "out", source, bad, skip_bad=True)["rejected"] == 1


@pytest.mark.parametrize("skip_bad", [True, False])
def test_nothing_usable_is_an_error_that_names_some(skip_bad: bool, tmp_path: Path):
    (tmp_path / "in").mkdir()
    for number in range(5):
        (tmp_path / "in" / f"{number}.jpg").touch()
    with pytest.raises(DataError) as caught:
        made(tmp_path / "out", tmp_path / "in", skip_bad=skip_bad)
    assert "0.jpg (unsupported file type .jpg (image: --kind image))" in str(caught.value)
    assert "and 2 more" in str(caught.value)
    assert os.listdir(tmp_path) == ["in"]


def test_an_empty_folder_is_an_error_that_says_so(tmp_path: Path):
    (tmp_path / "in").mkdir()
    with pytest.raises(DataError, match="no texts found in"):
        made(tmp_path / "out", tmp_path / "in")
    assert os.listdir(tmp_path) == ["in"]


def test_a_source_that_is_not_there_or_a_place_taken_stops_before_any_work(tmp_path: Path):
    with pytest.raises(NotFound):
        made(tmp_path / "out", tmp_path / "missing")
    source = poems(tmp_path / "poems", 3)
    with pytest.raises(Refused):
        made(source, source)


def test_a_place_without_permission_is_an_error_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = poems(tmp_path / "poems", 3)

    def refuse(*args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied", str(tmp_path / "locked"))

    monkeypatch.setattr("bowerbird.base.files.tempfile.mkdtemp", refuse)
    with pytest.raises(StorageError, match="permission"):
        made(tmp_path / "locked" / "out", source)


@pytest.mark.parametrize("after", [0, 3, 40])
def test_a_full_disk_is_an_error_and_leaves_nothing(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source = poems(tmp_path / "poems", 30)
    append, read = Spool.append, Spool.pieces
    calls = 0

    def full() -> None:
        nonlocal calls
        calls += 1
        if calls > after:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(Spool, "append", lambda *args: (full(), append(*args))[1])
    monkeypatch.setattr(Spool, "pieces", lambda *args: (full(), read(*args))[1])
    with pytest.raises(StorageError, match="disk is full"):
        made(tmp_path / "out", source)
    assert os.listdir(tmp_path) == ["poems"]


def test_an_interruption_leaves_nothing(tmp_path: Path):
    source = poems(tmp_path / "poems", 3)

    def interrupt(stage: str, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "out", source, on_progress=interrupt)
    assert os.listdir(tmp_path) == ["poems"]


def test_progress_names_the_stages_in_order(tmp_path: Path):
    stages: list[str] = []
    made(
        tmp_path / "out",
        poems(tmp_path / "poems", 150),
        on_progress=lambda stage, count: stages.append(stage),
    )
    assert list(dict.fromkeys(stages)) == ["gather", "duplicates", "codec", "encode"]


def test_a_dataset_with_chats_is_a_chat_dataset(tmp_path: Path):
    chats = [
        {"messages": [{"role": "user", "content": f"Q{n}?"}, {"role": "assistant", "content": f"A{n}."}]}
        for n in range(9)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, chats)) + '\n{"text": "a plain text"}\n')
    result = made(tmp_path / "out", tmp_path / "a.jsonl")
    assert result["structure"] == Dataset.open(tmp_path / "out").structure == "chat"
    assert result["bytes"] == 9 * len("Q0?A0.") + len("a plain text")  # markers are no text
    kept = [text for split in ("train", "valid", "test") for text in split_text(tmp_path / "out", split)]
    assert "\ufdd2Q3?\ufdd3A3." in kept
    assert "a plain text" in kept


def test_the_column_chosen_is_told(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id,poem\n1,one\n2,two\n3,three\n")
    assert "column `poem`" in made(tmp_path / "out", tmp_path / "a.csv")["notes"][0]


@pytest.mark.parametrize("codec", ["characters", "bytes", "bpe", "words"])
def test_a_long_document_read_in_pieces_is_written_whole(
    codec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(text_source, "PIECE_BYTES", 5000)
    monkeypatch.setattr(text_source, "TAIL_CHARACTERS", 500)
    monkeypatch.setattr("bowerbird.data.spool.PIECE_BYTES", 3001)
    content = "".join(f"{n} Verse über das Meer, 海 {n % 7}\n" for n in range(1000))
    (tmp_path / "a.txt").write_text(content)
    made(tmp_path / "out", tmp_path / "a.txt", settings=(f"codec.name={codec}",))
    assert (
        "".join("".join(split_text(tmp_path / "out", split)) for split in ("train", "valid", "test"))
        == content
    )


def test_pieces_of_a_document_that_fails_are_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(sources: object, config: object, note: object, **_: object) -> list[Item | Rejected]:
        return [
            Item("good one\n", "a"),
            Item("begun\n", "b", piece=0, last=False),
            Item("and gone on\n", "b", piece=1, last=False),
            Rejected("b", "could not be read as text: the disk failed"),
            Item("first\n", "c", piece=0, last=False),
            Item("second\n", "c", piece=1),
            Item("\x00", "d", piece=0, last=False),
            Item("\x00", "d", piece=1),
        ]

    monkeypatch.setattr("bowerbird.data.prepare.gather", broken)
    result = made(tmp_path / "out", "x", settings=("split.valid=0", "split.test=0"))
    assert sorted(split_text(tmp_path / "out", "train")) == ["first\nsecond\n", "good one\n"]
    assert [line["status"] for line in ledger(tmp_path / "out")] == ["kept", "rejected", "kept", "rejected"]
    assert result["items"] == 2


def test_the_spool_reads_any_part_of_any_document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bowerbird.data.spool.PIECE_BYTES", 7)
    documents = ["", "plain", "für 海 und 👩‍🚀 " * 20, "e\u0301" * 30, "last"]
    with Spool(tmp_path / "spool") as spool:
        for content in documents:
            for start in range(0, len(content), 5):
                spool.append(content[start : start + 5])
            spool.finish_document()
        spool.append("taken back")
        spool.abandon_document()
        spool.append("the end")
        spool.finish_document()
        spool.flush()
        assert ["".join(spool.pieces(number)) for number in range(6)] == [*documents, "the end"]
        assert list(spool.characters) == [*map(len, documents), 7]
        content = documents[2]
        for start in range(0, len(content), 11):
            assert "".join(spool.part(2, start, start + 37)) == content[start : start + 37]
    assert not (tmp_path / "spool").exists()
