"""Bundles small enough to make many of: sealed as real ones are, of no network."""

from __future__ import annotations

from pathlib import Path

import torch

from bowerbird.store.bundle import write_bundle


def tiny_bundle(path: Path, *, step: int = 4, card: str = "# a model\n") -> Path:
    """A bundle at `path`, with a codec's file and partners."""
    path.parent.mkdir(parents=True, exist_ok=True)
    manifest = {
        "kind": "text",
        "config": {},
        "codec": {},
        "normaliser": {},
        "structure": "plain",
        "lineage": {},
        "step": step,
    }
    tensors = {"a": torch.arange(600.0).reshape(20, 30)}
    write_bundle(
        path, manifest, weights=tensors, partners=tensors, codec_files={"tokenizer.json": b"{}"}, card=card
    )
    return path
