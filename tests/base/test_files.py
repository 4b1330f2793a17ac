"""Files and folders are written whole or not at all; what is read is checked."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bowerbird.base.digest import digest_bytes, digest_file, digest_json, seal_holds, sealed
from bowerbird.base.errors import CorruptFile, NotFound, Refused, StorageError
from bowerbird.base.files import check_format, read_json, whole_folder, write_json, write_whole


def full(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("broken", ["fsync", "replace"])
def test_a_file_that_cannot_be_written_keeps_its_old_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    write_whole(tmp_path / "a", b"old")
    monkeypatch.setattr(os, broken, full)
    with pytest.raises(StorageError, match="disk is full"):
        write_whole(tmp_path / "a", b"new")
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_file_is_written_into_folders_that_are_not_there_yet(tmp_path: Path) -> None:
    write_whole(tmp_path / "a" / "b" / "c", b"x")
    assert (tmp_path / "a" / "b" / "c").read_bytes() == b"x"
    assert os.listdir(tmp_path / "a" / "b") == ["c"]


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "deep" / "out") as building:
        (building / "inner").mkdir()
        (building / "inner" / "a").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
        assert building.parent == tmp_path / "deep", "on the same disk, or it could not be moved in one go"
    assert (tmp_path / "deep" / "out" / "inner" / "a").read_text() == "x"
    assert os.listdir(tmp_path / "deep") == ["out"]


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("replace", [False, True])
def test_a_folder_that_fails_half_way_leaves_nothing_and_the_old_one_as_it_was(
    tmp_path: Path, error: BaseException, replace: bool
) -> None:
    if replace:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "old").write_text("old")

    def half_way() -> None:
        with whole_folder(tmp_path / "out", replace=replace) as building:
            (building / "a").write_text("x")
            raise error

    with pytest.raises(type(error)):
        half_way()
    assert os.listdir(tmp_path) == (["out"] if replace else [])
    assert not replace or (tmp_path / "out" / "old").read_text() == "old"


@pytest.mark.parametrize("fails_at", [1, 2])
def test_a_replacement_that_cannot_be_put_in_place_puts_the_old_one_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").write_text("old")
    real, calls = os.rename, []

    def rename(source: Any, target: Any) -> None:
        calls.append(source)
        if len(calls) == fails_at:
            full()
        real(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(StorageError), whole_folder(tmp_path / "out", replace=True) as building:
        (building / "new").write_text("new")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["old"]


def test_a_replacement_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for name in ("old", "new"):
        with whole_folder(tmp_path / "out", replace=True) as building:
            (building / name).write_text(name)
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(tmp_path / "out") == ["new"]


def test_a_place_that_is_taken_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    for name in ("file", "folder"):
        with pytest.raises(Refused, match="taken") as found, whole_folder(tmp_path / name):
            pytest.fail("the work was begun")
        assert found.value.hint == "choose another --out"
    assert (tmp_path / "file").read_text() == "mine"


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with whole_folder(tmp_path / "out") as building:
        (building / "a").write_text("x")
    assert os.listdir(tmp_path / "out") == ["a"]


@pytest.mark.parametrize("place", ["file/out", "file/deep/out"])
def test_a_path_through_a_file_is_a_storage_error(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="not a folder"), whole_folder(tmp_path / place):
        pytest.fail("the work was begun")
    with pytest.raises(StorageError, match="not a folder"):
        write_whole(tmp_path / place, b"x")


def test_a_disk_that_fills_up_while_a_folder_is_written_is_told_and_cleared(tmp_path: Path) -> None:
    def filled_up() -> None:
        with whole_folder(tmp_path / "out") as building:
            (building / "a").write_text("x")
            full()

    with pytest.raises(StorageError, match="disk is full"):
        filled_up()
    assert os.listdir(tmp_path) == []


def test_tensors_larger_than_the_disk_allows_are_a_storage_error(tmp_path: Path) -> None:
    """In a process of its own, because the limit cannot be raised again."""
    code = f"""
import resource, signal, sys, torch
from bowerbird.base.errors import StorageError
from bowerbird.base.files import whole_folder
from bowerbird.store.bundle import write_tensors
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with whole_folder(__import__("pathlib").Path({str(tmp_path / "out")!r})) as building:
        write_tensors(building / "x.safetensors", {{"a": torch.zeros(100_000)}})
except StorageError as error:
    sys.exit(7 if "larger than allowed" in error.what and error.hint else 8)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 7, done.stderr
    assert os.listdir(tmp_path) == []


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, "é☃\u2028\ud800"], "a": {"x": True}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"{} {}", b"[" * 200_000, b"9" * 10_000])
def test_a_broken_json_file_is_damaged_and_a_missing_one_not_found(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(CorruptFile, match="this run is damaged"):
        read_json(tmp_path / "a.json", "run")
    with pytest.raises(NotFound, match="this run is not there"):
        read_json(tmp_path / "b.json", "run")


@pytest.mark.parametrize(
    ("found", "fine"),
    [(1, True), (2, True), (3, False), (0, False), (True, False), ("1", False), (None, False)],
)
def test_a_format_is_read_up_to_the_one_that_is_known(found: Any, fine: bool, tmp_path: Path) -> None:
    if fine:
        check_format(found, 2, "bundle", tmp_path)
    else:
        with pytest.raises(CorruptFile):
            check_format(found, 2, "bundle", tmp_path)


def test_digests_are_those_of_the_standard(tmp_path: Path) -> None:
    known = (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    )
    (tmp_path / "a").write_bytes(b"abc")
    assert digest_bytes(b"abc") == digest_file(tmp_path / "a") == known
    assert (
        digest_json({"b": 1, "a": [1]}) == digest_json({"a": [1], "b": 1}) != digest_json({"a": [1], "b": 2})
    )
    assert digest_json("\ud800").startswith("sha256:")


def test_a_seal_holds_until_anything_changes() -> None:
    content = sealed({"a": 1, "b": [1.5, "x"]})
    assert seal_holds(content)
    for change in ({"a": 2}, {"c": None}, {"digest": "sha256:0"}, {"digest": None}):
        assert not seal_holds(content | change)
    assert not seal_holds({"a": 1})
