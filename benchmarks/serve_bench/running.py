"""What is asked of the benchmark, the models it serves, and where all of it lies. What is made is kept."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from serve_bench import server
from workplace import Workplace, processors

SCRIPT = Path(__file__).resolve().parent.parent / "serve.py"
CONTESTANTS = ("ours", "transformers")
TEMPERATURE, TOP_P = 0.8, 0.95
STOP = "\n\n\n\n"
"""Looked for in every answer of ours, and as good as never there."""
PROMPT = 32
"""Characters of each prompt."""
_APART = 97
"""Characters of the text between the prompts of one seed and the next."""
_FILES = 65_536


@dataclass(frozen=True)
class Shape:
    """A model of ours: settings of its training, how short that is, and the precision its weights are kept in."""

    settings: tuple[str, ...]
    steps: int
    precision: str = "float32"


_ONE, _TEN = ("model.width=432", "model.embedding=128"), ("model.width=1504", "model.embedding=128")
_ALONE = ("model.ngrams=null", "model.cache=null")
SHAPES = {
    "1m": Shape(_ONE, 40),
    "1m-plain": Shape((*_ONE, *_ALONE), 40),
    "10m": Shape(_TEN, 15),
    "10m-bfloat16": Shape(_TEN, 15, "bfloat16"),
    "tiny": Shape(("model.width=32", "model.embedding=16"), 10),
}
"""About 1 and 10 million parameters, with counted n-grams and a cache of what was just said as every model of ours
has, or without; `tiny` is for trying the benchmark itself."""


@dataclass(frozen=True)
class Bench:
    """One benchmark in a folder."""

    out: Path
    text: Path | None
    """The text that models learn and prompts are cut from; None makes one up."""
    sizes: tuple[str, ...]
    cores: int
    """For servers and client together."""
    tokens: int
    """That each stream makes a request."""
    options: tuple[str, ...] = ()
    """More for `bowerbird serve`."""

    @property
    def place(self) -> Workplace:
        """Where servers run: with a thread for each core that they may use."""
        return Workplace(self.out, self.cores, SCRIPT)

    @property
    def workshop(self) -> Workplace:
        """Where models are made and answers made alone: with all there is."""
        return Workplace(self.out, processors(), SCRIPT)

    @property
    def settled(self) -> dict[str, Any]:
        """What cells must agree in to stand in one table."""
        return {"tokens": self.tokens, "cores": self.cores, "options": list(self.options)}

    @property
    def dataset(self) -> Path:
        return self.out / "datasets" / "text"

    @property
    def symbols(self) -> Path:
        """A file with the characters of the plain server's tokens."""
        return self.out / "symbols.json"

    @cached_property
    def prompts_text(self) -> str:
        return (self.out / "text.txt").read_text(encoding="utf-8")

    def claim(self) -> None:
        """Make the folder this benchmark's own.

        Raises:
            UsageError: its models learnt another text, or were made otherwise.
        """
        text = str(self.text.absolute()) if self.text else "made up"
        wanted = {size: [*SHAPES[size].settings, SHAPES[size].steps] for size in self.sizes}
        self.workshop.claim(("models", "datasets", "logs"), {"text": text}, "models", wanted)

    def prepare(self) -> dict[str, Any]:
        """The text as a dataset of single characters; tells of its vocabulary."""
        if not (self.out / "text.json").exists():
            shutil.rmtree(self.dataset, ignore_errors=True)  # half-made by a run that was stopped
        return self.workshop.kept(
            "text",
            "prepare",
            source=self.text,
            text=self.out / "text.txt",
            out=self.dataset,
            symbols=self.symbols,
        )

    def model(self, size: str, seed: int = 1) -> dict[str, Any]:
        """Train a model briefly, unless it is there; its `run` and `parameters`."""
        self.prepare()
        name = f"{size}-{seed}"
        kept = self.out / "models" / f"{name}.json"
        run = self.out / "models" / name
        if not kept.exists():
            shutil.rmtree(run, ignore_errors=True)
            shape = SHAPES[size]
            settings = [part for setting in shape.settings for part in ("--set", setting)]
            steps = ["--steps", str(shape.steps), "--seed", str(seed)]
            told = self.bowerbird(
                f"train-{name}", "train", str(self.dataset), "--out", str(run), *steps, *settings
            )
            kept.write_text(json.dumps({"run": str(run), "parameters": told["parameters"]}), encoding="utf-8")
        return dict(json.loads(kept.read_text(encoding="utf-8")))

    def served(self, size: str) -> str:
        """What `bowerbird serve` is given: the run, or the version in fewer bits that is published of it."""
        run = str(self.model(size)["run"])
        shape = SHAPES[size]
        if shape.precision == "float32":
            return run
        name = f"bench-{size}"
        if not (self.out / "workspace" / "registry" / name).exists():
            self.bowerbird(f"publish-{size}", "publish", run, name, "--precision", shape.precision)
        return name

    def model_id(self, size: str) -> str:
        """What a model is asked for by."""
        return Path(self.served(size)).name

    def bowerbird(self, log: str, *arguments: str) -> dict[str, Any]:
        """Run a command and return the JSON object that it tells."""
        self.workshop.child([sys.executable, "-m", "bowerbird", *arguments, "--json", "--quiet"], log)
        lines = self.workshop.log(log).read_text(encoding="utf-8").splitlines()
        return dict(json.loads(next(line for line in reversed(lines) if line.startswith("{"))))

    def command(self, size: str, contestant: str = "ours", *, options: tuple[str, ...] = ()) -> list[str]:
        """How a contestant's server is started, with `options` unless what was asked for has them."""
        if contestant == "ours":
            more = () if set(options) & set(self.options) else options
            return server.ours([self.served(size)], (*more, *self.options))
        vocabulary = int(self.prepare()["vocabulary"])
        shape = gpt2_shape(int(self.model(size)["parameters"]), vocabulary, self.tokens + PROMPT)
        return server.plain(shape, self.symbols)

    def prompt(self, seed: int) -> str:
        """The prompt that goes with a seed."""
        text = self.prompts_text
        start = seed * _APART % (len(text) - PROMPT)
        return text[start : start + PROMPT]

    def asked(self, model_id: str, seed: int, **more: Any) -> dict[str, Any]:
        """The body of a request, as all contestants get it."""
        return {
            "model": model_id,
            "prompt": self.prompt(seed),
            "max_tokens": self.tokens,
            "temperature": TEMPERATURE,
            "top_p": TOP_P,
            "stop": STOP,
            "seed": seed,
            "stream": True,
            **more,
        }

    def alone(self, model: str | Path, lengths: Mapping[int, int]) -> dict[int, str]:
        """What the model gives each seed by itself, without a server: at most so many tokens."""
        asked = [
            {"prompt": self.prompt(seed), "seed": seed, "length": length, "stop": [STOP]}
            for seed, length in lengths.items()
        ]
        given = self.out / "alone.json"
        given.write_text(json.dumps(asked), encoding="utf-8")
        texts = self.workshop.job("alone", "alone", model=model, asked=given)[0]["texts"]
        return dict(zip(lengths, texts, strict=True))

    def state_bytes(self, size: str) -> int:
        """What a stream's state takes in the server's memory."""
        return int(self.workshop.job("state_bytes", "state-bytes", model=self.served(size))[0]["bytes"])


def gpt2_parameters(layers: int, width: int, vocabulary: int, positions: int) -> int:
    """Of a GPT-2 (Radford et al. 2019) whose output layer is its embedding."""
    return layers * (12 * width**2 + 13 * width) + (vocabulary + positions + 2) * width


def gpt2_shape(parameters: int, vocabulary: int, positions: int) -> Mapping[str, int]:
    """The GPT-2 that comes nearest to so many parameters: four layers, or six from 3 million on."""
    layers, heads = (4, 4) if parameters < 3e6 else (6, 8)

    def off(width: int) -> int:
        return abs(gpt2_parameters(layers, width, vocabulary, positions) - parameters)

    width = min(range(2 * heads, 4096, 2 * heads), key=off)
    return {"layers": layers, "heads": heads, "width": width, "positions": positions}


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Keep this process, and those that it starts, on so many cores."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-cores:])  # the first has most of the system's own work
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def open_files() -> None:
    """Let this process, and those that it starts, have as many connections as the system lets them."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if most == resource.RLIM_INFINITY else min(most, _FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))
