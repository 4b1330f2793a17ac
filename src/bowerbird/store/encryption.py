"""A file that only its key opens: AES-256-GCM in chunks, written and read as a stream.

    magic    8 bytes   bowerenc
    format   1         1
    secret   1         0 a key file, 1 a passphrase
    work     1         of a passphrase log2 of scrypt's N (r = 8, p = 1), else 0
    salt     32        random, new for each file
    proof    32        HMAC-SHA256 of all above
    chunks             the content in pieces of 65,536 bytes, each with its tag of 16 behind it

HKDF-SHA256 makes two keys, one of the chunks and one of the proof, from the key file or from scrypt of the passphrase;
its salt is the file's and its info all that stands before the proof. So a wrong key is known before anything is
written, and a changed header opens nothing. A chunk's nonce is its number in 11 bytes and in the last byte whether it
is the last one: no chunk can be left out, moved or added, nor the file cut short (STREAM, Hoang et al., Crypto 2015).
"""

from __future__ import annotations

import hmac
import importlib.util
import os
import struct
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bowerbird.base.errors import CorruptFile, DataError, MissingExtra, NotFound, Refused, UsageError
from bowerbird.base.files import check_format, whole_file

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

MAGIC = b"bowerenc"
FORMAT = 1
CHUNK = 1 << 16
WORK = 17
"""log2 of scrypt's N: 128 MiB of memory and some tenths of a second for each guess at a passphrase."""
_MOST_WORK = 18
"""A file may ask for so much memory of its reader: 256 MiB."""
_TAG = 16
_HEADER = struct.Struct(">8sBBB32s")
_PROOF = 32


@dataclass(frozen=True)
class Secret:
    """What opens a file: the 32 bytes of a key file, or a passphrase."""

    material: bytes = field(repr=False)
    is_passphrase: bool

    @classmethod
    def of(cls, key: str | Path | None, passphrase: str | None) -> Secret:
        """The one of the two that is given.

        Raises:
            UsageError: none is, or both are.
        """
        if key is not None and passphrase is None:
            return cls.of_key_file(Path(key))
        if passphrase is not None and key is None:
            return cls.of_passphrase(passphrase)
        raise UsageError(
            "an encrypted model needs a key file or a passphrase, one of the two",
            hint="--key F, --passphrase-file F, or BOWERBIRD_PASSPHRASE",
        )

    @classmethod
    def of_key_file(cls, path: Path) -> Secret:
        """The key in a file: 32 bytes, or 64 hexadecimal digits as `openssl rand -hex 32` writes them.

        Raises:
            NotFound: there is no such file.
            DataError: it holds something else.
        """
        if not path.is_file():
            raise NotFound("there is no key here", where=path, hint=_MAKE)
        with path.open("rb") as file:
            content = file.read(200)
        if len(content) == 32:
            return cls(content, False)
        try:
            material = bytes.fromhex(content.decode("ascii"))
        except ValueError:
            material = b""
        if len(material) != 32:
            raise DataError(
                "this is not a key of 32 bytes, or of 64 hexadecimal digits", where=path, hint=_MAKE
            )
        return cls(material, False)

    @classmethod
    def of_passphrase(cls, text: str) -> Secret:
        """A passphrase, the same whether its accents were typed as one character or as two."""
        if not text:
            raise UsageError("the passphrase is empty")
        return cls(unicodedata.normalize("NFC", text).encode("utf-8", "surrogatepass"), True)


def new_key_file(path: Path) -> None:
    """Make a key file of 32 random bytes, as hexadecimal digits.

    Raises:
        Refused: there is something at `path`.
    """
    with whole_file(path) as file:
        file.write(f"{os.urandom(32).hex()}\n".encode())


def encrypt(pieces: Iterable[bytes], target: BinaryIO, secret: Secret, *, work: int = WORK) -> None:
    """Write the content that comes in pieces of any size."""
    told = work if secret.is_passphrase else 0
    header = _HEADER.pack(MAGIC, FORMAT, int(secret.is_passphrase), told, os.urandom(32))
    cipher, proof = _keys(secret, header)
    target.write(header + proof)
    waiting, number = bytearray(), 0
    for piece in pieces:
        waiting += piece
        while len(waiting) > CHUNK:
            target.write(cipher.encrypt(_nonce(number, last=False), bytes(waiting[:CHUNK]), None))
            del waiting[:CHUNK]
            number += 1
    target.write(cipher.encrypt(_nonce(number, last=True), bytes(waiting), None))


def decrypt(source: BinaryIO, secret: Secret, where: Path) -> Iterator[bytes]:
    """The content chunk by chunk, each proved before it is given; the file is whole only when the last has come.

    Args:
        where: the file, as errors name it.

    Raises:
        DataError: this is no such file.
        CorruptFile: it is damaged or of a newer format; of chunks, when they are reached.
        Refused: the key or the passphrase is not the one, before any chunk is given.
    """
    header = source.read(_HEADER.size)
    if len(header) < _HEADER.size or not header.startswith(MAGIC):
        raise DataError("this file was not made by `bowerbird encrypt`", where=where)
    _, version, kind, work, _ = _HEADER.unpack(header)
    check_format(version, FORMAT, "encrypted file", where)
    if kind > 1 or not ((1 <= work <= _MOST_WORK) if kind else work == 0):
        raise CorruptFile("this encrypted file is damaged: its header is not one", where=where)
    if bool(kind) != secret.is_passphrase:
        wanted, given = ("a passphrase", "a key file") if kind else ("a key file", "a passphrase")
        raise Refused(f"this file was encrypted with {wanted}, not {given}", where=where)
    cipher, proof = _keys(secret, header)
    if not hmac.compare_digest(proof, source.read(_PROOF)):
        raise Refused(
            f"this {'passphrase' if kind else 'key'} does not open the file",
            where=where,
            hint="it is the wrong one, or the first bytes of the file were changed; nothing was written",
        )
    return _chunks(cipher, source, where)


def _chunks(cipher: AESGCM, source: BinaryIO, where: Path) -> Iterator[bytes]:
    from cryptography.exceptions import InvalidTag

    ahead, number = source.read(CHUNK + _TAG), 0
    while True:
        chunk, ahead = ahead, source.read(CHUNK + _TAG)
        try:
            yield cipher.decrypt(_nonce(number, last=not ahead), chunk, None)
        except InvalidTag as error:
            raise CorruptFile(
                "this encrypted file was changed, cut short or damaged",
                where=where,
                hint="nothing was written; get a whole copy of it",
            ) from error
        if not ahead:
            return
        number += 1


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _keys(secret: Secret, header: bytes) -> tuple[AESGCM, bytes]:
    """The cipher of a file's chunks, and the proof that belongs to its header."""
    if not importlib.util.find_spec("cryptography"):
        raise MissingExtra("encryption", "security")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    _, _, _, work, salt = _HEADER.unpack(header)
    material = secret.material
    if secret.is_passphrase:
        material = Scrypt(salt=salt, length=32, n=1 << work, r=8, p=1).derive(material)
    both = HKDF(algorithm=SHA256(), length=64, salt=salt, info=header).derive(material)
    return AESGCM(both[:32]), hmac.digest(both[32:], header, "sha256")


_MAKE = "make one: bowerbird encrypt MODEL --out F --new-key KEY, or openssl rand -hex 32"
