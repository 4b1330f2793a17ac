"""Tokens a second in generation, sampling included: ours as users get it, the baselines as well as torch allows.

Nobody stops early: document ends are sampled and read on from, so every stream makes as many tokens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from bowerbird import lifecycle
from bowerbird.data.codecs.codec import DOCUMENT_TOKEN
from bowerbird.data.dataset import Dataset
from bowerbird.kinds.loaded import Model
from bowerbird.sampling.session import run_all
from machine import read_bandwidth
from text_bench.plain_lstm import PlainLSTM
from text_bench.scoring import touched_bytes
from text_bench.transformer import CachedReader, Transformer

TEMPERATURE = 0.8
LENGTHS = {1: 4000, 64: 200, 256: 200}
"""Tokens a stream makes, by the number of streams."""
WARM_UP = 20
REPEATS = 3

Generate = Callable[[int, int], int]
"""(streams, tokens a stream) -> tokens made."""


def ours(model: Model) -> Generate:
    """A session of the model with its readers of text, as `generate` and the server use it."""

    def generate(streams: int, length: int) -> int:
        request: Any = model.request(n=streams, length=length, temperature=TEMPERATURE, seed=1)
        jobs = [model.kind.encode_request(model, request, index) for index in range(streams)]
        readers = [model.kind.read(model, request) for _ in jobs]
        session = model.kind.open_session(model.network, streams)
        made = 0
        for progress in run_all(session, [replace(job, ends=frozenset()) for job in jobs]):
            readers[progress.index].push(progress.chunk.content, progress.chunk.finished)
            made += len(progress.chunk.content)
        return made

    return generate


def sampled(read: Callable[[torch.Tensor], torch.Tensor], streams: int, length: int) -> int:
    """Draw `length` tokens a stream from what `read` says of the token before."""
    tokens = torch.full((streams,), DOCUMENT_TOKEN)
    for _ in range(length):
        odds = (read(tokens) / TEMPERATURE).softmax(1)
        tokens = torch.multinomial(odds, 1)[:, 0]
        tokens.tolist()  # whoever asked gets them
    return streams * length


def transformer(network: Transformer) -> Generate:
    network.eval()

    @torch.inference_mode()
    def generate(streams: int, length: int) -> int:
        return sampled(CachedReader(network, streams).read, streams, length)

    return generate


def plain_lstm(network: PlainLSTM) -> Generate:
    network.eval()

    @torch.inference_mode()
    def generate(streams: int, length: int) -> int:
        state = network.start(streams)

        def read(tokens: torch.Tensor) -> torch.Tensor:
            nonlocal state
            logits, state = network(tokens[:, None], state)
            return logits[:, -1]

        return sampled(read, streams, length)

    return generate


def open_contestant(name: str, model: Path, dataset: Dataset) -> tuple[nn.Module, Generate]:
    """The network of a finished cell, and how it generates."""
    if name == "ours":
        found = lifecycle.load(model)
        return found.network, ours(found)
    network: Any = (Transformer if name == "transformer" else PlainLSTM)(dataset.codec.vocab_size)
    network.load_state_dict(load_file(model))
    return network, transformer(network) if name == "transformer" else plain_lstm(network)


def measure(
    models: Mapping[str, Path], dataset: Dataset, lengths: Mapping[int, int], repeats: int
) -> dict[str, Any]:
    """Median tokens a second by contestant and streams, contestants taking turns; and the bound of memory."""
    opened = {name: open_contestant(name, path, dataset) for name, path in models.items()}
    rates: dict[str, dict[int, list[float]]] = {name: {streams: [] for streams in lengths} for name in opened}
    for streams, length in lengths.items():
        for repeat in range(repeats):
            for name, (_, generate) in opened.items():
                if repeat == 0:
                    generate(streams, min(WARM_UP, length))
                began = time.perf_counter()
                made = generate(streams, length)
                rates[name][streams].append(made / (time.perf_counter() - began))
    threads = torch.get_num_threads()
    found: dict[str, Any] = {}
    for name, (network, _) in opened.items():
        size = touched_bytes(network)
        bandwidth = {count: read_bandwidth(size, count) for count in sorted({1, threads})}
        bound = max(bandwidth.values()) / size
        medians = {str(streams): median(several) for streams, several in rates[name].items()}
        found[name] = {
            "tokens_per_second": medians,
            "all": {str(streams): several for streams, several in rates[name].items()},
            "touched_bytes": size,
            "read_bytes_per_second": {str(count): rate for count, rate in bandwidth.items()},
            "bound_tokens_per_second": bound,
            "share_of_bound": medians["1"] / bound if "1" in medians else None,
        }
    return found
