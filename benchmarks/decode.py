"""Tokens a second of generation: compiled loops, the torch path, and a loop over nn.LSTM; one JSON line each.

Random weights of the typical shape of a character model, n-grams counted on a made-up text. Seconds are of
the processor, so that a machine shared with others gives the same figures; torch runs on one thread.

    python benchmarks/decode.py [--streams 1,64,256,1024]
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import torch
from torch import nn

from bowerbird.models.cache import CacheConfig
from bowerbird.models.ngrams import count, gram_keys
from bowerbird.models.rnn import RNN, RNNConfig
from bowerbird.sampling.fused_session import FusedSession
from bowerbird.sampling.tokens import TokenRequest, TokenSession

VOCAB_SIZE, EMBEDDING, WIDTH, ORDER = 84, 128, 384, 7


def network() -> RNN:
    torch.manual_seed(1)
    config = RNNConfig(width=WIDTH, embedding=EMBEDDING, ngrams=ORDER, cache=CacheConfig())
    built = RNN(config, VOCAB_SIZE).eval()
    nn.init.normal_(built.output, std=0.05)
    noise = np.random.default_rng(0)
    words = [noise.integers(1, VOCAB_SIZE, noise.integers(2, 9)) for _ in range(2000)]
    text = np.concatenate([np.zeros(1, np.int64), *(words[at] for at in noise.zipf(1.3, 200_000) % 2000)])
    assert built.ngrams is not None
    built.ngrams.add(*count(gram_keys(text, ORDER, VOCAB_SIZE)))
    return built


def session_speed(kind: Callable[[RNN, int], Any], model: RNN, streams: int, tokens: int) -> float:
    """Tokens a second of all streams together, prompts not counted."""
    session = kind(model, streams)
    for seed in range(streams):
        session.admit(TokenRequest(np.array([0, 5, 9]), tokens, frozenset(), seed))
    session.step()
    made, begun = 0, time.process_time()
    while chunks := session.step():
        made += sum(len(chunk.content) for chunk in chunks)
    return made / (time.process_time() - begun)


@torch.no_grad()
def eager_speed(streams: int, tokens: int) -> float:
    """The loop everyone writes first: embedding, nn.LSTM, nn.Linear, multinomial. No n-grams, no cache."""
    embedding, lstm = nn.Embedding(VOCAB_SIZE, EMBEDDING), nn.LSTM(EMBEDDING, WIDTH, batch_first=True)
    output = nn.Linear(WIDTH, VOCAB_SIZE)
    token, state = torch.zeros(streams, 1, dtype=torch.int64), None
    begun = time.process_time()
    for _ in range(tokens):
        x, state = lstm(embedding(token), state)
        token = torch.multinomial(output(x[:, -1]).softmax(-1), 1)
    return streams * tokens / (time.process_time() - begun)


@numba.njit(fastmath=True)
def _read(numbers: Any, times: int) -> Any:
    total = np.float32(0)
    for _ in range(times):
        for index in range(len(numbers)):
            total += numbers[index]
    return total


def read_bandwidth(size: int) -> float:
    """Bytes a second at which a buffer of so many bytes can be read over and over: the best of five."""
    numbers = np.ones(size // 4, np.float32)
    _read(numbers, 1)
    best = 0.0
    for _ in range(5):
        begun = time.process_time()
        _read(numbers, 400)
        best = max(best, 400 * size / (time.process_time() - begun))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--streams", default="1,64,256,1024")
    told = parser.parse_args()
    torch.set_num_threads(1)
    model = network()
    session_speed(FusedSession, model, 1, 40)  # compile
    for streams in map(int, told.streams.split(",")):
        tokens = max(4000 // streams, 24)
        fused = max(session_speed(FusedSession, model, streams, tokens) for _ in range(3))
        plain = session_speed(TokenSession, model, streams, max(tokens // 20, 6))
        eager = max(eager_speed(streams, max(tokens // 4, 8)) for _ in range(3))
        line: dict[str, Any] = {
            "streams": streams,
            "fused_tokens_per_second": round(fused),
            "torch_tokens_per_second": round(plain),
            "eager_lstm_tokens_per_second": round(eager),
            "times_torch": round(fused / plain, 1),
            "times_eager_lstm": round(fused / eager, 1),
        }
        if streams == 1:
            layout = FusedSession(model, 1)._layout
            size = layout.weights.nbytes
            bandwidth = read_bandwidth(size)
            line |= {
                "weight_bytes_per_token": size,
                "read_gigabytes_per_second": round(bandwidth / 1e9, 1),
                "share_of_memory_bound": round(fused * size / bandwidth, 2),
            }
        print(json.dumps({**line, "threads": 1, "machine": platform.processor() or platform.machine()}))


if __name__ == "__main__":
    main()
