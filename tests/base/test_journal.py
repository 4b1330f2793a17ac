"""The journal of a run: what was written is read again, a torn last line is left out, and it can go back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowerbird.base.errors import CorruptFile, StorageError
from bowerbird.base.journal import Journal


def test_each_record_is_a_line_and_is_told_to_the_listener(tmp_path: Path) -> None:
    told: list[dict[str, Any]] = []
    journal = Journal(tmp_path / "m.jsonl", told.append)
    journal.write(event="start", step=0)
    journal.write(event="train", step=1, loss=2.5)
    lines = (tmp_path / "m.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == told == journal.read()


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=20))
def test_a_record_with_any_text_comes_back(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "m.jsonl")
    journal.write(event="sample", step=1, text=text + "\u2028\x85\x0b\r\n")
    journal.write(event="train", step=2)
    journal.rewind(1)
    assert journal.read() == [{"event": "sample", "step": 1, "text": text + "\u2028\x85\x0b\r\n"}]


def test_a_line_torn_at_any_byte_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "m.jsonl")
    journal.write(step=1, text="é☃")
    whole = journal.path.read_bytes()
    journal.write(step=2, text="日本")
    both = journal.path.read_bytes()
    for end in range(len(whole), len(both) - 1):
        journal.path.write_bytes(both[:end])
        steps = [record["step"] for record in journal.read()]
        assert steps in ([1], [1, 2]) if end == len(both) - 2 else steps == [1]
        journal.path.write_bytes(both[: min(end, len(both) - 3)])
        journal.rewind(5)
        journal.write(step=3)
        assert [record["step"] for record in journal.read()] == [1, 3]


def test_going_back_forgets_what_came_after(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "m.jsonl")
    for step in (0, 1, 2, 2, 3):
        journal.write(step=step)
    journal.write(event="note")
    journal.rewind(2)
    assert [record.get("step") for record in journal.read()] == [0, 1, 2, 2, None]


def test_a_journal_that_is_not_there_is_empty_and_may_go_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "m.jsonl")
    assert journal.read() == []
    journal.rewind(3)
    assert journal.read() == []


def test_lines_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_bytes(b'{"step": 1}\n[1]\n3\nnull\n\xff\xfe\n\n{"step": 2}\n')
    assert [record["step"] for record in Journal(tmp_path / "m.jsonl").read()] == [1, 2]


def test_a_journal_in_a_place_that_is_no_folder_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        Journal(tmp_path / "file" / "m.jsonl").write(step=1)


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    for name in ("folder", "pipe", "link"):
        with pytest.raises(CorruptFile, match="no file"):
            Journal(tmp_path / name).read()


def test_a_line_that_is_nested_too_deeply_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text("[" * 100_000 + '\n{"step": 1}\n')
    assert Journal(path).read() == [{"step": 1}]
