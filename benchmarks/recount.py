"""Recounts a model's bits per byte from its files alone: numpy, no torch, none of bowerbird's code.

    python benchmarks/recount.py RUN_OR_BUNDLE TEXT_FILE --from 0.9

reads `bundle.json` and `weights.safetensors`, runs the LSTM one character after another over the text from
that share of its characters on, and prints one JSON line. For LSTM models with the `characters` codec,
without normalisation layers; n-grams and cache are counted here anew, with dictionaries. It is meant to agree
with `bowerbird evaluate` on the same text.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

DOCUMENT = 0
SPELLING = 4
FIRST_CHARACTER = 20


def bundle_of(place: Path) -> Path:
    """The bundle in a run folder (its best checkpoint), or the place itself."""
    if (place / "best.json").exists():
        step = json.loads((place / "best.json").read_text())["step"]
        return place / "checkpoints" / f"{step:08d}" / "bundle"
    return place


def tokens_of(text: str, pieces: list[str]) -> list[int]:
    """One token a character; one that is not on the list is spelt in half bytes, high before low."""
    known = {piece: FIRST_CHARACTER + index for index, piece in enumerate(pieces)}
    tokens: list[int] = []
    for character in text:
        if character in known:
            tokens.append(known[character])
        else:
            tokens += [SPELLING + half for byte in character.encode() for half in divmod(byte, 16)]
    return tokens


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Counted:
    """Interpolated modified Kneser-Ney (Chen and Goodman 1999) from the grams of the highest order."""

    def __init__(self, grams: np.ndarray, counts: np.ndarray, order: int, vocab_size: int):
        self.order, self.vocab_size = order, vocab_size
        level: Counter[tuple[int, ...]] = Counter()
        for gram, count in zip(grams.tolist(), counts.tolist(), strict=True):
            level[tuple(gram // vocab_size**place % vocab_size for place in range(order))] = count
        self.levels: list[dict[tuple[int, ...], tuple[np.ndarray, np.ndarray, float]]] = []
        for _ in range(order):
            self.levels.insert(0, self.shares(level))
            level = Counter(gram[:-1] for gram in level)

    @staticmethod
    def shares(
        level: Counter[tuple[int, ...]],
    ) -> dict[tuple[int, ...], tuple[np.ndarray, np.ndarray, float]]:
        """context -> (tokens, their shares, what is left), the newest token of a context first."""
        times = Counter(level.values())
        discount = [0.0, 0.5, 0.75, 1.0]
        if all(times[count] for count in (1, 2, 3, 4)):
            rate = times[1] / (times[1] + 2 * times[2])
            raw = [count - (count + 1) * rate * times[count + 1] / times[count] for count in (1, 2, 3)]
            discount = [0.0, *(min(max(value, 0.1), count - 0.1) for count, value in enumerate(raw, 1))]
        after: dict[tuple[int, ...], list[tuple[int, int]]] = defaultdict(list)
        for gram, count in level.items():
            after[gram[1:]].append((gram[0], count))
        found = {}
        for context, pairs in after.items():
            total = sum(count for _, count in pairs)
            taken = [discount[min(count, 3)] for _, count in pairs]
            share = [(count - less) / total for (_, count), less in zip(pairs, taken, strict=True)]
            found[context] = (np.array([token for token, _ in pairs]), np.array(share), sum(taken) / total)
        return found

    def after(self, recent: list[int]) -> tuple[np.ndarray, int]:
        """Log-probabilities of each order from 2 on (orders, V), and how many of them know the context."""
        probability = np.full(self.vocab_size, 1 / self.vocab_size)
        logs, known = [], 0
        for size in range(1, self.order + 1):
            if (entry := self.levels[size - 1].get(tuple(recent[: size - 1]))) is not None:
                tokens, shares, left = entry
                probability = probability * left
                probability[tokens] += shares
                known += size > 2
            if size > 1:
                logs.append(np.log(probability))
        return np.array(logs), known + 1  # order 2 always counts as known


class Past:
    """What followed the newest tokens before, in a window of the same document."""

    def __init__(self, window: int, shortest: int):
        self.window, self.shortest = window, shortest
        self.read: list[int] = []
        self.ends: dict[tuple[int, ...], list[int]] = defaultdict(list)

    def push(self, token: int) -> list[tuple[int, int]]:
        """Read a token; (what followed, length) of each match."""
        self.read.append(token)
        newest = len(self.read) - 1
        if newest + 1 < self.shortest:
            return []
        ends = self.ends[tuple(self.read[-self.shortest :])]
        found = []
        for place in ends:
            if place >= newest - self.window:
                length = self.shortest
                while (
                    length < 16
                    and place >= length
                    and self.read[place - length] == self.read[newest - length]
                ):
                    length += 1
                found.append((self.read[place + 1], length))
        ends.append(newest)
        return found


def bits(bundle: Path, text: str, whole: bool) -> float:
    """Bits the model spends on a text from the empty state, its end included if it is whole."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    model = manifest["config"]["model"]
    assert model["cell"] == "lstm", "only LSTM models"
    assert model["norm"] == "none", "only models without normalisation layers"
    plain = (model["tied"], model["residual"]) == (False, False)
    assert plain, "only models without tied or residual layers"
    weights = {
        name: value.astype(np.float64) if value.dtype.kind == "f" else value.astype(np.int64)
        for name, value in load_file(bundle / "weights.safetensors").items()
    }
    layers, width = model["layers"], model["width"]
    tokens = [DOCUMENT, *tokens_of(text, manifest["codec"]["pieces"])] + ([DOCUMENT] if whole else [])
    counted = past = None
    if model["ngrams"]:
        grams, counts = weights["ngrams.grams"], weights["ngrams.counts"]
        counted = Counted(grams, counts, len(weights["ngrams.gates.bias"]) + 1, len(weights["bias"]))
    if model["cache"]:
        past = Past(model["cache"]["window"], model["cache"]["shortest"])
    recent = [DOCUMENT] * 16
    h, c = np.zeros((layers, width)), np.zeros((layers, width))
    nats = 0.0
    for token, following in itertools.pairwise(tokens):
        x = weights["embedding.weight"][token]
        for layer in range(layers):
            part = {name: weights[f"cells.{layer}.weights.{name}"] for name in
                    ("input", "recurrent", "input_bias", "recurrent_bias")}  # fmt: skip
            gates = (
                part["input"] @ x + part["input_bias"] + part["recurrent"] @ h[layer] + part["recurrent_bias"]
            )
            enter, forget, candidate, output = np.split(gates, 4)
            c[layer] = sigmoid(forget) * c[layer] + sigmoid(enter) * np.tanh(candidate)
            h[layer] = sigmoid(output) * np.tanh(c[layer])
            x = h[layer]
        logits = weights["output"] @ x + weights["bias"]
        recent = [token, *recent[:-1]] if token != DOCUMENT else [DOCUMENT] * 16
        if counted:
            logs, known = counted.after(recent)
            gates = weights["ngrams.gates.weight"] @ x + weights["ngrams.gates.bias"]
            logits = logits + (gates + weights["ngrams.by_known"][known]) @ logs
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        gained = np.zeros_like(chances)
        for candidate, length in past.push(token) if past else []:
            weight = weights["cache.by_length"][length - past.shortest] + weights["cache.gate"] @ x
            gained[candidate] += np.exp(weight)
        chances += np.minimum(gained, 16)
        nats -= np.log(chances[following] / chances.sum())
    return float(nats / np.log(2))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument(
        "--from", dest="start", type=float, default=0.9, help="share of characters left out at the start"
    )
    arguments = parser.parse_args()
    whole = arguments.text.read_text(encoding="utf-8")
    text = whole[int(arguments.start * len(whole)) :]
    found = bits(bundle_of(arguments.model), text, whole=True)
    size = len(text.encode())
    told = {"bits_per_byte": found / size, "nats_per_character": found * np.log(2) / len(text), "bytes": size}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
