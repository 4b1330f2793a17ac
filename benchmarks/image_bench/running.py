"""The cells of the benchmark: what each trains and is scored by. What is done is kept, so that a rerun goes on.

This side imports neither torch nor numpy: see `workplace`.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from image_bench.sets import PictureSet
from workplace import Child, Failed, Workplace

SCRIPT = Path(__file__).resolve().parent.parent / "image.py"
OURS: dict[str, tuple[str, ...]] = {"ours": (), "ours-plain": ("--set", "learner.augment=none")}
"""Options of `bowerbird train` beside time and seed."""
BASELINES = ("dcgan", "wgan-gp")
CONTESTANTS = ("ours", "ours-plain", *BASELINES)
WAYS = {
    "float32": {"channels_last": False, "bfloat16": False},
    "float32 channels last": {"channels_last": True, "bfloat16": False},
    "bfloat16 channels last": {"channels_last": True, "bfloat16": True},
}
"""Ways to train a baseline."""


def usual(small: int) -> tuple[str, ...]:
    """Contestants where none are named: without augmentation only where there is little to learn from."""
    return tuple(name for name in CONTESTANTS if small or name != "ours-plain")


@dataclass(frozen=True)
class Bench:
    """One benchmark in a folder: what is asked for, and where its parts lie."""

    out: Path
    minutes: float
    threads: int
    seeds: int
    samples: int
    contestants: tuple[str, ...]
    sets: dict[str, PictureSet]
    probe_seconds: float
    float32: bool

    @property
    def place(self) -> Workplace:
        return Workplace(self.out, self.threads, SCRIPT)

    @property
    def ways(self) -> list[str]:
        return [name for name, way in WAYS.items() if not (self.float32 and way["bfloat16"])]

    def model(self, name: str, seed: int, contestant: str) -> Path:
        """The run folder, or the file of weights, of a cell."""
        ending = "" if contestant in OURS else ".safetensors"
        return self.out / "models" / f"{name}-{seed}-{contestant}{ending}"

    def dataset(self, name: str) -> Path:
        return self.out / "datasets" / name

    def whole(self, name: str) -> Path:
        """What a small set is taken from."""
        return self.dataset(f"{name}-whole")

    def classifier(self, name: str) -> Path:
        return self.out / "classifiers" / f"{name}.safetensors"

    def claim(self) -> None:
        """Make the folder this benchmark's own.

        Raises:
            UsageError: it holds cells of other minutes, threads, counts or sets, which must not be mixed with these.
        """
        settled = {
            "minutes": self.minutes,
            "threads": self.threads,
            "samples": self.samples,
            "float32": self.float32,
        }
        wanted = {name: asdict(one) for name, one in self.sets.items()}
        self.place.claim(("models", "datasets", "logs", "pictures"), settled, "sets", wanted)

    def prepare(self, name: str) -> dict[str, Any]:
        """The set as a dataset, its extractors, and what real pictures score: on no one's clock."""
        one = self.sets[name]
        if not (self.out / f"set-{name}.json").exists():  # half-made by a run that was stopped
            for folder in (self.dataset(name), self.whole(name), self.out / "sources" / name):
                shutil.rmtree(folder, ignore_errors=True)
            self.classifier(name).unlink(missing_ok=True)
        return self.place.kept(
            f"set-{name}",
            "prepare",
            **asdict(one),
            dataset=self.dataset(name),
            whole=self.whole(name),
            sources=self.out / "sources" / name,
            classifier=self.classifier(name),
            samples=self.samples,
        )

    def cell(self, name: str, seed: int, contestant: str, way: str) -> dict[str, Any]:
        """Train one contestant on one set with one seed, and score it."""
        log = f"{name}-{seed}-{contestant}"
        learn = self._learn_ours if contestant in OURS else self._learn_baseline
        learnt, child = learn(name, seed, contestant, way, log)
        if learnt.get("made", True):
            score, _ = self.place.job(
                "score",
                f"{log}-score",
                contestant=contestant,
                dataset=self.dataset(name),
                judge=self.whole(name) if self.sets[name].small else self.dataset(name),
                model=self.model(name, seed, contestant),
                classifier=self.classifier(name),
                samples=self.samples,
                seed=seed,
                picture=self.out / "pictures" / f"{log}.png",
            )
        else:
            score = {"scores": {}}
        cost = {"process_seconds": child.seconds, "peak_bytes": child.peak_bytes}
        cell = {"set": name, "seed": seed, "contestant": contestant, **learnt, **score, **cost}
        self.place.add(cell)
        return cell

    def _learn_ours(
        self, name: str, seed: int, contestant: str, way: str, log: str
    ) -> tuple[dict[str, Any], Child]:
        """By the command line, as anybody would. Training that gave up because it diverged is a result."""
        model = self.model(name, seed, contestant)
        shutil.rmtree(model, ignore_errors=True)
        command = [sys.executable, "-m", "bowerbird", "train", str(self.dataset(name)), "--out", str(model)]
        command += ["--minutes", f"{self.minutes:g}", "--seed", str(seed), *OURS[contestant]]
        try:
            child = self.place.child([*command, "--json", "--quiet"], log)
        except Failed as error:
            if "training diverged" not in error.what:
                raise
            return {"finite": False, "made": False, "failed": error.what}, Child(60 * self.minutes, 0)
        outcome = json.loads(self.place.log(log).read_text(encoding="utf-8").splitlines()[-1])
        return {"finite": True, **{key: outcome[key] for key in ("steps", "seconds", "stopped")}}, child

    def _learn_baseline(
        self, name: str, seed: int, contestant: str, way: str, log: str
    ) -> tuple[dict[str, Any], Child]:
        return self.place.job(
            "learn_baseline",
            log,
            contestant=contestant,
            dataset=self.dataset(name),
            seconds=60 * self.minutes,
            seed=seed,
            weights=self.model(name, seed, contestant),
            way=way,
        )
