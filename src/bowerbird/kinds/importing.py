"""A foreign model file becomes a bundle: its tokens become characters of our codec, its weights our network's.

V tokens of the file, N of the bundle: markers and halves of bytes come first, which a foreign model does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from bowerbird.base.digest import digest_file, digest_json
from bowerbird.base.errors import BowerbirdError, CorruptFile, DataError, NotFound, Refused, UsageError
from bowerbird.base.files import whole_folder
from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.codecs.pieces import FIRST_LEARNT, Characters
from bowerbird.data.markers import NONCHARACTERS
from bowerbird.data.normaliser import Normaliser
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.text_settings import TextRun
from bowerbird.store.bundle import MANIFEST, open_bundle, write_bundle
from bowerbird.store.importers import IMPORTERS
from bowerbird.store.importers.importer import Foreign, Importer
from bowerbird.store.importers.safetensors import WEIGHTS
from bowerbird.store.importers.symbols import TEXT_BEGINS, Symbols, read_symbols

UNLIKELY = 16.0
"""How many nats the logits of tokens that a foreign model does not know lie below the mean of the others.

The mean of the logits is at most their log-sum-exp less log V, so each such token gets at most e^-16 / V.
"""
_KEPT = ("kind", "config", "codec", "normaliser", "structure", "step")


def import_file(
    path: Path, out: Path, symbols: str | Path | Sequence[str | None] | None = None
) -> dict[str, Any]:
    """Read a foreign model file and write the bundle, whole or not at all. Returns its manifest.

    Args:
        path: a file, or a folder that was exported to `safetensors`.
        out: the bundle to make.
        symbols: the text of each token, or a JSON file of them, where the file does not tell.

    Raises:
        Refused: opening the file would run code, or `out` is taken.
        DataError: it holds no network that ours can be.
        CorruptFile: it is damaged.
        UsageError: it is of no format that can be read, or its symbols are not told.
    """
    importer = importer_of(path)
    told = read_symbols(Path(symbols)) if isinstance(symbols, str | Path) else symbols
    try:
        foreign = importer.read(path)
        if told is not None:
            foreign = replace(foreign, symbols=tuple(told))
        manifest, content = _own(foreign) if foreign.manifest is not None else _new(foreign)
    except BowerbirdError as error:
        error.where = error.where or str(path)
        raise
    manifest["lineage"] = {
        **manifest["lineage"],
        "imported": {
            "format": foreign.format,
            "digest": digest_file(path / WEIGHTS if path.is_dir() else path),
            "notes": list(foreign.notes),
            "pickled": list(foreign.pickled),
        },
    }
    with whole_folder(out) as folder:
        try:
            written = write_bundle(folder, manifest, **content)
            Model(open_bundle(folder))
        except (
            CorruptFile,
            RuntimeError,
            MemoryError,
        ) as error:  # torch has RuntimeError for too little memory
            first = str(error).partition("\n")[0]
            raise CorruptFile(f"this file holds no sound model: {first}", where=path) from error
    return written


def importer_of(path: Path) -> Importer:
    """The importer for a file, by its suffix.

    Raises:
        NotFound: there is nothing at this path.
        DataError: it, or something in the folder, is neither a file nor a folder, and might never end.
        UsageError: no importer reads such files.
    """
    if not path.exists():
        raise NotFound("this file is not there", where=path)
    for one in path.iterdir() if path.is_dir() else [path]:
        if not (one.is_file() or one.is_dir()):
            raise DataError("this is a device, a pipe or a broken link, not a file", where=one)
    suffix = "" if path.is_dir() else path.suffix.lower()
    for importer in IMPORTERS.values():
        if suffix in importer.suffixes and (suffix or path.is_dir()):
            return importer
    known = ", ".join(name for importer in IMPORTERS.values() for name in importer.suffixes if name)
    raise UsageError(f"`{suffix}` files cannot be imported", where=path, hint=f"these can: {known}")


def _own(foreign: Foreign) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and content of the bundle that one of our own exports was made of."""
    found = foreign.manifest or {}
    missing = [key for key in _KEPT if key not in found]
    if missing or found["config"].get("model") != foreign.architecture:
        raise CorruptFile("this export's description of its bundle is damaged")
    for name in foreign.codec_files:
        if Path(name).name != name or not name.endswith(".json") or name == MANIFEST:
            raise Refused(f"this export tries to write outside its folder: {name!r}")
    lineage = found.get("lineage")
    lineage = lineage if isinstance(lineage, dict) else {}
    digest = found.get("digest")
    return {
        **{key: found[key] for key in _KEPT},
        "lineage": {
            "dataset": lineage.get("dataset"),
            "settings": lineage.get("settings"),
            "parent": digest if isinstance(digest, str) else None,
        },
    }, {
        "weights": foreign.weights,
        "partners": foreign.partners,
        "codec_files": foreign.codec_files,
        "card": foreign.card,
    }


def _new(foreign: Foreign) -> tuple[dict[str, Any], dict[str, Any]]:
    """Manifest and content of the bundle of a model that was not ours."""
    symbols = _checked(foreign.symbols, len(foreign.weights["output"]))
    pieces = [symbol for symbol in symbols if symbol is not None and symbol != TEXT_BEGINS]
    small = all(piece == piece.lower() for piece in pieces) and any(
        piece != piece.upper() for piece in pieces
    )
    try:
        settings = TextRun.model_validate({"model": dict(foreign.architecture)})
    except ValidationError as error:
        raise DataError(f"its network is larger than ours can be: {error.errors()[0]['msg']}") from error
    config = settings.model_dump(mode="json", exclude={"device", "threads", "mix"})
    manifest = {
        "kind": "text",
        "config": config,
        "codec": Characters(pieces).describe(),
        "normaliser": Normaliser(unicode="none", lowercase=small).model_dump(),
        "structure": "plain",
        "lineage": {"dataset": None, "settings": digest_json(config), "parent": None},
        "step": 0,
    }
    weights = _widened(foreign.weights, symbols)
    return manifest, {
        "weights": weights,
        "partners": {},
        "codec_files": {},
        "card": _card(foreign, weights, len(pieces)),
    }


def _checked(symbols: Symbols | None, tokens: int) -> Symbols:
    """Symbols that are one character each, or none, or that texts begin.

    Raises:
        UsageError: none are told.
        DataError: these cannot be the model's, or not be characters of ours.
    """
    if symbols is None:
        raise UsageError(
            f"this file does not tell which character each of its {tokens:,} tokens is",
            hint=f'--symbols FILE, a JSON list of {tokens:,}: ["a", "b", ...]; null for a token without a character',
        )
    if len(symbols) != tokens:
        raise DataError(f"there are {len(symbols):,} symbols for a model of {tokens:,} tokens")
    named = [symbol for symbol in symbols if symbol is not None]
    strange = [symbol for symbol in named if symbol != TEXT_BEGINS and not _character(symbol)]
    if strange:
        raise DataError(
            f"only models of single characters can be imported; of its symbols {_shown(strange)} are none",
            hint=f'write null for a token without a character, and "{TEXT_BEGINS}" for one that begins texts',
        )
    twice = [symbol for symbol, count in Counter(named).items() if count > 1]
    if twice:
        raise DataError(f"these symbols are there more than once: {_shown(twice)}")
    if not any(symbol != TEXT_BEGINS for symbol in named):
        raise DataError("none of its symbols is a character")
    return symbols


def _character(symbol: str) -> bool:
    return len(symbol) == 1 and not "\ud800" <= symbol <= "\udfff" and not NONCHARACTERS.match(symbol)


def _shown(symbols: Iterable[str]) -> str:
    return ", ".join(repr(symbol[:20]) for symbol in list(symbols)[:6])


def _widened(weights: Mapping[str, Tensor], symbols: Symbols) -> dict[str, Tensor]:
    """The weights with rows for our markers and halves of bytes before those of the characters.

    A document begins as the file's own texts do, or as after a line end, or as after any character.
    """
    rows = [row for row, symbol in enumerate(symbols) if symbol is not None and symbol != TEXT_BEGINS]
    begins = symbols.index(TEXT_BEGINS) if TEXT_BEGINS in symbols else None
    embedding, output, bias = (weights[name] for name in ("embedding.weight", "output", "bias"))
    read = embedding[rows].mean(0).repeat(FIRST_LEARNT, 1)
    if begins is not None:
        read[DOCUMENT_TOKEN] = embedding[begins]
    elif "\n" in symbols:
        read[DOCUMENT_TOKEN] = embedding[symbols.index("\n")]
    written = output[rows].mean(0).repeat(FIRST_LEARNT, 1)
    base = (bias[rows].mean() - UNLIKELY).repeat(FIRST_LEARNT)
    if begins is not None:
        written[DOCUMENT_TOKEN], base[DOCUMENT_TOKEN] = output[begins], bias[begins]
    return {
        **weights,
        "embedding.weight": torch.cat([read, embedding[rows]]),
        "output": torch.cat([written, output[rows]]),
        "bias": torch.cat([base, bias[rows]]),
    }


def _card(foreign: Foreign, weights: Mapping[str, Tensor], characters: int) -> str:
    """The README of the bundle: what it is, where it comes from, what is not known of it."""
    shape = foreign.architecture
    parameters = sum(value.numel() for value in weights.values())
    notes = "".join(f"- {note}\n" for note in foreign.notes)
    return (
        "# A text model imported by bowerbird\n\n"
        f"- network: {shape['layers']} x {shape['cell']}, {shape['width']} wide, {parameters:,} parameters\n"
        f"- from: a file of the format {foreign.format}; what it learnt from is not known here\n"
        f"- codec: characters, {characters:,} of the file's own; others are spelt in bytes, which it never learnt\n"
        f"{notes}\n"
        "Use: `bowerbird generate THIS_FOLDER --prompt TEXT`, or `bowerbird.load(folder).generate(...)`.\n\n"
        "It imitates the style of its training text and may repeat passages of it. It knows no facts, and what it "
        "says was said by nobody.\n\n"
        "The file and the texts it learnt from keep their own licences.\n"
    )
