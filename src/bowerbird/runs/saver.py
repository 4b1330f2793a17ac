"""Writes the checkpoints of a run, marks the best, and clears away the others."""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bowerbird.base.digest import digest_json
from bowerbird.base.files import write_json
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.kind import Kind
from bowerbird.learning.loop import Learner
from bowerbird.runs.run import checkpoint_name
from bowerbird.store.bundle import write_checkpoint


@dataclass
class Saver:
    """Writes checkpoints of one run and keeps the best and the newest."""

    run_path: Path
    manifest: dict[str, Any]
    codec_files: dict[str, bytes]
    card: str
    last_saved: int = -1
    best_step: int | None = None
    best_scores: dict[str, float] | None = None
    seconds: float = 0.0
    """What the last save cost."""

    def save(self, step: int, learner: Learner, state: dict[str, Any], folder: Path | None = None) -> str:
        """Write the checkpoint of `step`, then remove those no longer needed. Returns the bundle's digest."""
        began = time.monotonic()
        folder = folder or self.run_path / "checkpoints" / checkpoint_name(step)
        digest = write_checkpoint(
            folder,
            {**self.manifest, "step": step},
            learner.resume_state(),
            state,
            weights=learner.shipped(),
            partners=learner.partners(),
            codec_files=self.codec_files,
            card=self.card,
        )
        self.last_saved = step
        self.seconds = time.monotonic() - began
        return digest

    def mark_best(self, step: int, scores: dict[str, float]) -> None:
        write_json(self.run_path / "best.json", {"step": step, "scores": scores})
        self.best_step, self.best_scores = step, scores

    def tidy(self) -> None:
        """Remove checkpoints that are neither the best nor the newest, and what a crash left behind."""
        kept = {checkpoint_name(self.last_saved)}
        if self.best_step is not None:
            kept.add(checkpoint_name(self.best_step))
        for path in (self.run_path / "checkpoints").iterdir():
            if path.name not in kept:
                with suppress(OSError):
                    shutil.rmtree(path)


def first_manifest(
    kind: Kind, settings: dict[str, Any], dataset: Dataset, parent: str | None
) -> dict[str, Any]:
    """What a run's bundles say beside their step: equal runs say the same, wherever they are."""
    told = {key: value for key, value in settings.items() if key not in ("device", "threads", "mix")}
    return {
        "kind": kind.name,
        "config": told,
        "codec": dataset.codec.describe(),
        "normaliser": dataset.normaliser.model_dump(),
        "structure": dataset.structure,
        "lineage": {"dataset": dataset.digest, "settings": digest_json(told), "parent": parent},
    }


def model_card(kind: Kind, settings: dict[str, Any], dataset: Dataset, parameters: int) -> str:
    """The README of a bundle: what it is, what it learnt from, what it is not for."""
    train = dataset.info["splits"]["train"]
    model = settings["model"]
    return (
        f"# A {kind.name} model made with bowerbird\n\n"
        f"- network: {model['layers']} x {model['cell']}, {model['width']} wide, {parameters:,} parameters\n"
        f"{_counted(model)}"
        f"- learnt from: {train['documents']:,} documents, {train['bytes']:,} bytes "
        f"(dataset {dataset.digest})\n"
        f"- codec: {dataset.codec.name}, {dataset.codec.vocab_size:,} tokens; structure: {dataset.structure}\n\n"
        "Use: `bowerbird generate THIS_FOLDER --prompt TEXT`, or `bowerbird.load(folder).generate(...)`.\n\n"
        "It imitates the style of its training text and may repeat passages of it: `bowerbird evaluate` "
        "reports how much. It knows no facts, and what it says was said by nobody.\n\n"
        "The texts it learnt from keep their own licence; see the dataset's ledger.\n"
    )


def _counted(model: dict[str, Any]) -> str:
    """What the card says of the n-grams in a bundle, which can be read by whoever has it."""
    if not model.get("ngrams"):
        return ""
    return f"- counts: every sequence of up to {model['ngrams']} tokens of its training text, legible in the weights\n"
