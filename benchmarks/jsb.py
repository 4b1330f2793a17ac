"""Bach's chorales as papers have them: nats a frame of the recurrent network on JSB_Chorales.mat.

A frame is a set of pitches out of 88, a quarter note long. The network emits its pitches from high to low, then
its end; the loss of a frame is the sum over these tokens of -log P(token | all before), and the loss of a split
the mean over all its frames. Training pieces are transposed at random; what is told of held-out pieces is the
mean of the probabilities over some transpositions of the piece, a fixed mixture chosen on the valid split. The
weights are an average over the last steps; those of the best validation are judged on the test split, once.

Published: TCN 8.10 and LSTM 8.45 (Bai et al. 2018, arXiv:1803.01271), which predict the notes of a frame
independently of each other; RNN-NADE 5.56 (Boulanger-Lewandowski et al. 2012, arXiv:1206.6392).

    python benchmarks/jsb.py JSB_Chorales.mat [--minutes 30] [--width 256] [--dropout 0.4]
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.learning.optimizers import OptimizerConfig, build_adamw
from bowerbird.learning.pace import rate_at
from bowerbird.models.rnn import RNN, RNNConfig

FARTHEST = 6
"""Semitones that a piece is transposed by at most."""
PITCHES = 88 + 2 * FARTHEST
END = PITCHES
"""Ends a frame; before the first token of a piece it stands too."""
NONE = PITCHES + 1
"""Where a frame has no such note."""
SLOTS = 4
"""Notes of a frame that the network is shown, from the top."""
PHASES = 16
MIXTURES = ((0,), (-1, 0, 1), (-2, -1, 0, 1, 2), tuple(range(-FARTHEST, FARTHEST + 1)))
FEATURES = 3 + 3 * SLOTS + 1

Frames = list[list[int]]
"""Of each frame the pitches, from high to low."""


def splits(path: Path) -> dict[str, list[Frames]]:
    import scipy.io  # type: ignore[import-untyped]

    read = scipy.io.loadmat(str(path))
    return {
        name: [
            [[int(pitch) + FARTHEST for pitch in np.flatnonzero(row)[::-1]] for row in piece]
            for piece in read[f"{name}data"][0]
        ]
        for name in ("train", "valid", "test")
    }


class Piece:
    """A piece as what is to be predicted and what is known at each token; F features."""

    def __init__(self, frames: Frames, shift: int):
        targets: list[int] = []
        known: list[list[int]] = []
        earlier = [[NONE] * SLOTS, [NONE] * SLOTS]
        token = END
        for number, frame in enumerate(frames):
            pitches = [pitch + shift for pitch in frame]
            for slot, target in enumerate([*pitches, END]):
                now = _slots(pitches[:slot])
                above = earlier[0][slot] if slot < SLOTS else NONE
                known.append(
                    [token, min(slot, PHASES - 1), above, *earlier[0], *earlier[1], *now, number % PHASES]
                )
                targets.append(target)
                token = target
            earlier = [_slots(pitches), earlier[0]]
        self.targets = np.array(targets, np.int64)
        self.known = np.array(known, np.int64)
        self.frames = len(frames)
        self.first = len(frames[0]) + 1
        """Tokens of the first frame."""


def _slots(pitches: Sequence[int]) -> list[int]:
    return [*pitches[:SLOTS], *[NONE] * (SLOTS - len(pitches))]


class Known(nn.Module):
    """In place of an embedding of one token: the sum of the embeddings of all that is known (B, T, F)."""

    offsets: Tensor

    def __init__(self, size: int):
        super().__init__()
        values = PITCHES + 2
        self.table = nn.Embedding(FEATURES * values, size)
        nn.init.normal_(self.table.weight, std=FEATURES**-0.5)
        self.register_buffer("offsets", torch.arange(FEATURES) * values)

    def forward(self, known_BTF: Tensor) -> Tensor:
        rows, length, _ = known_BTF.shape
        flat = (known_BTF + self.offsets).view(rows * length, FEATURES)
        return F.embedding_bag(flat, self.table.weight, mode="sum").view(rows, length, -1)


def padded(pieces: Sequence[Piece]) -> tuple[Tensor, Tensor, Tensor]:
    """What is known (B, T, F), targets (B, T), and which of them are there (B, T)."""
    longest = max(len(piece.targets) for piece in pieces)
    known = np.zeros((len(pieces), longest, FEATURES), np.int64)
    targets, there = np.zeros((len(pieces), longest), np.int64), np.zeros((len(pieces), longest), np.bool_)
    for row, piece in enumerate(pieces):
        size = len(piece.targets)
        known[row, :size], targets[row, :size], there[row, :size] = piece.known, piece.targets, True
    return torch.from_numpy(known), torch.from_numpy(targets), torch.from_numpy(there)


def log_probabilities(network: RNN, known_BTF: Tensor) -> Tensor:
    """(B, T, V); a pitch that is not below the last of its frame is ruled out."""
    logits, _ = network(known_BTF, network.start(len(known_BTF)))
    last = known_BTF[:, :, 0, None]
    pitches = torch.arange(PITCHES + 1)
    impossible = (pitches >= last) & (pitches < END) & (last < END)
    ruled: Tensor = logits.masked_fill(impossible, -torch.inf)
    return ruled.log_softmax(-1)


@torch.no_grad()
def told(network: RNN, pieces: Sequence[Frames], shifts: Sequence[int]) -> dict[int, list[np.ndarray]]:
    """For each shift and piece, log P of each token of the piece so transposed."""
    network.eval()
    found: dict[int, list[np.ndarray]] = {}
    for shift in shifts:
        found[shift] = []
        for start in range(0, len(pieces), 16):
            moved = [Piece(piece, shift) for piece in pieces[start : start + 16]]
            known, targets, _ = padded(moved)
            logs = log_probabilities(network, known).gather(2, targets[:, :, None])[:, :, 0].numpy()
            found[shift] += [
                row[: len(piece.targets)].astype(np.float64) for row, piece in zip(logs, moved, strict=True)
            ]
    return found


def frame_loss(
    found: dict[int, list[np.ndarray]],
    mixture: Sequence[int],
    pieces: Sequence[Frames],
    *,
    first: bool = True,
) -> float:
    """Nats a frame of the even mixture of transpositions; without the first frame of each piece, unless `first`."""
    total, frames = 0.0, 0
    for number, piece in enumerate(pieces):
        mixed = np.logaddexp.reduce([found[shift][number] for shift in mixture]) - np.log(len(mixture))
        left = 0 if first else len(piece[0]) + 1
        total -= float(mixed[left:].sum())
        frames += len(piece) - (not first)
    return total / frames


def train(data: dict[str, list[Frames]], given: argparse.Namespace) -> tuple[RNN, int, float]:
    """The averaged network of the best validation, epochs, and its loss without any mixture."""
    torch.manual_seed(given.seed)
    rng = np.random.default_rng(given.seed)
    config = RNNConfig(
        width=given.width,
        layers=given.layers,
        embedding=given.width,
        residual=given.layers > 1,
        dropout=given.dropout,
        embedding_dropout=given.embedding_dropout,
        weight_drop=given.weight_drop,
    )
    network = RNN(config, PITCHES + 1)
    network.embedding = Known(given.width)  # type: ignore[assignment]
    settings = OptimizerConfig(learning_rate=given.rate, weight_decay=given.weight_decay)
    optimizer = build_adamw(network, settings)
    average, best = copy.deepcopy(network), copy.deepcopy(network)
    best_loss, epochs, steps, begun = float("inf"), 0, 0, time.perf_counter()
    tried = begun
    while (progress := (time.perf_counter() - begun) / (60 * given.minutes)) < 1:
        pieces = [Piece(piece, int(rng.integers(-FARTHEST, FARTHEST + 1))) for piece in data["train"]]
        # Like with like in length, so that little is padding.
        order = sorted(range(len(pieces)), key=lambda at: len(pieces[at].targets) * rng.uniform(0.8, 1.25))
        batches = [order[at : at + given.rows] for at in range(0, len(order), given.rows)]
        for at in rng.permutation(len(batches)):
            known, targets, there = padded([pieces[piece] for piece in batches[at]])
            network.train()
            logs = log_probabilities(network, known)
            loss = F.nll_loss(logs[there], targets[there])
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate * rate_at(min(progress, 1.0))
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            steps += 1
            keep = min(0.99, steps / (steps + 10))
            with torch.no_grad():
                for mean, now in zip(average.parameters(), network.parameters(), strict=True):
                    mean.lerp_(now, 1 - keep)
            progress = (time.perf_counter() - begun) / (60 * given.minutes)
        epochs += 1
        if time.perf_counter() - tried > 60 * given.minutes / 20 or progress >= 1:
            tried = time.perf_counter()
            valid = frame_loss(told(average, data["valid"], [0]), [0], data["valid"])
            frames = sum(map(len, data["train"]))
            per_frame = loss.item() * sum(len(piece.targets) for piece in pieces) / frames
            print(
                f"# {progress:4.0%} epoch {epochs}: train about {per_frame:.3f}, valid {valid:.3f}",
                flush=True,
            )
            if valid < best_loss:
                best_loss = valid
                best.load_state_dict(average.state_dict())
    return best, epochs, best_loss


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--rate", type=float, default=4e-3)
    parser.add_argument("--dropout", type=float, default=0.4)
    parser.add_argument("--embedding-dropout", type=float, default=0.1)
    parser.add_argument("--weight-drop", type=float, default=0.2)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    data = splits(given.path)
    begun = time.perf_counter()
    network, epochs, plain = train(data, given)
    shifts = sorted({shift for mixture in MIXTURES for shift in mixture})
    valid = told(network, data["valid"], shifts)
    losses = {mixture: frame_loss(valid, mixture, data["valid"]) for mixture in MIXTURES}
    mixture = min(losses, key=lambda chosen: losses[chosen])
    test = told(network, data["test"], mixture)
    settings = {name: value for name, value in vars(given).items() if name != "path"}
    result = {
        "benchmark": "jsb",
        "test_nats_per_frame": frame_loss(test, mixture, data["test"]),
        "test_without_first_frames": frame_loss(test, mixture, data["test"], first=False),
        "valid_nats_per_frame": losses[mixture],
        "valid_without_mixture": plain,
        "mixture": mixture,
        "epochs": epochs,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seconds": round(time.perf_counter() - begun),
        "settings": settings,
        "machine": f"{platform.machine()}, 1 thread, torch {torch.__version__}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
