"""Encrypted files: what went in comes out; the format is what its page says; a key or a passphrase is one or none."""

from __future__ import annotations

import hmac
import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from bowerbird.base.errors import CorruptFile, DataError, MissingExtra, NotFound, Refused, UsageError
from bowerbird.store import encryption
from bowerbird.store.encryption import CHUNK, Secret, decrypt, encrypt, new_key_file

KEY = Secret(bytes(range(32)), False)
HEADER, PROOF, TAG = 43, 32, 16
WORK = 4  # a passphrase that is quick to try


def encrypted(content: bytes, secret: Secret = KEY, piece: int = 100_000) -> bytes:
    target = io.BytesIO()
    pieces = (content[at : at + piece] for at in range(0, len(content), piece))
    encrypt(pieces, target, secret, work=WORK)
    return target.getvalue()


def decrypted(file: bytes, secret: Secret = KEY) -> bytes:
    return b"".join(decrypt(io.BytesIO(file), secret, Path("file")))


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 7])
@pytest.mark.parametrize("piece", [999, CHUNK, 1 << 20])
def test_what_went_in_comes_out(size: int, piece: int) -> None:
    content = noise(size)
    file = encrypted(content, piece=piece)
    assert decrypted(file) == content
    assert len(file) == HEADER + PROOF + size + TAG * max(1, -(-size // CHUNK))


@pytest.mark.parametrize("secret", [KEY, Secret.of_passphrase("the sea")], ids=["key", "passphrase"])
def test_the_format_is_what_its_page_says(secret: Secret) -> None:
    """Read by hand, by nothing but the words at the top of the module."""
    content = noise(CHUNK + 100)
    file = encrypted(content, secret)
    magic, version, kind, work, salt = file[:8], file[8], file[9], file[10], file[11:43]
    assert (magic, version, kind) == (b"bowerenc", 1, int(secret.is_passphrase))
    material = secret.material
    if kind:
        material = Scrypt(salt=salt, length=32, n=2**work, r=8, p=1).derive(material)
    both = HKDF(algorithm=SHA256(), length=64, salt=salt, info=file[:43]).derive(material)
    assert hmac.digest(both[32:], file[:43], "sha256") == file[43:75]
    cipher, first = AESGCM(both[:32]), 75 + CHUNK + TAG
    assert cipher.decrypt(bytes(12), file[75:first], None) == content[:CHUNK]
    assert cipher.decrypt(bytes(10) + b"\x01\x01", file[first:], None) == content[CHUNK:]


def test_equal_contents_look_different_and_say_nothing() -> None:
    content = b"the sea " * 10_000
    first, second = encrypted(content), encrypted(content)
    assert first[11:43] != second[11:43], "the salts"
    assert first[75:200] != second[75:200]
    assert b"the sea" not in first


def test_a_chunk_is_given_only_after_it_was_proved() -> None:
    file = bytearray(encrypted(noise(3 * CHUNK)))
    file[-1] ^= 1
    chunks = decrypt(io.BytesIO(bytes(file)), KEY, Path("file"))
    assert [len(next(chunks)) for _ in range(2)] == [CHUNK, CHUNK]
    with pytest.raises(CorruptFile):
        next(chunks)


@pytest.mark.parametrize(
    ("secret", "wrong"),
    [
        (KEY, Secret(bytes(32), False)),
        (Secret.of_passphrase("the sea"), Secret.of_passphrase("the see")),
        (Secret.of_passphrase("the sea"), Secret.of_passphrase("the sea ")),
    ],
)
def test_a_wrong_key_is_refused_before_anything_is_given(secret: Secret, wrong: Secret) -> None:
    with pytest.raises(Refused, match="does not open") as caught:
        decrypt(io.BytesIO(encrypted(b"x", secret)), wrong, Path("file"))
    assert caught.value.exit_code == 5
    assert "nothing was written" in (caught.value.hint or "")


def test_a_key_file_and_a_passphrase_of_the_same_bytes_are_told_apart() -> None:
    for secret, other, wanted in (
        (KEY, Secret(KEY.material, True), "a key file, not a passphrase"),
        (Secret(KEY.material, True), KEY, "a passphrase, not a key file"),
    ):
        with pytest.raises(Refused, match=wanted):
            decrypt(io.BytesIO(encrypted(b"x", secret)), other, Path("file"))


def test_every_bit_of_the_header_counts() -> None:
    file = encrypted(b"the sea", Secret.of_passphrase("p"))
    for place in range(HEADER + PROOF):
        for bit in range(8):
            changed = bytearray(file)
            changed[place] ^= 1 << bit
            if place == 10 and not 1 <= changed[place] <= 10:
                continue  # more work than a test has time for
            with pytest.raises((Refused, DataError)):
                decrypted(bytes(changed), Secret.of_passphrase("p"))


CHUNKED = encrypted(noise(3 * CHUNK + 500))
SEALED = CHUNK + TAG


def chunk(number: int) -> bytes:
    start = HEADER + PROOF + number * SEALED
    return CHUNKED[start : start + SEALED]


HEAD = CHUNKED[: HEADER + PROOF]
TAMPERED: dict[str, bytes] = {
    "cut to nothing": HEAD,
    "cut after a chunk": HEAD + chunk(0),
    "cut after two": HEAD + chunk(0) + chunk(1),
    "without its last chunk": HEAD + chunk(0) + chunk(1) + chunk(2),
    "cut in a tag": CHUNKED[:-1],
    "one byte in the last": CHUNKED[:-500],
    "swapped": HEAD + chunk(1) + chunk(0) + chunk(2) + chunk(3),
    "twice": HEAD + chunk(0) + chunk(0) + chunk(1) + chunk(2) + chunk(3),
    "left out": HEAD + chunk(0) + chunk(2) + chunk(3),
    "the last only": HEAD + chunk(3),
    "the last twice": CHUNKED + chunk(3),
    "longer by a byte": CHUNKED + b"x",
    "longer by a chunk": CHUNKED + bytes(SEALED),
    "another's chunk": HEAD + encrypted(noise(3 * CHUNK + 500))[len(HEAD) :],
}


@pytest.mark.parametrize("tampering", TAMPERED)
def test_a_file_that_was_cut_moved_about_or_prolonged_is_refused(tampering: str) -> None:
    with pytest.raises(CorruptFile, match="changed, cut short or damaged"):
        decrypted(TAMPERED[tampering])


def test_any_byte_changed_is_noticed() -> None:
    chance = random.Random(5)
    for place in [75, len(CHUNKED) - 1, *(chance.randrange(75, len(CHUNKED)) for _ in range(40))]:
        changed = bytearray(CHUNKED)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(CorruptFile):
            decrypted(bytes(changed))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", DataError),
        (b"bowerenc", DataError),
        (b"PK\x03\x04" + bytes(200), DataError),
        (b"bowerenc\x02\x00\x00" + bytes(64), CorruptFile),
        (b"bowerenc\x00\x00\x00" + bytes(64), CorruptFile),
        (b"bowerenc\x01\x02\x00" + bytes(64), CorruptFile),
        (b"bowerenc\x01\x00\x05" + bytes(64), CorruptFile),
        (b"bowerenc\x01\x01\x00" + bytes(64), CorruptFile),
        (b"bowerenc\x01\x01\x3f" + bytes(64), CorruptFile),
    ],
)
def test_a_file_that_is_not_one_is_said_to_be_none(content: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        decrypt(io.BytesIO(content), KEY, Path("file"))


def test_a_file_cannot_make_its_reader_work_for_ever() -> None:
    """scrypt with N = 2**63 would ask for all memory; the header is refused before a key is made of it."""
    with pytest.raises(CorruptFile):
        decrypt(io.BytesIO(b"bowerenc\x01\x01\x3f" + bytes(64)), Secret.of_passphrase("p"), Path("file"))


def test_a_newer_format_says_to_install_a_newer_version() -> None:
    with pytest.raises(CorruptFile, match="format 9") as caught:
        decrypt(io.BytesIO(b"bowerenc\x09" + CHUNKED[9:]), KEY, Path("file"))
    assert "newer bowerbird" in (caught.value.hint or "")


def test_a_key_file_is_made_private_and_read_as_openssl_writes_them(tmp_path: Path) -> None:
    new_key_file(tmp_path / "a")
    new_key_file(tmp_path / "b")
    first, second = (Secret.of_key_file(tmp_path / name) for name in "ab")
    assert first != second
    assert len(first.material) == 32
    assert (tmp_path / "a").stat().st_mode & 0o077 == 0
    (tmp_path / "raw").write_bytes(first.material)
    assert Secret.of_key_file(tmp_path / "raw") == first
    with pytest.raises(Refused, match="taken"):
        new_key_file(tmp_path / "a")


@pytest.mark.parametrize(
    "content", [b"", b"secret", b"0" * 63, b"zz" * 32, b"\xff" * 64, b"00" * 64, bytes(33)]
)
def test_a_file_that_is_no_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "key").write_bytes(content)
    with pytest.raises(DataError, match="not a key"):
        Secret.of_key_file(tmp_path / "key")
    with pytest.raises(NotFound):
        Secret.of_key_file(tmp_path / "none")


def test_a_passphrase_is_the_same_however_its_accents_are_typed() -> None:
    assert Secret.of_passphrase("caf\u00e9") == Secret.of_passphrase("cafe\u0301")
    assert Secret.of_passphrase("a") != Secret.of_passphrase("A")
    with pytest.raises(UsageError, match="empty"):
        Secret.of_passphrase("")


def test_a_secret_is_not_shown() -> None:
    assert "sea" not in repr(Secret.of_passphrase("the sea"))


def test_the_work_of_guessing_is_what_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    target = io.BytesIO()
    real: Callable[..., object] = encryption._keys
    monkeypatch.setattr(encryption, "_keys", lambda secret, header: real(Secret(bytes(32), False), header))
    encrypt([b"x"], target, Secret.of_passphrase("p"))
    assert target.getvalue()[9:11] == bytes([1, 17])


def test_without_its_packages_encryption_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encryption.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra) as caught:
        encrypted(b"x")
    assert "bowerbird[security]" in (caught.value.hint or "")
