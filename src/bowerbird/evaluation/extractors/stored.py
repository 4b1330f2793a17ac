"""A trained extractor beside its dataset: `extractor.safetensors`, and `extractor.json`, which seals it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock
from safetensors import SafetensorError
from safetensors.torch import load, save

from bowerbird.base.digest import digest_bytes, seal_holds, sealed
from bowerbird.base.errors import CorruptFile, Refused
from bowerbird.base.files import check_format, read_json, write_json, write_whole
from bowerbird.evaluation.extractors.extractor import PictureSet
from bowerbird.models.extractor import ExtractorConfig, FeatureNetwork
from bowerbird.models.planned import check_size

FORMAT = 1
RECORD = "extractor.json"
WEIGHTS = "extractor.safetensors"
_AGAIN = f"delete {RECORD} and {WEIGHTS} there; the next evaluation trains them anew"
_TYPES: Mapping[str, type] = {
    "recipe": int,
    "dataset": str,
    "config": dict,
    "steps": int,
    "seed": int,
    "pictures": int,
    "weights": str,
}


@dataclass(frozen=True)
class Trained:
    """A network and the record of how it came to be: the content of `extractor.json`."""

    network: FeatureNetwork
    record: dict[str, Any]


def seal(network: FeatureNetwork, facts: Mapping[str, Any]) -> tuple[Trained, bytes]:
    """The network with its record made from these facts, and the content of its file of weights."""
    content = save({name: value.contiguous() for name, value in network.state_dict().items()})
    record = {
        **facts,
        "format": FORMAT,
        "config": network.config.model_dump(mode="json"),
        "weights": digest_bytes(content),
    }
    return Trained(network, sealed(record)), content


def write(folder: Path, trained: Trained, content: bytes) -> None:
    """Store both files; the record last, so that one never speaks of weights that are not there.

    Raises:
        StorageError: the folder cannot be written.
    """
    if (folder / RECORD).exists():
        (folder / RECORD).unlink()
    write_whole(folder / WEIGHTS, content)
    write_json(folder / RECORD, trained.record)


def read(dataset: PictureSet, recipe: int) -> Trained | None:
    """The stored extractor; None where there is none, or one of an older recipe.

    Raises:
        Refused: it was trained on another dataset.
        CorruptFile: a file is damaged, missing, or too new.
    """
    where = dataset.path / RECORD
    if not where.exists():
        return None
    record = _record(where)
    if record["dataset"] != dataset.digest:
        raise Refused(
            "this extractor was trained on another dataset: its scores would mean nothing here",
            where=where,
            hint=_AGAIN,
        )
    if record["recipe"] != recipe:
        return None
    return Trained(_network(dataset.path / WEIGHTS, record), record)


@contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Wait until no other process is training an extractor here; False where nothing can be written."""
    lock = FileLock(folder / ".extractor.lock")
    try:
        lock.acquire()
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _record(where: Path) -> dict[str, Any]:
    record = read_json(where, "extractor")
    if not isinstance(record, dict):
        raise _damaged(where)
    check_format(record.get("format"), FORMAT, "extractor", where)
    if not seal_holds(record):
        raise _damaged(where)
    wrong = [key for key, wanted in _TYPES.items() if not isinstance(record.get(key), wanted)]
    accuracy = record.get("accuracy")
    if not isinstance(accuracy, float | int | None) or (
        accuracy is not None and type(record.get("judged")) is not int
    ):
        wrong.append("accuracy")
    if wrong:
        raise CorruptFile(
            f"this is not the description of an extractor: {', '.join(wrong)} missing or wrong",
            where=where,
            hint=_AGAIN,
        )
    return record


def _network(where: Path, record: Mapping[str, Any]) -> FeatureNetwork:
    if not where.is_file():
        raise CorruptFile("the weights of this extractor are missing", where=where, hint=_AGAIN)
    content = where.read_bytes()
    if digest_bytes(content) != record["weights"]:
        raise _damaged(where)
    try:
        config, weights = ExtractorConfig.model_validate(record["config"]), load(content)
        check_size(lambda: FeatureNetwork(config), weights)
        network = FeatureNetwork(config)
        network.load_state_dict(weights, strict=True)
    except (SafetensorError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise CorruptFile(f"this extractor cannot be read: {error}", where=where, hint=_AGAIN) from error
    return network


def _damaged(where: Path) -> CorruptFile:
    return CorruptFile(
        "this extractor was changed or damaged: its digest does not match", where=where, hint=_AGAIN
    )
