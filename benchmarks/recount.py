"""Recounts a model's bits per byte from its files alone: numpy, no torch, none of bowerbird's code.

    python benchmarks/recount.py RUN_OR_BUNDLE TEXT_FILE --from 0.9

reads `bundle.json` and `weights.safetensors`, runs the LSTM one character after another over the text from
that share of its characters on, and prints one JSON line. For LSTM models with the `characters` codec,
without normalisation layers. It is meant to agree with `bowerbird evaluate` on the same text.
"""

from __future__ import annotations

import argparse
import itertools
import json
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


def bits(bundle: Path, text: str, whole: bool) -> float:
    """Bits the model spends on a text from the empty state, its end included if it is whole."""
    manifest = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    model = manifest["config"]["model"]
    assert model["cell"] == "lstm", "only LSTM models"
    assert model["norm"] == "none", "only models without normalisation layers"
    plain = (model["tied"], model["residual"]) == (False, False)
    assert plain, "only models without tied or residual layers"
    weights = {
        name: value.astype(np.float64) for name, value in load_file(bundle / "weights.safetensors").items()
    }
    layers, width = model["layers"], model["width"]
    tokens = [DOCUMENT, *tokens_of(text, manifest["codec"]["pieces"])] + ([DOCUMENT] if whole else [])
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
        top = logits.max()
        nats += top + np.log(np.exp(logits - top).sum()) - logits[following]
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
