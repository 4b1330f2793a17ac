"""The cells of the benchmark: what each trains and is scored by. What is done is kept, so that a rerun goes on."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workplace import Workplace

SCRIPT = Path(__file__).resolve().parent.parent / "text.py"
CONTESTANTS = ("ours", "transformer", "lstm")
VARIANTS = {
    "eager float32": {"compiled": False, "bfloat16": False},
    "eager bfloat16": {"compiled": False, "bfloat16": True},
    "compiled float32": {"compiled": True, "bfloat16": False},
    "compiled bfloat16": {"compiled": True, "bfloat16": True},
}
"""Ways to train the transformer."""


@dataclass(frozen=True)
class Bench:
    """One benchmark in a folder: what is asked for, and where its parts lie."""

    out: Path
    minutes: float
    threads: int
    seeds: int
    contestants: tuple[str, ...]
    texts: dict[str, str]
    probe_seconds: float
    compile_inside: bool

    @property
    def place(self) -> Workplace:
        return Workplace(self.out, self.threads, SCRIPT)

    def model(self, text: str, seed: int, contestant: str) -> Path:
        """The run folder, or the file of weights, of a cell."""
        return (
            self.out
            / "models"
            / f"{text}-{seed}-{contestant}{'' if contestant == 'ours' else '.safetensors'}"
        )

    def dataset(self, text: str, contestant: str) -> Path:
        return self.out / "datasets" / (text if contestant == "ours" else f"{text}-characters")

    def claim(self) -> None:
        """Make the folder this benchmark's own.

        Raises:
            UsageError: it holds cells of other minutes, threads or texts, which must not be mixed with these.
        """
        settled = {"minutes": self.minutes, "threads": self.threads, "compile_inside": self.compile_inside}
        self.place.claim(("models", "datasets", "logs"), settled, "texts", self.texts)

    def prepare(self, text: str) -> dict[str, Any]:
        if not (self.out / f"text-{text}.json").exists():
            for contestant in ("ours", "transformer"):  # half-made by a run that was stopped
                shutil.rmtree(self.dataset(text, contestant), ignore_errors=True)
        ours, characters = self.dataset(text, "ours"), self.dataset(text, "transformer")
        return self.place.kept(
            f"text-{text}", "prepare", source=self.texts[text], ours=ours, characters=characters
        )

    def cell(self, text: str, seed: int, contestant: str, variant: str) -> dict[str, Any]:
        """Train one contestant on one text with one seed, and score it."""
        dataset, model = self.dataset(text, contestant), self.model(text, seed, contestant)
        log = f"{text}-{seed}-{contestant}"
        if contestant == "ours":
            shutil.rmtree(model, ignore_errors=True)
            command = [sys.executable, "-m", "bowerbird", "train", str(dataset), "--out", str(model)]
            command += ["--minutes", f"{self.minutes:g}", "--seed", str(seed), "--json", "--quiet"]
            child = self.place.child(command, log)
            outcome = json.loads(self.place.log(log).read_text(encoding="utf-8").splitlines()[-1])
            score, _ = self.place.job("score_ours", f"{log}-score", run=model, dataset=dataset)
            learnt = {key: outcome[key] for key in ("steps", "seconds", "stopped")}
        else:
            learnt, child = self.place.job(
                "learn_baseline",
                log,
                contestant=contestant,
                dataset=dataset,
                seconds=self.minutes * 60,
                seed=seed,
                weights=model,
                variant=variant,
                compile_inside=self.compile_inside,
            )
            score, _ = self.place.job(
                "score_baseline", f"{log}-score", contestant=contestant, dataset=dataset, weights=model
            )
        cost = {"process_seconds": child.seconds, "peak_bytes": child.peak_bytes}
        cell = {"text": text, "seed": seed, "contestant": contestant, **learnt, **score, **cost}
        self.place.add(cell)
        return cell
