"""The folder registry: versions, aliases and the log, also under crowding, damage and crashes."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bowerbird.base.errors import CorruptFile, NotFound, Refused, StorageError, UsageError
from bowerbird.store.registry.folder import FolderRegistry


def bundle(path: Path, content: bytes = b"weights") -> Path:
    (path / "codec").mkdir(parents=True)
    (path / "bundle.json").write_bytes(b'{"kind": "text"}\n')
    (path / "weights.safetensors").write_bytes(content)
    (path / "codec" / "tokenizer.json").write_bytes(b"\x00\r\n\xff")
    return path


@pytest.fixture
def registry(tmp_path: Path) -> FolderRegistry:
    return FolderRegistry(tmp_path / "workspace" / "registry")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return bundle(tmp_path / "model")


def filled(registry: FolderRegistry, model: Path, count: int = 3) -> FolderRegistry:
    for number in range(count):
        registry.publish("poems", model, f"sha256:{number}")
    return registry


def test_a_copy_is_equal_byte_for_byte_and_private(registry: FolderRegistry, model: Path) -> None:
    version = registry.publish("poems", model, "sha256:1", scores={"bits_per_byte": 2.0}, parent="sha256:0")
    for file in model.rglob("*"):
        if file.is_file():
            assert (version.path / file.relative_to(model)).read_bytes() == file.read_bytes()
    for path in [registry.root.parent, registry.root, *registry.root.rglob("*")]:
        wanted = 0o700 if path.is_dir() else 0o600
        assert stat.S_IMODE(path.stat().st_mode) == wanted, path
    assert registry.find("poems") == version
    assert (version.version, version.digest, version.parent) == (1, "sha256:1", "sha256:0")
    assert version.scores == {"bits_per_byte": 2.0}
    assert version.created.endswith("Z")


def test_a_score_that_is_no_number_is_not_kept(registry: FolderRegistry, model: Path) -> None:
    version = registry.publish("poems", model, "sha256:1", scores={"a": float("nan"), "b": 1})
    assert version.scores == {"b": 1.0}


def test_the_same_digest_is_published_once(registry: FolderRegistry, model: Path) -> None:
    first = registry.publish("poems", model, "sha256:1")
    again = registry.publish("poems", model, "sha256:1", alias="live")
    assert not first.already
    assert again.already
    assert again.version == first.version == 1
    assert again.aliases == ("live",)
    assert len(registry.versions("poems")) == 1
    assert not registry.publish("other", model, "sha256:1").already


def test_without_a_selector_the_live_version_is_meant_else_the_newest(
    registry: FolderRegistry, model: Path
) -> None:
    filled(registry, model)
    assert registry.find("poems").version == 3
    registry.promote("poems", 2)
    assert registry.find("poems").version == 2
    assert registry.find("poems", "live").version == 2
    assert registry.find("poems", "3").version == 3


def test_versions_of_every_name_are_listed_oldest_first(registry: FolderRegistry, model: Path) -> None:
    assert registry.versions() == []
    filled(registry, model, 11)
    registry.publish("letters", model, "sha256:9", alias="tried")
    listed = [(version.name, version.version, version.aliases) for version in registry.versions()]
    assert listed == [("letters", 1, ("tried",)), *(("poems", number, ()) for number in range(1, 12))]


def test_rolling_back_goes_back_step_by_step_and_then_refuses(registry: FolderRegistry, model: Path) -> None:
    filled(registry, model)
    for number in (1, 2, 2, 3):
        registry.promote("poems", number, why="better")
    assert registry.rollback("poems", why="worse").version == 2
    assert registry.rollback("poems").version == 1
    with pytest.raises(Refused, match="nothing to go back to"):
        registry.rollback("poems")
    assert registry.promote("poems", 3).aliases == ("live",)
    assert registry.rollback("poems").version == 1


def test_the_log_tells_what_was_done_by_whom_and_why(registry: FolderRegistry, model: Path) -> None:
    registry.publish("poems", model, "sha256:0", alias="live", why="the first")
    registry.publish("poems", model, "sha256:1")
    registry.promote("poems", 2, why="better")
    registry.rollback("poems", why="worse\nfor us")
    log = registry.log("poems")
    moves = [(e["action"], e["alias"], e["version"], e["previous"], e["why"]) for e in log]
    assert moves == [
        ("publish", None, 1, None, "the first"),
        ("promote", "live", 1, None, "the first"),
        ("publish", None, 2, None, None),
        ("promote", "live", 2, 1, "better"),
        ("rollback", "live", 1, 2, "worse\nfor us"),
    ]
    assert all(e["name"] == "poems" and e["when"].endswith("Z") and "@" in e["who"] for e in log)


def test_the_log_is_only_ever_appended_to(registry: FolderRegistry, model: Path) -> None:
    filled(registry, model)
    file = registry.root / "poems" / "log.jsonl"
    before = file.read_bytes()
    registry.promote("poems", 1)
    registry.promote("poems", 2)
    registry.rollback("poems")
    assert file.read_bytes().startswith(before)
    assert len(registry.log("poems")) == 6


@pytest.mark.parametrize(
    "name", ["", "Poems", "../x", "a/b", ".hidden", "a b", "é", "-x", "x" * 65, "a\n", "poems@live", "a\\b"]
)
def test_a_name_that_could_leave_the_folder_or_confuse_is_refused(
    name: str, registry: FolderRegistry, model: Path
) -> None:
    with pytest.raises(UsageError):
        registry.publish(name, model, "sha256:1")
    with pytest.raises(UsageError):
        registry.find(name, None)
    with pytest.raises(UsageError):
        registry.publish("poems", model, "sha256:1", alias=name)
    assert not registry.root.exists()


def test_an_alias_of_digits_is_refused_but_a_name_of_digits_is_not(
    registry: FolderRegistry, model: Path
) -> None:
    assert registry.publish("2024", model, "sha256:1").name == "2024"
    with pytest.raises(UsageError, match="alias"):
        registry.promote("2024", 1, alias="7")


def test_what_is_not_there_is_named_with_what_is(registry: FolderRegistry, model: Path) -> None:
    with pytest.raises(NotFound, match="nothing is published yet"):
        registry.find("poems", None)
    filled(registry, model, 2).promote("poems", 1)
    with pytest.raises(NotFound, match="did you mean `poems`"):
        registry.find("peoms", None)
    with pytest.raises(NotFound, match="its versions: 1, 2"):
        registry.find("poems", "9" * 5000)
    with pytest.raises(NotFound, match="did you mean `poems@live`"):
        registry.find("poems", "life")
    with pytest.raises(NotFound, match="no version 7"):
        registry.promote("poems", 7)
    with pytest.raises(NotFound, match="its aliases: live"):
        registry.rollback("poems", alias="other")
    with pytest.raises(NotFound):
        registry.promote("nothing", 1)
    with pytest.raises(NotFound):
        registry.publish("poems", model / "gone", "sha256:8")
    assert sorted(path.name for path in registry.root.iterdir()) == ["poems"]


def test_a_number_is_never_used_again(registry: FolderRegistry, model: Path) -> None:
    filled(registry, model)
    shutil.rmtree(registry.root / "poems" / "3")
    assert registry.publish("poems", model, "sha256:new").version == 4


def test_a_full_disk_leaves_the_registry_as_it_was(
    registry: FolderRegistry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(registry, model, 1)
    before = sorted(registry.root.rglob("*"))

    def full(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", full)
        with pytest.raises(StorageError, match="the disk is full"):
            registry.publish("poems", model, "sha256:new")
    assert sorted(registry.root.rglob("*")) == before
    assert registry.publish("poems", model, "sha256:new").version == 2


def test_a_log_line_that_could_not_be_written_never_happened(
    registry: FolderRegistry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(registry, model, 2).promote("poems", 1)
    before = (registry.root / "poems" / "log.jsonl").read_bytes()

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(StorageError):
            registry.promote("poems", 2)
    assert (registry.root / "poems" / "log.jsonl").read_bytes() == before
    assert registry.find("poems").version == 1


def test_a_line_cut_short_by_a_crash_never_happened(registry: FolderRegistry, model: Path) -> None:
    filled(registry, model, 2).promote("poems", 1)
    file = registry.root / "poems" / "log.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole + b'{"action": "promote", "alias": "li')
    assert registry.find("poems").version == 1
    registry.promote("poems", 2)
    assert file.read_bytes().startswith(whole)
    assert registry.find("poems").version == 2
    assert registry.rollback("poems").version == 1


def test_what_a_killed_publisher_left_is_neither_seen_nor_kept(registry: FolderRegistry, model: Path) -> None:
    filled(registry, model, 1)
    left = registry.root / "poems" / ".2.abc123"
    left.mkdir()
    (left / "weights.safetensors").write_bytes(b"half")
    assert [version.version for version in registry.versions("poems")] == [1]
    assert registry.publish("poems", model, "sha256:new").version == 2
    assert not left.exists()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 1}',
        b"\xff\xfe",
        b'{"format": 1, "version": 2, "digest": "d", "created": "c", "scores": {}, "parent": null}',
        b'{"format": 1, "version": 1, "digest": 5, "created": "c", "scores": {}, "parent": null}',
        b'{"format": 1, "version": 1, "digest": "d", "created": "c", "scores": {"a": "x"}, "parent": null}',
        b'{"format": 1, "version": 1, "digest": "d", "created": "c", "scores": {}, "parent": 1}',
        None,
    ],
)
def test_a_damaged_record_is_named(registry: FolderRegistry, model: Path, damage: bytes | None) -> None:
    filled(registry, model, 2)
    file = registry.root / "poems" / "1" / "version.json"
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    with pytest.raises(CorruptFile) as caught:
        registry.find("poems", "1")
    assert caught.value.where == str(file)
    assert registry.find("poems", "2").version == 2


def test_a_record_of_a_newer_format_asks_for_a_newer_program(registry: FolderRegistry, model: Path) -> None:
    filled(registry, model, 1)
    file = registry.root / "poems" / "1" / "version.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 99}))
    with pytest.raises(CorruptFile, match="pip install --upgrade"):
        registry.find("poems")


@pytest.mark.parametrize("line", [b"x", b"{}", b"[1]", b"", b"\xff", b'{"action": "promote", "alias": 3}'])
def test_a_damaged_log_is_named_with_its_line(registry: FolderRegistry, model: Path, line: bytes) -> None:
    filled(registry, model, 2)
    file = registry.root / "poems" / "log.jsonl"
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([lines[0], line, lines[1]]) + b"\n")
    for use in (
        lambda: registry.find("poems"),
        lambda: registry.promote("poems", 1),
        lambda: registry.log("poems"),
    ):
        with pytest.raises(CorruptFile, match="line 2") as caught:
            use()
        assert caught.value.where == str(file)


PUBLISHER = """
import sys
from pathlib import Path
from bowerbird.store.registry.folder import FolderRegistry

registry, model, who = FolderRegistry(Path(sys.argv[1])), Path(sys.argv[2]), sys.argv[3]
for count in range(20):
    version = registry.publish("poems", model, f"sha256:{who}{count}", alias="live")
    print(version.version, version.digest)
"""


def test_two_processes_publishing_together_lose_and_reuse_no_number(
    registry: FolderRegistry, model: Path
) -> None:
    command = [sys.executable, "-c", PUBLISHER, str(registry.root), str(model)]
    both = [subprocess.Popen([*command, who], stdout=subprocess.PIPE, text=True) for who in "ab"]
    said = [process.communicate(timeout=120)[0].split("\n") for process in both]
    assert [process.returncode for process in both] == [0, 0]
    told = sorted((int(line.split()[0]), line.split()[1]) for lines in said for line in lines if line)
    kept = [(version.version, version.digest) for version in registry.versions("poems")]
    assert [number for number, _ in kept] == list(range(1, 41))
    assert told == kept
    log = registry.log("poems")
    assert sorted(e["version"] for e in log if e["action"] == "publish") == list(range(1, 41))
    moves = [e for e in log if e["action"] == "promote"]
    assert len(moves) == 40
    assert [e["previous"] for e in moves] == [None, *(e["version"] for e in moves[:-1])]
    assert registry.find("poems", "live").version == moves[-1]["version"]


def test_a_writer_that_never_ends_is_not_waited_for_forever(
    registry: FolderRegistry, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(registry, model, 1)
    monkeypatch.setattr("bowerbird.store.registry.folder.WAIT_SECONDS", 0.1)
    with registry._turn("poems"), pytest.raises(Refused, match="another process"):
        FolderRegistry(registry.root).promote("poems", 1)
    assert registry.promote("poems", 1).aliases == ("live",)
