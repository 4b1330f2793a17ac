"""A dataset on disk: tokens by split, a table of documents, the codec. Prepared once, never edited.

    dataset.json            format, kind, codec, normaliser, splits, files with their digests, digest
    train.tokens ...        little-endian unsigned tokens, documents one after another
    train.documents.npy     (documents, 4) int64: first token, tokens, UTF-8 bytes, 1 if its end is there
    tokenizer.json          where the codec has one
    ledger.jsonl            what became of each source item

Every document begins with the document token; the next one's is its end. Text bytes leave markers out.

Of pictures, the tokens are their pixels, (N, H, W, C) row by row, and nothing else; a document is a
picture, its bytes are its pixels, and

    train.labels.npy ...    (pictures,) int32: which of the codec's classes each is of, -1 for none
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.digest import digest_file, seal_holds, sealed
from bowerbird.base.errors import CorruptFile, NotFound, UsageError
from bowerbird.base.files import check_format, read_json, write_json
from bowerbird.base.listed import changed, check_listed
from bowerbird.data.codecs import Codec, load_codec, suits
from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.codecs.pixels import Pixels
from bowerbird.data.markers import plain
from bowerbird.data.normaliser import Normaliser

FORMAT = 1
SPLITS = ("train", "valid", "test")
_NOT_SEALED = ("dataset.json", "ledger.jsonl")
_DECODE_TOKENS = 1 << 22


class DatasetWriter(AbstractContextManager["DatasetWriter"]):
    """Writes the token files and the tables of a dataset into an existing folder. Closes them if it fails."""

    def __init__(self, folder: Path, codec: Codec):
        self.folder = folder
        self.codec = codec
        self._type = np.dtype(_token_type(codec.vocab_size))
        self._files = {split: (folder / f"{split}.tokens").open("wb") for split in SPLITS}
        self._documents = {split: array("q") for split in SPLITS}  # four numbers a document
        self._labels = {split: array("i") for split in SPLITS}
        self._tokens = dict.fromkeys(SPLITS, 0)

    def add(self, split: str, pieces: Iterable[str], *, whole: bool = True) -> None:
        """Append one document. `whole` is False for a part of one that does not reach its end."""
        first = self._tokens[split]
        written, size = self._write(split, np.array([DOCUMENT_TOKEN])), 0
        for piece in pieces:
            written += self._write(split, self.codec.encode(piece))
            size += len(plain(piece).encode("utf-8", "replace"))
        self._documents[split].extend((first, written, size, int(whole)))

    def add_picture(self, split: str, pixels: NDArray[np.uint8], label: int) -> None:
        """Append one (H, W, C) picture as it is, with the number of its class, or -1."""
        first = self._tokens[split]
        written = self._write(split, pixels.reshape(-1))
        self._documents[split].extend((first, written, written, 1))
        self._labels[split].append(label)

    def __exit__(self, *failure: object) -> None:
        for file in self._files.values():
            file.close()

    def _write(self, split: str, tokens: NDArray[Any]) -> int:
        self._files[split].write(tokens.astype(self._type).tobytes())
        self._tokens[split] += len(tokens)
        return len(tokens)

    def finish(self, info: dict[str, Any]) -> dict[str, Any]:
        """Close the files and write `dataset.json`; returns its content. `info` is added to it."""
        self.__exit__()
        tables = {split: np.array(rows, np.int64).reshape(-1, 4) for split, rows in self._documents.items()}
        for name, file_content in self.codec.files().items():
            (self.folder / name).write_bytes(file_content)
        for split, table in tables.items():
            np.save(self.folder / f"{split}.documents.npy", table)
            if isinstance(self.codec, Pixels):
                np.save(self.folder / f"{split}.labels.npy", np.array(self._labels[split], np.int32))
        files = sorted(path for path in self.folder.iterdir() if path.name not in _NOT_SEALED)
        content = {
            **info,
            "format": FORMAT,
            "codec": self.codec.describe(),
            "token_type": self._type.name,
            "splits": {
                split: {
                    "documents": len(table),
                    "tokens": self._tokens[split],
                    "bytes": int(table[:, 2].sum()),
                }
                for split, table in tables.items()
            },
            "files": {path.name: digest_file(path) for path in files if path.is_file()},
        }
        content = sealed(content)
        write_json(self.folder / "dataset.json", content)
        return content


@dataclass(frozen=True)
class Dataset:
    """An opened dataset. `info` is the content of its `dataset.json`."""

    path: Path
    info: dict[str, Any]
    codec: Codec
    normaliser: Normaliser
    summary: dict[str, Any] = field(default_factory=dict)
    """What `prepare` said of it, when it has just been made."""

    @classmethod
    def open(cls, path: Path | str, *, verify: bool = True) -> Dataset:
        """Open and check a dataset folder.

        Raises:
            NotFound: there is none at `path`.
            CorruptFile: a file is missing or changed, or the format is newer than this version.
        """
        path = Path(path)
        if not (path / "dataset.json").exists():
            raise NotFound(
                "there is no dataset here", where=path, hint="bowerbird prepare SOURCE --out DATASET"
            )
        info = read_json(path / "dataset.json", "dataset")
        if not isinstance(info, dict):
            raise CorruptFile("this dataset is damaged", where=path / "dataset.json")
        check_format(info.get("format"), FORMAT, "dataset", path)
        if not seal_holds(info):
            raise changed("dataset", path / "dataset.json", _AGAIN)
        _check_shape(info, path / "dataset.json")
        check_listed(path, info["files"], path / "dataset.json", "dataset", _AGAIN, verify=verify)
        files = {name: (path / name).read_bytes() for name in info["files"] if name.endswith(".json")}
        codec = load_codec(info.get("codec", {}), files)
        if not suits(codec, info["kind"]):
            raise CorruptFile("this codec is not for such data", where=path / "dataset.json", hint=_AGAIN)
        try:
            normaliser = Normaliser.model_validate(info.get("normaliser"))
        except ValueError as error:
            raise CorruptFile(
                f"the normaliser cannot be read: {error}", where=path / "dataset.json"
            ) from error
        found = cls(path, info, codec, normaliser)
        if verify:
            found._check_tables()
        return found

    @property
    def kind(self) -> str:
        return str(self.info["kind"])

    @property
    def digest(self) -> str:
        return str(self.info["digest"])

    @property
    def structure(self) -> str:
        """`chat` where documents are made of speaker turns, `labelled` where pictures have classes, else `plain`."""
        return str(self.info.get("structure", "plain"))

    def tokens(self, split: str) -> NDArray[Any]:
        """(tokens,) of a split, mapped from disk, in the dataset's own unsigned type."""
        dtype = np.dtype(self.info["token_type"])
        path = self.path / f"{split}.tokens"
        return np.memmap(path, dtype, "r") if path.stat().st_size else np.zeros(0, dtype)

    def documents(self, split: str) -> NDArray[np.int64]:
        """(documents, 4): first token, tokens with the leading marker, UTF-8 bytes, 1 if it has its end."""
        table: NDArray[np.int64] = np.load(self.path / f"{split}.documents.npy", allow_pickle=False)
        return table

    def _check_tables(self) -> None:
        """Refuse tables that are sealed but speak of tokens that are not there, or that the codec lacks."""
        itemsize = np.dtype(self.info["token_type"]).itemsize
        for split in SPLITS:
            told, where = self.info["splits"][split], self.path / f"{split}.tokens"
            size = told["tokens"]
            whole = where.stat().st_size == size * itemsize
            if not whole or (size and int(self.tokens(split).max()) >= self.codec.vocab_size):
                raise CorruptFile("these are not the tokens of the dataset", where=where, hint=_AGAIN)
            where = self.path / f"{split}.documents.npy"
            table = _table(where, (told["documents"], 4), np.int64)
            inside = (
                (table >= 0).all() and (table[:, :2] <= size).all() and (table[:, :2].sum(1) <= size).all()
            )
            if not inside:
                raise CorruptFile("this table names documents that are not there", where=where, hint=_AGAIN)
            if isinstance(self.codec, Pixels):
                where = self.path / f"{split}.labels.npy"
                labels = _table(where, (told["documents"],), np.int32)
                known = (labels >= -1).all() and (labels < len(self.codec.classes)).all()
                if not known or size != told["documents"] * math.prod(self.codec.shape):
                    raise CorruptFile("these labels are not of the pictures here", where=where, hint=_AGAIN)

    def images(self, split: str) -> NDArray[np.uint8]:
        """(N, H, W, C) pictures of a split, mapped from disk.

        Raises:
            UsageError: this dataset holds no pictures.
        """
        shape = self._pixels().shape
        return self.tokens(split).reshape(-1, *shape)

    def labels(self, split: str) -> NDArray[np.int32]:
        """(N,) which of `codec.classes` each picture of a split is of; -1 for none.

        Raises:
            UsageError: this dataset holds no pictures.
        """
        self._pixels()
        labels: NDArray[np.int32] = np.load(self.path / f"{split}.labels.npy", allow_pickle=False)
        return labels

    def _pixels(self) -> Pixels:
        if not isinstance(self.codec, Pixels):
            raise UsageError(f"this dataset holds no pictures: it is of kind {self.kind}", where=self.path)
        return self.codec

    def units_per_token(self) -> float:
        """Of the training split: bytes of text, notes, or pictures that a token stands for on average."""
        if isinstance(self.codec, Pixels):
            return 1 / math.prod(self.codec.shape)
        train = self.info["splits"]["train"]
        if self.codec.unit == "byte":
            return float(train["bytes"]) / max(int(train["tokens"]), 1)
        counts = np.bincount(self.tokens("train"), minlength=self.codec.vocab_size)
        return float((counts * self.codec.byte_sizes).sum() / max(counts.sum(), 1))

    def held_out(self) -> str:
        """The split to judge by: `test`, or `valid` where test is empty.

        Raises:
            UsageError: both are empty.
        """
        for split in ("test", "valid"):
            if self.info["splits"][split]["documents"]:
                return split
        raise UsageError(
            "this dataset has nothing held out to judge by",
            where=self.path,
            hint="prepare it with --set split.test=0.05",
        )

    def text(self, split: str, document: int) -> str:
        """One document's text, markers of speaker turns included."""
        first, count, *_ = self.documents(split)[document]
        return self.codec.decode(self.tokens(split)[first + 1 : first + count])

    def pieces(self, split: str) -> Iterator[str]:
        """The whole text of a split in bounded pieces, a document marker before each document."""
        tokens = self.tokens(split)
        decoder = self.codec.decoder()
        for start in range(0, len(tokens), _DECODE_TOKENS):
            yield "".join([decoder.push(token) for token in tokens[start : start + _DECODE_TOKENS].tolist()])
        if rest := decoder.flush():
            yield rest


def batch(tokens: NDArray[Any], seed: int, step: int, rows: int, length: int) -> NDArray[np.int64]:
    """Training windows as a pure function of (seed, step): (rows, length + 1) int64.

    Each row is a stream of its own that reads on where its window of the step before ended, and goes
    round at the end of the text; rows start evenly spread, so a carried state fits its row.
    """
    total = len(tokens)
    starts = window_starts(total, seed, step, rows, length)
    windows = [
        tokens[start : start + length + 1]
        if start + length + 1 <= total
        else tokens[(start + np.arange(length + 1)) % total]
        for start in starts.tolist()
    ]
    return np.stack(windows).astype(np.int64)


def window_starts(total: int, seed: int, step: int, rows: int, length: int) -> NDArray[np.int64]:
    """Where in a text of `total` tokens the windows of a step begin: (rows,)."""
    return read_from(total, seed, step, rows, length) % total


def read_from(total: int, seed: int, step: int, rows: int, length: int) -> NDArray[np.int64]:
    """As `window_starts`, counted on past the end: divided by `total`, how often a row has gone round."""
    shift = int(np.random.default_rng(seed).integers(total))
    places: NDArray[np.int64] = shift + (np.arange(rows) * total) // rows + step * length
    return places


_AGAIN = "prepare it again from its sources"


def _check_shape(info: dict[str, Any], where: Path) -> None:
    """Refuse a description that is sealed but does not describe a dataset."""
    counts = ("documents", "tokens", "bytes")
    splits = info.get("splits")
    labels = (".labels.npy",) if info.get("kind") == "image" else ()
    whole = (
        isinstance(info.get("kind"), str)
        and isinstance(info.get("files"), dict)
        and {f"{split}{end}" for split in SPLITS for end in (".tokens", ".documents.npy", *labels)}
        <= set(info["files"])
        and isinstance(splits, dict)
        and all(isinstance(splits.get(split), dict) for split in SPLITS)
        and all(
            type(found := splits[split].get(count)) is int and found >= 0
            for split in SPLITS
            for count in counts
        )
        and info.get("token_type") in ("uint8", "uint16", "uint32")
    )
    if not whole:
        raise CorruptFile("this is not the description of a dataset", where=where, hint=_AGAIN)


def _table(where: Path, shape: tuple[int, ...], dtype: type) -> NDArray[Any]:
    """A table that `np.save` wrote with this shape and type; nothing is believed that the file's size belies."""
    kind = np.dtype(dtype)
    told = f"{{'descr': {kind.str!r}, 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    with where.open("rb") as file:
        begins = file.read(10)
        length = int.from_bytes(begins[8:], "little")
        right = begins[:8] == b"\x93NUMPY\x01\x00" and file.read(length).rstrip(b" \n") == told
    if not right or where.stat().st_size != 10 + length + math.prod(shape) * kind.itemsize:
        raise CorruptFile("this table is not the one that the dataset speaks of", where=where, hint=_AGAIN)
    table: NDArray[Any] = np.load(where, allow_pickle=False)
    return table


def _token_type(vocab_size: int) -> str:
    if vocab_size <= 1 << 8:
        return "uint8"
    return "uint16" if vocab_size <= 1 << 16 else "uint32"
