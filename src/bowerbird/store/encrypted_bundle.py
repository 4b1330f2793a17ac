"""A bundle as one encrypted file, its signature with it.

Inside the encryption stand the length of an index (8 bytes, big-endian), the index as JSON, `{"files": [[name, bytes],
...], "signature": bytes}`, and then the files and the signature, one behind the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird.base.errors import BowerbirdError, CorruptFile, DataError, NotFound, Refused
from bowerbird.base.files import whole_file, whole_folder, write_whole
from bowerbird.base.listed import NAME
from bowerbird.store.bundle import MANIFEST, Bundle, open_bundle
from bowerbird.store.encryption import WORK, Secret, decrypt, encrypt
from bowerbird.store.signing import signature_of

_MOST_FILES = 1000
_MOST_SMALL = 1 << 20
"""Of the index and of the signature, in bytes."""
_PIECE = 1 << 20


def encrypt_bundle(bundle: Path, out: Path, secret: Secret, *, work: int = WORK) -> Bundle:
    """Write a bundle that is whole, with its signature if it has one, into the new file `out`.

    Raises:
        NotFound, CorruptFile: there is no bundle, or it is damaged.
        Refused: `out` is taken.
    """
    found = open_bundle(bundle.resolve())
    members = [found.path / name for name in sorted({MANIFEST, *found.manifest["files"]})]
    signature = signature_of(found.path)
    sizes = [path.stat().st_size for path in members]
    index: dict[str, Any] = {"files": [[path.name, size] for path, size in zip(members, sizes, strict=True)]}
    if signature.is_file():
        index["signature"] = signature.stat().st_size
        members, sizes = [*members, signature], [*sizes, index["signature"]]
    with whole_file(out) as target:
        encrypt(_packed(index, members, sizes), target, secret, work=work)
    return found


def decrypt_bundle(file: Path, out: Path, secret: Secret) -> Bundle:
    """Bring a bundle back into the new folder `out`, and its signature beside it; whole and checked, or not at all.

    Raises:
        NotFound: there is no such file.
        DataError, CorruptFile: it is not one of ours, or not as it was.
        Refused: the key is wrong, or `out` is taken.
    """
    if not file.is_file():
        raise NotFound("there is no encrypted file here", where=file)
    with file.open("rb") as source:
        content = _Content(decrypt(source, secret, file), file)
        index = _read_index(content)
        signature = signature_of(out)
        if index.signature and signature.exists():
            raise Refused("a signature is in the way", where=signature, hint="choose another --out")
        with whole_folder(out) as building:
            for name, size in index.files:
                with (building / name).open("xb") as target:
                    for piece in content.take(size):
                        target.write(piece)
            signed = b"".join(content.take(index.signature))
            content.end()
            found = _checked(building, file)
        if signed:
            write_whole(signature, signed)
    return Bundle(out, found.manifest)


def _packed(index: dict[str, Any], members: list[Path], sizes: list[int]) -> Iterator[bytes]:
    told = json.dumps(index).encode()
    yield len(told).to_bytes(8, "big") + told
    for path, size in zip(members, sizes, strict=True):
        read = 0
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                read += len(piece)
                yield piece
        if read != size:
            raise DataError(
                "this file changed while it was read", where=path, hint="run the same command again"
            )


class _Content:
    """The decrypted content, taken in parts of known size."""

    def __init__(self, chunks: Iterator[bytes], where: Path):
        self.where = where
        self._chunks = chunks
        self._ahead = b""

    def take(self, size: int) -> Iterator[bytes]:
        """The next `size` bytes, in pieces."""
        while size:
            if not self._ahead:
                self._ahead = next(self._chunks, b"")
                if not self._ahead:
                    raise self.damaged("it ends too soon")
            piece, self._ahead = self._ahead[:size], self._ahead[size:]
            size -= len(piece)
            yield piece

    def end(self) -> None:
        """Nothing may be left, and the last chunk must have come: only then is the file whole."""
        if self._ahead or any(self._chunks):
            raise self.damaged("something follows its end")

    def damaged(self, why: str) -> CorruptFile:
        return CorruptFile(f"this encrypted file holds no model: {why}", where=self.where)


@dataclass(frozen=True)
class _Index:
    files: tuple[tuple[str, int], ...]
    signature: int


def _read_index(content: _Content) -> _Index:
    """What the file says that it holds. Whoever knows the key may have written anything here."""
    length = int.from_bytes(b"".join(content.take(8)), "big")
    if length > _MOST_SMALL:
        raise content.damaged("its index is too long")
    try:
        told = json.loads(b"".join(content.take(length)))
        files = tuple((name, size) for name, size in told["files"])
        signature = told.get("signature", 0)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise content.damaged(f"its index is not one ({error})") from error
    sizes = [size for _, size in files]
    if len(files) > _MOST_FILES or not all(type(size) is int and size >= 0 for size in [*sizes, signature]):
        raise content.damaged("its index is not one")
    if signature > _MOST_SMALL:
        raise content.damaged("its signature is too long")
    for name, _ in files:
        if not (isinstance(name, str) and NAME.fullmatch(name)):
            raise content.damaged(f"no file of a bundle is called {name!r}")
    if len({name.lower() for name, _ in files}) < len(files):
        raise content.damaged("two of its files have one name")
    return _Index(files, signature)


def _checked(building: Path, file: Path) -> Bundle:
    try:
        return open_bundle(building)
    except BowerbirdError as error:
        raise CorruptFile(f"this encrypted file holds no whole model: {error.what}", where=file) from error
