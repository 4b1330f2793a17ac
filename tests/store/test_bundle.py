"""Bundles and checkpoints: what was written comes back; what was changed, cut or forged is refused."""

from __future__ import annotations

import json
import pickle
import random
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conftest import Ran

from bowerbird.base.digest import digest_file, sealed
from bowerbird.base.errors import BowerbirdError, CorruptFile, NotFound, StorageError
from bowerbird.kinds.loaded import Model
from bowerbird.store import bundle as module
from bowerbird.store.bundle import (
    open_bundle,
    open_checkpoint,
    read_tensors,
    write_bundle,
    write_checkpoint,
    write_tensors,
)

TENSORS = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b/c": torch.tensor([1.5, float("nan")]),
    "n": torch.tensor(3),
}
MANIFEST = {
    "kind": "text",
    "config": {},
    "codec": {},
    "normaliser": {},
    "structure": "plain",
    "lineage": {},
    "step": 4,
}


@pytest.fixture
def kept(tiny_run: Path, tmp_path: Path) -> Path:
    """A checkpoint of a real run, free to be changed."""
    newest = sorted((tiny_run / "checkpoints").iterdir())[-1]
    shutil.copytree(newest, tmp_path / "kept")
    return tmp_path / "kept"


def reseal(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a sealed JSON file as someone would who knows how it is sealed."""
    content = json.loads(path.read_text())
    change(content)
    content.pop("digest", None)
    path.write_text(json.dumps(sealed(content)))


def test_what_was_written_comes_back_to_the_bit(tmp_path: Path) -> None:
    told = write_bundle(
        tmp_path / "bundle", MANIFEST, weights=TENSORS, partners={"d": TENSORS["a"]},
        codec_files={"tokenizer.json": b"{}"}, card="# a model",
    )  # fmt: skip
    found = open_bundle(tmp_path / "bundle")
    assert found.manifest == told
    assert found.digest.startswith("sha256:")
    assert found.codec_files() == {"tokenizer.json": b"{}"}
    assert torch.equal(found.partners()["d"], TENSORS["a"])
    for name, value in found.weights().items():
        assert value.dtype == TENSORS[name].dtype
        assert torch.equal(value.reshape(-1).view(torch.uint8), TENSORS[name].reshape(-1).view(torch.uint8))


def test_equal_content_gives_an_equal_digest_anywhere(tmp_path: Path) -> None:
    digests = {
        write_bundle(tmp_path / name, MANIFEST, weights=dict(order), partners={}, codec_files={}, card="")[
            "digest"
        ]
        for name, order in (("a", TENSORS.items()), ("b", reversed(TENSORS.items())))
    }
    assert len(digests) == 1


def test_a_checkpoint_brings_back_its_state(kept: Path, tmp_path: Path) -> None:
    told = {"step": 7, "seconds": 0.1, "best": {"step": None}}
    digest = write_checkpoint(
        tmp_path / "c", MANIFEST, TENSORS, told, weights=TENSORS, partners={}, codec_files={}, card=""
    )
    bundle, resume, record = open_checkpoint(tmp_path / "c")
    assert bundle.digest == digest
    assert resume.keys() == TENSORS.keys()
    assert {key: record[key] for key in told} == told


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_a_checkpoint_has_the_files_that_are_promised(kept: Path) -> None:
    assert files_of(kept) == [
        "bundle/README.md", "bundle/bundle.json", "bundle/weights.safetensors", "checkpoint.json", "resume.safetensors",
    ]  # fmt: skip


def test_any_byte_changed_in_any_file_is_noticed(kept: Path) -> None:
    chance = random.Random(3)
    good = open_checkpoint(kept)[2]
    for name in files_of(kept):
        path = kept / name
        content = path.read_bytes()
        places = {0, len(content) - 1, *(chance.randrange(len(content)) for _ in range(15))}
        for place in places:
            changed = bytearray(content)
            changed[place] ^= 1 << chance.randrange(8)
            path.write_bytes(changed)
            try:
                bundle, _, record = open_checkpoint(kept)
            except CorruptFile:
                continue
            finally:
                path.write_bytes(content)
            assert path.suffix == ".json", f"{name}, byte {place}"
            assert record == good, "only white space between the values may differ"
            assert bundle.digest == good["bundle"]


@pytest.mark.parametrize("cut", [0, 1, 7, 0.5, -1])
def test_a_file_cut_short_is_noticed(kept: Path, cut: float) -> None:
    for name in files_of(kept):
        path = kept / name
        content = path.read_bytes()
        end = int(cut * len(content)) if isinstance(cut, float) else int(cut)
        path.write_bytes(content[:end])
        if name.endswith(".json") and cut == -1:
            open_checkpoint(kept)  # the line end after the last brace
        else:
            with pytest.raises(CorruptFile):
                open_checkpoint(kept)
        path.write_bytes(content)


def test_a_missing_file_is_named(kept: Path) -> None:
    for name in files_of(kept):
        shutil.copytree(kept, kept.with_name("copy"))
        (kept.with_name("copy") / name).unlink()
        with pytest.raises(CorruptFile if "json" not in name else NotFound) as found:
            open_checkpoint(kept.with_name("copy"))
        assert str(Path(name).parent) in str(found.value.where)
        shutil.rmtree(kept.with_name("copy"))


def test_a_newer_format_says_to_install_a_newer_version(kept: Path) -> None:
    for path in (kept / "bundle" / "bundle.json", kept / "checkpoint.json"):
        content = path.read_text()
        reseal(path, lambda told: told.update(format=2))
        with pytest.raises(CorruptFile, match="format 2") as found:
            open_checkpoint(kept)
        assert "newer bowerbird" in str(found.value.hint)
        path.write_text(content)


@pytest.mark.parametrize("wrong", [None, 0, -1, True, "1", [], 1.5])
def test_a_format_that_is_no_number_is_refused(kept: Path, wrong: Any) -> None:
    reseal(kept / "bundle" / "bundle.json", lambda told: told.update(format=wrong))
    with pytest.raises(CorruptFile, match="format number"):
        open_bundle(kept / "bundle")


@pytest.mark.parametrize(
    "trick", ["../outside", "/etc/passwd", "a/b", "..", ".", "", "x\0y", "./weights.safetensors"]
)
def test_a_manifest_that_names_a_file_outside_is_refused(kept: Path, trick: str) -> None:
    outside = kept / "outside"
    outside.write_text("secret")
    reseal(kept / "bundle" / "bundle.json", lambda told: told["files"].update({trick: digest_file(outside)}))
    with pytest.raises(CorruptFile):
        open_bundle(kept / "bundle")


def test_a_link_in_place_of_a_file_is_refused(kept: Path) -> None:
    weights = kept / "bundle" / "weights.safetensors"
    weights.rename(kept / "elsewhere")
    weights.symlink_to(kept / "elsewhere")
    with pytest.raises(CorruptFile, match="outside"):
        open_bundle(kept / "bundle")


def test_weights_that_are_not_sealed_are_not_read(kept: Path) -> None:
    reseal(kept / "bundle" / "bundle.json", lambda told: told["files"].pop("weights.safetensors"))
    with pytest.raises(CorruptFile, match=r"weights\.safetensors"):
        open_bundle(kept / "bundle")


@pytest.mark.parametrize("key", [*MANIFEST, "files"])
@pytest.mark.parametrize("value", [None, 3.5, "morse", ["x"], {}, {"name": []}], ids=repr)
def test_a_sealed_manifest_of_wrong_types_is_refused_as_damaged(kept: Path, key: str, value: Any) -> None:
    if (key, type(value)) in {("lineage", dict), ("structure", str), ("normaliser", dict)} and value != {
        "name": []
    }:
        pytest.skip("a right type")
    if key == "lineage" and isinstance(value, dict):
        pytest.skip("more may be told of where it comes from")
    reseal(kept / "bundle" / "bundle.json", lambda told: told.update({key: value}))
    with pytest.raises(CorruptFile):
        Model(open_bundle(kept / "bundle"))


@pytest.mark.parametrize(
    "change",
    [
        {"width": 17},
        {"width": -1},
        {"width": "wide"},
        {"layers": 2},
        {"cell": "lstn"},
        {"cell": None},
        {"new": 1},
    ],
    ids=str,
)
def test_a_shape_that_the_weights_do_not_have_is_refused_as_damaged(
    kept: Path, change: dict[str, Any]
) -> None:
    reseal(kept / "bundle" / "bundle.json", lambda told: told["config"]["model"].update(change))
    with pytest.raises(CorruptFile):
        Model(open_bundle(kept / "bundle"))


@pytest.mark.parametrize("content", ["[]", "3", "null", '"x"', "{}", "{", "", "\xff\xfe", "[" * 100_000])
def test_a_json_file_that_holds_something_else_is_refused(kept: Path, content: str) -> None:
    for path in (kept / "bundle" / "bundle.json", kept / "checkpoint.json"):
        good = path.read_bytes()
        path.write_bytes(content.encode("latin-1"))
        with pytest.raises(CorruptFile):
            open_checkpoint(kept)
        path.write_bytes(good)


def test_the_bundle_of_one_checkpoint_does_not_go_with_the_state_of_another(
    kept: Path, tiny_run: Path
) -> None:
    first = sorted((tiny_run / "checkpoints").iterdir())[0]
    other = kept.with_name("other")
    write_checkpoint(other, MANIFEST, TENSORS, {}, weights=TENSORS, partners={}, codec_files={}, card="")
    shutil.copy(other / "resume.safetensors", kept / "resume.safetensors")
    with pytest.raises(CorruptFile):
        open_checkpoint(kept)
    assert first.is_dir()


class Trap:
    """Unpickling it would leave a trace."""

    def __reduce__(self) -> Any:
        return open, ("trap-was-sprung", "w")


def test_no_pickle_is_ever_read(kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    weights = kept / "bundle" / "weights.safetensors"
    for write in (
        lambda: weights.write_bytes(pickle.dumps(Trap())),
        lambda: torch.save({"a": Trap()}, weights),
    ):
        write()
        reseal(
            kept / "bundle" / "bundle.json",
            lambda told: told["files"].update({weights.name: digest_file(weights)}),
        )
        with pytest.raises(CorruptFile, match="cannot be read"):
            open_bundle(kept / "bundle").weights()
    assert not (tmp_path / "trap-was-sprung").exists()
    source = Path(module.__file__).parent.parent
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "pickle.load" not in text, path
        loads = re.findall(r"torch\.load\(([^)]*)\)", text)
        assert all("weights_only=True" in load for load in loads), path


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, (2**62).to_bytes(8, "little") + b"{}"])
def test_tensors_that_cannot_be_read_are_damaged_not_a_crash(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(CorruptFile):
        read_tensors(tmp_path / "x.safetensors")


def test_tensors_are_written_whole_and_for_their_owner_alone(tmp_path: Path) -> None:
    write_tensors(tmp_path / "x.safetensors", {"a": TENSORS["a"].t()})
    assert torch.equal(read_tensors(tmp_path / "x.safetensors")["a"], TENSORS["a"].t())
    assert (tmp_path / "x.safetensors").stat().st_mode & 0o077 == 0


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        write_tensors(tmp_path / "file" / "x.safetensors", TENSORS)


def test_a_folder_without_a_bundle_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        open_bundle(tmp_path)
    with pytest.raises(NotFound):
        open_checkpoint(tmp_path)


def test_on_the_command_line_damage_ends_with_3_and_says_where(
    kept: Path, bowerbird: Callable[..., Ran]
) -> None:
    weights = kept / "bundle" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-5] ^= 1
    weights.write_bytes(content)
    for command in (["inspect"], ["generate", "--length", 3], ["publish", "x"], ["evaluate"]):
        verb, *more = command
        arguments = [verb, kept, *more] if verb != "publish" else [verb, kept, "poems"]
        ran = bowerbird(*arguments)
        assert ran.code == 3, ran
        assert "error: this model was changed or damaged" in ran.err
        assert f"where: {weights}" in ran.err
        assert "hint:" in ran.err
        assert ran.out == ""
    assert issubclass(CorruptFile, BowerbirdError)
