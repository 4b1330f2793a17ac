"""What a worker process does: one job with its arguments as JSON in, one JSON object out.

Each job has a process of its own, so that threads, memory and libraries of one never weigh on another.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bowerbird import lifecycle
from bowerbird.base.device import use_threads
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.text import held_out_bits
from bowerbird.runs.run import Run
from machine import describe
from text_bench import decoding
from text_bench.plain_lstm import PlainLSTM
from text_bench.running import VARIANTS
from text_bench.scoring import (
    Paid,
    count_characters,
    lstm_scores,
    multiplying_parameters,
    transformer_scores,
)
from text_bench.texts import SPLIT
from text_bench.training import PlainLSTMPupil, TransformerPupil, learn, warm_up
from text_bench.transformer import Transformer


def prepare(source: str, ours: str, characters: str) -> dict[str, Any]:
    """The text as our default prepares it, and the same documents in single characters for the baselines."""
    default = lifecycle.prepare(source, ours, settings=SPLIT)
    plain = lifecycle.prepare(source, characters, settings=[*SPLIT, "codec.name=characters"])
    for split in ("train", "valid"):
        assert default.info["splits"][split]["bytes"] == plain.info["splits"][split]["bytes"], "unlike splits"
        assert default.info["splits"][split]["documents"] == plain.info["splits"][split]["documents"]
    counted = {split: count_characters(plain, split) for split in ("train", "valid")}
    tokens = {
        name: dataset.info["splits"]["train"]["tokens"]
        for name, dataset in (("ours", default), ("characters", plain))
    }
    return {
        "source": Path(source).name,
        "codec": default.codec.name,
        "documents": {split: plain.info["splits"][split]["documents"] for split in counted},
        "bytes": {split: plain.info["splits"][split]["bytes"] for split in counted},
        "characters": counted,
        "characters_per_token": {name: counted["train"] / count for name, count in tokens.items()},
    }


def probe(dataset: str, variant: str, seconds: float) -> dict[str, Any]:
    """Steps a second of one way to train the transformer; compilation is not counted."""
    pupil = TransformerPupil(Dataset.open(dataset), 1, **VARIANTS[variant])
    warm_up(pupil)
    found = learn(pupil, seconds, evaluate=False)
    loss = float(pupil.loss().detach())
    return {
        "steps_per_second": found.steps / found.seconds,
        "loss": loss if math.isfinite(loss) else None,
        "finite": found.finite and math.isfinite(loss),
    }


def learn_baseline(
    contestant: str, dataset: str, seconds: float, seed: int, weights: str, variant: str, compile_inside: bool
) -> dict[str, Any]:
    """Train a baseline by the clock and keep its best weights."""
    data = Dataset.open(dataset)
    pupil: Any
    if contestant == "transformer":
        pupil = TransformerPupil(data, seed, **VARIANTS[variant])
        if not compile_inside:
            warm_up(pupil)
    else:
        pupil = PlainLSTMPupil(data, seed)
    found = learn(pupil, seconds)
    if not found.finite:
        raise RuntimeError(f"the loss of {contestant} is not a finite number after {found.steps} steps")
    save_file(found.weights, weights)
    return {
        "variant": variant if contestant == "transformer" else "eager float32",
        "precision": "bfloat16" if pupil.__dict__.get("bfloat16") else "float32",
        "steps": found.steps,
        "tokens_a_step": pupil.tokens_a_step,
        "seconds": found.seconds,
        "evaluation_seconds": found.judging_seconds,
        "curve": found.curve,
    }


def score_baseline(contestant: str, dataset: str, weights: str) -> dict[str, Any]:
    """The whole of the held-out text, in each way of reading it; the best counts."""
    data = Dataset.open(dataset)
    network: Any = (Transformer if contestant == "transformer" else PlainLSTM)(data.codec.vocab_size)
    network.load_state_dict(load_file(weights))
    found = (transformer_scores if contestant == "transformer" else lstm_scores)(network, data)
    name = min(found, key=lambda way: found[way].nats)
    return {
        **_score(found[name], data),
        "reading": name,
        "readings": {way: paid.bits_per_byte for way, paid in found.items()},
        "parameters": sum(weight.numel() for weight in network.parameters()),
        "multiplying_parameters": multiplying_parameters(network),
        "model_bytes": Path(weights).stat().st_size,
    }


def score_ours(run: str, dataset: str) -> dict[str, Any]:
    """The whole of the held-out text, as `evaluate` counts it, by the model as it is loaded."""
    opened, data = Run.open(Path(run)), Dataset.open(dataset)
    model = lifecycle.load(run)
    bits, sizes = held_out_bits(model, data, "valid", 1 << 62)
    paid = Paid(float(bits.sum()) * math.log(2), float(sizes.sum()), 0)
    records = [json.loads(line) for line in opened.journal_path.read_text(encoding="utf-8").splitlines()]
    settings: Mapping[str, Any] = opened.record["settings"]
    return {
        **_score(paid, data),
        "reading": "carried",
        "parameters": model.parameters,
        "multiplying_parameters": multiplying_parameters(model.network),
        "model_bytes": sum(path.stat().st_size for path in model.bundle.path.rglob("*") if path.is_file()),
        "precision": settings["precision"],
        "tokens_a_step": settings["batch_size"] * settings["length"],
        "settings": settings,
        "curve": [
            (record["seconds"], record["valid_bits_per_byte"])
            for record in records
            if record["event"] == "evaluate"
        ],
    }


def _score(paid: Paid, dataset: Dataset) -> dict[str, Any]:
    size = dataset.info["splits"]["valid"]["bytes"]
    assert round(paid.bytes, 3) == size, f"{paid.bytes} bytes were scored of {size}"
    return {
        "bits_per_byte": paid.bits_per_byte,
        "nats_per_character": paid.nats / max(count_characters(dataset, "valid"), 1),
    }


def decode(dataset: str, models: dict[str, str], lengths: dict[str, int], repeats: int) -> dict[str, Any]:
    found = decoding.measure(
        {name: Path(path) for name, path in models.items()},
        Dataset.open(dataset),
        {int(streams): length for streams, length in lengths.items()},
        repeats,
    )
    return {"threads": torch.get_num_threads(), "contestants": found}


JOBS: dict[str, Callable[..., dict[str, Any]]] = {
    job.__name__: job
    for job in (prepare, describe, probe, learn_baseline, score_baseline, score_ours, decode)
}


def work(job: str, arguments: str, out: Path) -> None:
    """Do a job and write what came of it."""
    use_threads()
    out.write_text(json.dumps(JOBS[job](**json.loads(arguments))), encoding="utf-8")
