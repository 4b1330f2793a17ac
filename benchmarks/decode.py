"""Tokens a second of generation: the compiled loop, plain torch, and a bare loop over nn.LSTM.

    OMP_NUM_THREADS=1 python benchmarks/decode.py --streams 1 64 256

One thread. Random weights: what they say costs as much. Prints a JSON line for each measurement; `memory_bound`
is the share of the rate at which the weights a token touches could be read at all, measured on as many bytes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from bowerbird.models.ngrams import count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.fused.session import FusedSession
from bowerbird.sampling.session import Session
from bowerbird.sampling.tokens import TokenRequest, TokenSession

SETTINGS: dict[str, dict[str, Any]] = {
    "1x384": {"width": 384},
    "2x256": {"width": 256, "layers": 2, "norm": "rms", "residual": True},
    "1x384-ngrams": {"width": 384, "ngrams": 7},
}


def network(shape: str, vocab_size: int) -> RNN:
    torch.manual_seed(1)
    made = RNN(RNNConfig(cell="lstm", embedding=128, **SETTINGS[shape]), vocab_size)
    if made.ngrams is not None:
        noise = np.random.default_rng(1)
        text = np.minimum(noise.geometric(0.1, 1_000_000), vocab_size - 1)
        text[::1000] = 0
        made.ngrams.add(*count(gram_keys(text, made.ngrams.order, vocab_size)))
    return made.eval()


def rate(step: Callable[[], int], seconds: float) -> float:
    """Tokens a CPU-second, the best of three; `step` says how many it made."""
    step()
    best = 0.0
    for _ in range(3):
        began, made = time.process_time(), 0
        while time.process_time() - began < seconds:
            made += step()
        best = max(best, made / (time.process_time() - began))
    return best


def session_step(session: Session[TokenRequest], streams: int, options: dict[str, Any]) -> Callable[[], int]:
    for seed in range(streams):
        session.admit(TokenRequest(np.array([0, 5, 9]), 1 << 40, frozenset({0}), seed, **options))

    def step() -> int:
        made = 0
        for chunk in session.step():
            made += len(chunk.content)
            if chunk.finished:  # it came upon an end
                session.admit(TokenRequest(np.array([0, 5, 9]), 1 << 40, frozenset(), 1, **options))
        return made

    return step


def lstm_step(shape: str, vocab_size: int, streams: int) -> Callable[[], int]:
    """What one writes first: embedding, nn.LSTM, a linear layer, softmax and multinomial."""
    torch.manual_seed(1)
    width, layers = SETTINGS[shape]["width"], SETTINGS[shape].get("layers", 1)
    embedding, output = nn.Embedding(vocab_size, 128), nn.Linear(width, vocab_size)
    cell = nn.LSTM(128, width, layers, batch_first=True)
    kept: dict[str, Any] = {"tokens": torch.zeros(streams, 1, dtype=torch.int64), "state": None}

    @torch.no_grad()
    def step() -> int:
        out, kept["state"] = cell(embedding(kept["tokens"]), kept["state"])
        logits = output(out[:, -1])
        kept["tokens"] = torch.multinomial((logits / 0.8).softmax(1), 1)
        return streams

    return step


def bandwidth(size: int) -> float:
    """Bytes a second that one thread reads of so many bytes, over and over."""
    values = torch.ones(size // 4)
    return rate(lambda: int(torch.dot(values, values) > 0) * size, 0.2)


def measurements(shape: str, vocab_size: int, streams: int, seconds: float) -> Iterator[dict[str, Any]]:
    model = network(shape, vocab_size)
    options: dict[str, Any] = {"temperature": 0.8, "top_p": 0.95}
    for precision in ("float32", "bfloat16", "int8"):
        session = FusedSession(model, streams, precision)  # type: ignore[arg-type]
        size = session._weights.weights.nbytes
        found = rate(session_step(session, streams, options), seconds)
        told = {"path": "fused", "precision": precision, "tokens_per_second": found}
        yield told | ({"memory_bound": found * size / bandwidth(size)} if streams == 1 else {})
    found = rate(session_step(TokenSession(model, streams), streams, options), seconds)
    yield {"path": "torch", "precision": "float32", "tokens_per_second": found}
    yield {
        "path": "nn.LSTM",
        "precision": "float32",
        "tokens_per_second": rate(lstm_step(shape, vocab_size, streams), seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64, 256, 1024])
    parser.add_argument("--shapes", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--vocab", type=int, nargs="+", default=[84])
    parser.add_argument("--seconds", type=float, default=1.0, help="of each of three tries")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for shape in arguments.shapes:
        for vocab_size in arguments.vocab:
            for streams in arguments.streams:
                for told in measurements(shape, vocab_size, streams, arguments.seconds):
                    rounded = {
                        key: round(value, 2) if isinstance(value, float) else value
                        for key, value in told.items()
                    }
                    print(
                        json.dumps({"shape": shape, "vocab": vocab_size, "streams": streams, **rounded}),
                        flush=True,
                    )


if __name__ == "__main__":
    main()
