"""Small bundles for the tests of registries: whole and sealed, of no model that could run."""

from __future__ import annotations

from pathlib import Path

import torch

from bowerbird.store.bundle import write_bundle


def small_bundle(path: Path, number: int = 0) -> tuple[Path, str]:
    """Write a bundle unlike any of another number. Returns its folder and digest."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lineage = {"dataset": "sha256:data", "settings": "sha256:settings", "parent": None}
    manifest = {
        "kind": "text",
        "config": {"model": {"width": 8 + number, "cell": "lstm"}, "seed": None},
        "codec": {},
        "normaliser": {},
        "structure": "plain",
        "lineage": lineage,
        "step": number,
    }
    weights = {"a": torch.full((4,), float(number))}
    told = write_bundle(path, manifest, weights=weights, partners={}, codec_files={}, card=f"# {number}")
    return path, str(told["digest"])
