"""Every reader of files that others may have made: sound material for it, how it reads, and how a forger would mend."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from bowerbird import lifecycle
from bowerbird.base.digest import digest_file, sealed
from bowerbird.base.journal import Journal
from bowerbird.data.dataset import SPLITS, Dataset
from bowerbird.evaluation.extractors import stored
from bowerbird.evaluation.extractors.own import RECIPE, own
from bowerbird.kinds.loaded import Model
from bowerbird.runs.run import Run
from bowerbird.store.bundle import open_bundle, open_checkpoint
from bowerbird.store.registry.folder import FolderRegistry
from fuzz_bench import sound

Read = Callable[[Path, Path], object]
"""(what to read, a folder that may be made) -> anything. What is damaged may only raise a BowerbirdError."""


@dataclass(frozen=True)
class Target:
    """One reader."""

    name: str
    make: Callable[[Path], Sequence[Path]]
    """Sound files or folders, made in an empty folder."""
    read: Read
    mend: Callable[[Path], None] = lambda path: None
    """Make seals hold again, as someone can who knows how they are made."""
    spared: tuple[str, ...] = ()
    """Files that are not the reader's to doubt, as a key."""


def reseal(folder: Path) -> None:
    """Write the digests anew of whatever below a folder is sealed: bundles first, then what speaks of them."""
    for record in sorted(folder.rglob("*.json"), key=lambda path: -len(path.parts)):
        told = _told(record)
        if not told:
            continue
        if record.name in ("bundle.json", "dataset.json") and isinstance(told.get("files"), dict):
            listed = {name: _digest(record.parent, name, old) for name, old in told["files"].items()}
            told = {**told, "files": listed}
        elif record.name == "checkpoint.json":
            inner = _told(record.parent / "bundle" / "bundle.json")
            resume = _digest(record.parent, "resume.safetensors", told.get("resume"))
            told = {**told, "bundle": inner.get("digest"), "resume": resume}
        elif record.name == "extractor.json":
            told = {**told, "weights": _digest(record.parent, stored.WEIGHTS, told.get("weights"))}
        elif record.name != "run.json":
            continue
        told.pop("digest", None)
        try:
            record.write_bytes(json.dumps(sealed(told)).encode("utf-8", "surrogatepass"))
        except RecursionError:
            continue


def _told(record: Path) -> dict[str, Any]:
    """The content of a JSON file that is one still, else nothing."""
    try:
        told = json.loads(record.read_bytes()) if record.is_file() and not record.is_symlink() else {}
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _digest(folder: Path, name: str, otherwise: Any) -> Any:
    try:
        file = folder / name
        return digest_file(file) if file.is_file() and not file.is_symlink() else otherwise
    except (OSError, ValueError):
        return otherwise


def bundles(folder: Path) -> Sequence[Path]:
    """A text model with n-grams and cache, one of pieces, a melody model, and an image model with its critic."""
    text = sound.text_dataset(folder / "text")
    pieces = sound.text_dataset(folder / "pieces", "codec.name=bpe", "codec.vocab_size=280")
    runs = [
        sound.text_run(text, folder / "text-run", *sound.COUNTED),
        sound.text_run(pieces, folder / "pieces-run", *sound.BARE, "model.cell=mingru"),
        sound.text_run(sound.melody_dataset(folder / "melody"), folder / "melody-run", *sound.BARE),
        sound.picture_run(sound.picture_dataset(folder / "pictures"), folder / "pictures-run"),
    ]
    return [sound.copied(sound.newest(run) / "bundle", folder / f"{run.name}-bundle") for run in runs]


def checkpoints(folder: Path) -> Sequence[Path]:
    run = sound.text_run(sound.text_dataset(folder / "text"), folder / "run", *sound.COUNTED)
    return [sound.newest(run)]


def runs(folder: Path) -> Sequence[Path]:
    return [sound.text_run(sound.text_dataset(folder / "text"), folder / "run", *sound.BARE)]


def datasets(folder: Path) -> Sequence[Path]:
    return [
        sound.text_dataset(folder / "text"),
        sound.text_dataset(folder / "pieces", "codec.name=bpe", "codec.vocab_size=280"),
        sound.melody_dataset(folder / "melody"),
        sound.picture_dataset(folder / "pictures"),
    ]


def extractors(folder: Path) -> Sequence[Path]:
    return [sound.extractor(sound.picture_dataset(folder / "pictures"), folder / "extractor")]


def registries(folder: Path) -> Sequence[Path]:
    run = sound.text_run(sound.text_dataset(folder / "text"), folder / "run", *sound.BARE)
    return [sound.registry(sound.newest(run) / "bundle", folder / "registry")]


def read_bundle(path: Path, out: Path) -> object:
    bundle = open_bundle(path)
    return Model(bundle).parameters, len(bundle.partners())


def read_checkpoint(path: Path, out: Path) -> object:
    return open_checkpoint(path)


def read_run(path: Path, out: Path) -> object:
    run = Run.open(path)
    best = Model(run.best_bundle()).parameters
    return run.best(), run.newest()[2], Journal(run.journal_path).read(), best


def read_dataset(path: Path, out: Path) -> object:
    dataset = Dataset.open(path)
    for split in SPLITS:
        if dataset.kind == "image":
            dataset.images(split).sum(), dataset.labels(split).sum()
        elif dataset.info["splits"][split]["documents"]:
            dataset.text(split, 0)
    return dataset.units_per_token(), sum(len(piece) for piece in _texts(dataset))


def _texts(dataset: Dataset) -> Sequence[str]:
    return list(dataset.pieces("train")) if dataset.kind != "image" else []


def read_extractor(path: Path, out: Path) -> object:
    digest = _told(path / stored.RECORD).get("dataset")
    pictures: Any = SimpleNamespace(path=path, digest=digest)
    trained = stored.read(pictures, RECIPE)
    return None if trained is None else own(pictures)


def read_registry(path: Path, out: Path) -> object:
    registry = FolderRegistry(path)
    found = registry.find("poems", "live")
    return registry.versions(), registry.log("poems"), open_bundle(found.path)


OURS = (
    Target("bundle", bundles, read_bundle, reseal),
    Target("checkpoint", checkpoints, read_checkpoint, reseal),
    Target("run", runs, read_run, reseal),
    Target("dataset", datasets, read_dataset, reseal),
    Target("extractor", extractors, read_extractor, reseal),
    Target("registry", registries, read_registry, reseal),
)


def exports(to: str) -> Callable[[Path], Sequence[Path]]:
    """A small LSTM, exported."""

    def make(folder: Path) -> Sequence[Path]:
        run = sound.text_run(sound.text_dataset(folder / "text"), folder / "run", *sound.BARE)
        return [Path(lifecycle.export(run, to=to, out=folder / "made" / "model")["path"])]

    return make


def read_import(path: Path, out: Path) -> object:
    return lifecycle.import_model(path, out)


def encrypted(folder: Path) -> Sequence[Path]:
    """A folder with an encrypted model and its key: passphrases would only be slower."""
    run = sound.text_run(sound.text_dataset(folder / "text"), folder / "run", *sound.BARE)
    made = folder / "encrypted"
    made.mkdir()
    (made / "key").write_text(f"{'5a' * 32}\n")
    lifecycle.encrypt(run, made / "model.enc", key=made / "key")
    return [made]


def read_encrypted(path: Path, out: Path) -> object:
    return lifecycle.decrypt(path / "model.enc", out, key=path / "key")


def signed(folder: Path) -> Sequence[Path]:
    """A folder with a signed bundle, its signature and the public key."""
    from bowerbird.store.signing import new_key

    run = sound.text_run(sound.text_dataset(folder / "text"), folder / "run", *sound.BARE)
    made = folder / "signed"
    made.mkdir()
    sound.copied(sound.newest(run) / "bundle", made / "bundle")
    public = new_key(folder / "key")
    lifecycle.sign(made / "bundle", folder / "key")
    public.rename(made / "key.pub")
    return [made]


def read_signed(path: Path, out: Path) -> object:
    return lifecycle.verify(path / "bundle", path / "key.pub")


def targets() -> Mapping[str, Target]:
    """The readers that this installation has, by name."""
    found = {target.name: target for target in OURS}
    if hasattr(lifecycle, "export") and hasattr(lifecycle, "import_model"):
        from bowerbird.store.exporters import EXPORTERS

        for to in ("safetensors", "pth", "keras", "h5"):
            if to in EXPORTERS:
                found[to] = Target(to, exports(to), read_import)
    if hasattr(lifecycle, "encrypt"):
        found["encrypted"] = Target("encrypted", encrypted, read_encrypted, spared=("key",))
    if hasattr(lifecycle, "verify"):
        found["signature"] = Target("signature", signed, read_signed, spared=("key.pub",))
    return found
