"""An export appears whole, proved and for its owner alone, or not at all; and never in the place of another file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.store.test_parity import one_row
from tests.store.toy_export import exporter, toy

from bowerbird.base.digest import digest_file
from bowerbird.base.errors import Refused, StorageError, UsageError
from bowerbird.store.exporters import EXPORTERS
from bowerbird.store.exporters import export as module
from bowerbird.store.exporters.export import export, place_of


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def parity(folder: Path) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((folder / "parity.json").read_text())
    return told


def test_a_file_lies_beside_its_proof(tmp_path: Path) -> None:
    told = export(exporter(), toy(), tmp_path / "new" / "a.toy")
    assert files_of(tmp_path / "new") == ["a.toy", "parity.json"]
    assert (told["path"], told["format"]) == (str(tmp_path / "new" / "a.toy"), "toy")
    assert (told["digest"], told["size_bytes"]) == ("sha256:toy", 5)
    assert told["lines"] == f"print({str(tmp_path / 'new' / 'a.toy')!r})\n"
    proof = parity(tmp_path / "new")["a.toy"]
    assert proof["files"] == {"a.toy": digest_file(tmp_path / "new" / "a.toy")}
    assert (proof["format"], proof["model"]) == ("toy", "sha256:toy")
    assert proof["cases"] == told["parity"]["cases"]
    assert json.loads(json.dumps(told)) == told


def test_a_folder_holds_its_proof(tmp_path: Path) -> None:
    told = export(exporter(suffix=""), toy(), tmp_path / "a")
    assert files_of(tmp_path) == ["a", "a/model.toy", "a/parity.json"]
    assert parity(tmp_path / "a")["a"]["files"] == {"model.toy": digest_file(tmp_path / "a" / "model.toy")}
    assert told["size_bytes"] == 5


def test_exports_into_one_folder_are_all_told_of(tmp_path: Path) -> None:
    for name in ("a.toy", "b.toy"):
        export(exporter(), toy(), tmp_path / name)
    assert sorted(parity(tmp_path)) == ["a.toy", "b.toy"]


@pytest.mark.parametrize("suffix", [".toy", ""])
def test_what_is_not_proved_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(Refused, match="differ"):
        export(exporter(one_row, suffix=suffix), toy(), tmp_path / f"a{suffix}")
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("suffix", [".toy", ""])
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    def fail(exported: Any, path: Path) -> None:
        (path if suffix else path / "x").write_bytes(b"half")
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        export(replace(exporter(suffix=suffix), write=fail), toy(), tmp_path / f"a{suffix}")
    assert files_of(tmp_path) == []


@pytest.mark.parametrize("suffix", [".toy", ""])
def test_nothing_is_ever_overwritten(tmp_path: Path, suffix: str) -> None:
    taken = tmp_path / f"a{suffix}"
    if suffix:
        taken.write_text("mine")
    else:
        taken.mkdir()
        (taken / "mine").write_text("mine")
    before = files_of(tmp_path)
    with pytest.raises(Refused, match="never overwritten"):
        export(exporter(suffix=suffix), toy(), taken)
    assert files_of(tmp_path) == before


def test_a_file_that_appears_meanwhile_is_not_overwritten_either(tmp_path: Path) -> None:
    def appear(given: Any, made: Any) -> Any:
        (tmp_path / "a.toy").write_text("mine")
        return made

    with pytest.raises(Refused, match="never overwritten"):
        export(exporter(appear), toy(), tmp_path / "a.toy")
    assert (tmp_path / "a.toy").read_text() == "mine"
    assert files_of(tmp_path) == ["a.toy"]


def test_files_that_it_needs_come_along_once(tmp_path: Path) -> None:
    needy = exporter(beside={"layers.py": b"x = 1\n"})
    export(needy, toy(), tmp_path / "a.toy")
    export(needy, toy(), tmp_path / "b.toy")
    assert files_of(tmp_path) == ["a.toy", "b.toy", "layers.py", "parity.json"]
    assert set(parity(tmp_path)["b.toy"]["files"]) == {"b.toy", "layers.py"}


def test_a_file_it_needs_takes_no_other_s_place_and_nothing_is_left(tmp_path: Path) -> None:
    export(exporter(beside={"layers.py": b"x = 1\n"}), toy(), tmp_path / "a.toy")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(Refused, match="never overwritten"):
        export(exporter(beside={"early.py": b"y = 1\n", "layers.py": b"x = 2\n"}), toy(), tmp_path / "b.toy")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", ["[]", "{", '{"a": 1}', '{"a": {"b": 2}}'])
def test_a_parity_json_of_someone_else_s_is_let_be(tmp_path: Path, content: str) -> None:
    (tmp_path / "parity.json").write_text(content)
    with pytest.raises(Refused, match="not a record of exports"):
        export(exporter(), toy(), tmp_path / "a.toy")
    assert files_of(tmp_path) == ["parity.json"]
    assert (tmp_path / "parity.json").read_text() == content


@pytest.mark.parametrize("suffix", [".toy", ""])
def test_files_are_for_their_owner_alone(tmp_path: Path, suffix: str) -> None:
    export(exporter(suffix=suffix), toy(), tmp_path / f"a{suffix}")
    for path in tmp_path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_a_file_system_without_links_or_locks_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no(*arguments: Any) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(module.os, "link", no)
    monkeypatch.setattr(module.fcntl, "flock", no)
    export(exporter(), toy(), tmp_path / "a.toy")
    assert (tmp_path / "a.toy").read_bytes() == b"a toy"
    with pytest.raises(Refused):
        export(exporter(), toy(), tmp_path / "a.toy")


def test_a_place_below_a_file_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        export(exporter(), toy(), tmp_path / "file" / "a.toy")


def test_the_place_has_the_suffix_of_the_format(tmp_path: Path) -> None:
    pth = EXPORTERS["pth"]
    assert place_of(pth, tmp_path / "a.pth") == tmp_path / "a.pth"
    assert place_of(pth, tmp_path / "a.PTH") == tmp_path / "a.PTH"
    assert place_of(pth, tmp_path / "a") == tmp_path / "a.pth"
    assert place_of(pth, tmp_path / "v1.2") == tmp_path / "v1.2.pth"
    assert place_of(pth, tmp_path) == tmp_path / "model.pth"
    assert place_of(EXPORTERS["safetensors"], tmp_path / "a.b") == tmp_path / "a.b"
    with pytest.raises(UsageError, match=r"end in \.toy, not in \.pth") as found:
        place_of(exporter(), tmp_path / "a.pth")
    assert str(found.value.hint).endswith("a.toy")
