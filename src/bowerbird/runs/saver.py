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
