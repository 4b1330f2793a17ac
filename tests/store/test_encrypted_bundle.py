"""A bundle in one encrypted file: it comes back whole with its signature, or nothing is written at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.store.bundles import tiny_bundle

from bowerbird.base.errors import CorruptFile, DataError, NotFound, Refused, StorageError
from bowerbird.store.encrypted_bundle import decrypt_bundle, encrypt_bundle
from bowerbird.store.encryption import CHUNK, Secret, encrypt
from bowerbird.store.signing import new_key, sign, signature_of, verify

KEY = Secret(bytes(range(32)), False)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return tiny_bundle(tmp_path / "bundle", card="# a model\n" + "words " * 30_000)


@pytest.fixture
def file(bundle: Path, tmp_path: Path) -> Path:
    encrypt_bundle(bundle, tmp_path / "file", KEY)
    return tmp_path / "file"


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_bundle_comes_back_byte_for_byte_and_private(bundle: Path, file: Path, tmp_path: Path) -> None:
    assert file.stat().st_size > 2 * CHUNK, "more than one chunk"
    found = decrypt_bundle(file, tmp_path / "out", KEY)
    assert found.path == tmp_path / "out"
    assert found.digest == json.loads((bundle / "bundle.json").read_text())["digest"]
    assert content(tmp_path / "out") == content(bundle)
    for path in [file, *(tmp_path / "out").iterdir()]:
        assert path.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o700


def test_names_and_words_of_the_model_are_not_in_the_file(file: Path) -> None:
    for word in (b"weights", b"a model", b"digest", b"tokenizer"):
        assert word not in file.read_bytes()


def test_a_signature_goes_along(bundle: Path, tmp_path: Path) -> None:
    public = new_key(tmp_path / "key")
    sign(bundle, tmp_path / "key")
    encrypt_bundle(bundle, tmp_path / "file", KEY)
    decrypt_bundle(tmp_path / "file", tmp_path / "out", KEY)
    assert signature_of(tmp_path / "out").read_bytes() == signature_of(bundle).read_bytes()
    assert signature_of(tmp_path / "out").stat().st_mode & 0o077 == 0
    verify(tmp_path / "out", public)


def test_a_signature_in_the_way_is_not_overwritten(bundle: Path, tmp_path: Path) -> None:
    new_key(tmp_path / "key")
    sign(bundle, tmp_path / "key")
    encrypt_bundle(bundle, tmp_path / "file", KEY)
    (tmp_path / "out.sig").write_text("mine")
    with pytest.raises(Refused, match="in the way"):
        decrypt_bundle(tmp_path / "file", tmp_path / "out", KEY)
    assert (tmp_path / "out.sig").read_text() == "mine"
    assert not (tmp_path / "out").exists()


def test_strangers_beside_the_sealed_files_do_not_go_along(bundle: Path, tmp_path: Path) -> None:
    (bundle / "diary").write_text("private")
    encrypt_bundle(bundle, tmp_path / "file", KEY)
    decrypt_bundle(tmp_path / "file", tmp_path / "out", KEY)
    assert "diary" not in content(tmp_path / "out")


def refused(file: Path, out: Path, error: type[Exception], secret: Secret = KEY) -> None:
    """Decrypting fails as a user's error, and nothing is left behind, not even the folder above."""
    before = sorted(os.listdir(file.parent))
    with pytest.raises(error):
        decrypt_bundle(file, out, secret)
    assert sorted(os.listdir(file.parent)) == before


def test_a_wrong_key_writes_nothing(file: Path, tmp_path: Path) -> None:
    refused(file, tmp_path / "deep" / "out", Refused, Secret(bytes(32), False))
    refused(file, tmp_path / "deep" / "out", Refused, Secret.of_passphrase("p"))


@pytest.mark.parametrize("end", [0, 40, 74, 75, 80, 75 + CHUNK + 16, -17, -1])
def test_a_file_cut_short_writes_nothing(file: Path, tmp_path: Path, end: int) -> None:
    file.write_bytes(file.read_bytes()[:end])
    refused(file, tmp_path / "out", (DataError, Refused))  # type: ignore[arg-type]


def test_a_file_damaged_near_its_end_writes_nothing(file: Path, tmp_path: Path) -> None:
    whole = bytearray(file.read_bytes())
    whole[-20] ^= 1
    file.write_bytes(whole)
    refused(file, tmp_path / "out", CorruptFile)


def test_places_that_are_taken_are_left_as_they_are(bundle: Path, file: Path, tmp_path: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(Refused, match="taken"):
        encrypt_bundle(bundle, file, KEY)
    assert file.read_bytes() == before
    with pytest.raises(Refused, match="taken"):
        decrypt_bundle(file, bundle, KEY)


def test_a_damaged_bundle_is_not_encrypted(bundle: Path, tmp_path: Path) -> None:
    (bundle / "README.md").write_text("other")
    with pytest.raises(CorruptFile):
        encrypt_bundle(bundle, tmp_path / "file", KEY)
    assert not (tmp_path / "file").exists()


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        encrypt_bundle(tmp_path / "none", tmp_path / "file", KEY)
    for place in (tmp_path / "none", tmp_path):
        with pytest.raises(NotFound):
            decrypt_bundle(place, tmp_path / "out", KEY)


def test_a_full_disk_leaves_nothing(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full"):
        encrypt_bundle(bundle, tmp_path / "file", KEY)
    assert os.listdir(tmp_path) == ["bundle"]


def made_by_hand(path: Path, index: Any, body: bytes = b"") -> Path:
    """An encrypted file by somebody who knows the key: any index, any body."""
    told = index if isinstance(index, bytes) else json.dumps(index).encode()
    with path.open("wb") as target:
        encrypt([len(told).to_bytes(8, "big"), told, body], target, KEY)
    return path


NAMES: list[Any] = [
    "../outside", "/tmp/outside", "a/b", "a\\b", "..", ".", "", ".hidden", "x\0y", "C:x", "a" * 201, "é", "\udc80",
    None, 3, ["x"],
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: Any) -> None:
    refused(made_by_hand(tmp_path / "file", {"files": [[name, 1]]}, b"x"), tmp_path / "out", CorruptFile)


INDEXES: dict[str, Any] = {
    "no JSON": b"{",
    "not UTF-8": b"\xff\xfe\xff",
    "deep": b"[" * 100_000,
    "a list": [],
    "null": None,
    "nothing": {},
    "files that are none": {"files": 3},
    "pairs of three": {"files": [["a", 1, 2]]},
    "a negative size": {"files": [["a", -1]]},
    "a size that is true": {"files": [["a", True]]},
    "a size that is a text": {"files": [["a", "1"]]},
    "a huge size": {"files": [["a", 10**18]]},
    "a number of too many digits": b'{"files": [["a", ' + b"9" * 5000 + b"]]}",
    "one name twice": {"files": [["a", 0], ["A", 0]]},
    "too many files": {"files": [[f"f{number}", 0] for number in range(1001)]},
    "a huge signature": {"files": [], "signature": 10**12},
    "no bundle": {"files": [["a", 4]]},
}


@pytest.mark.parametrize("index", INDEXES)
def test_an_index_that_is_none_is_refused(tmp_path: Path, index: str) -> None:
    refused(made_by_hand(tmp_path / "file", INDEXES[index], b"body"), tmp_path / "out", CorruptFile)


def test_an_index_longer_than_any_is_not_read(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as target:
        encrypt([(1 << 40).to_bytes(8, "big")], target, KEY)
    refused(tmp_path / "file", tmp_path / "out", CorruptFile)


def test_more_than_the_index_tells_of_is_refused(bundle: Path, tmp_path: Path) -> None:
    files = sorted(bundle.iterdir())
    index = {"files": [[path.name, path.stat().st_size] for path in files]}
    body = b"".join(path.read_bytes() for path in files)
    assert (
        decrypt_bundle(made_by_hand(tmp_path / "whole", index, body), tmp_path / "good", KEY).kind == "text"
    )
    refused(made_by_hand(tmp_path / "more", index, body + b"x"), tmp_path / "out", CorruptFile)


def test_memory_stays_small_whatever_the_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read and passed on piece by piece."""
    from bowerbird.store import encrypted_bundle

    sizes: list[int] = []
    real = encrypted_bundle.encrypt

    def watched(pieces: Any, *rest: Any, **more: Any) -> None:
        real((sizes.append(len(piece)) or piece for piece in pieces), *rest, **more)

    monkeypatch.setattr(encrypted_bundle, "encrypt", watched)
    monkeypatch.setattr(encrypted_bundle, "_PIECE", 1000)
    encrypt_bundle(tiny_bundle(tmp_path / "bundle", card="x" * 50_000), tmp_path / "file", KEY)
    assert max(sizes) <= 1000
