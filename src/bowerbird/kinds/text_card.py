"""The model card of what is sampled token by token: texts and melodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bowerbird.data.dataset import Dataset


def card(kind: str, settings: Mapping[str, Any], dataset: Dataset, parameters: int) -> str:
    """The README of a bundle: what it is, what it learnt from, what it is not for."""
    train = dataset.info["splits"]["train"]
    model = settings["model"]
    return (
        f"# A {kind} model made with bowerbird\n\n"
        f"- network: {model['layers']} x {model['cell']}, {model['width']} wide, {parameters:,} parameters\n"
        f"{_counted(model)}"
        f"- learnt from: {train['documents']:,} documents, {train['bytes']:,} bytes "
        f"(dataset {dataset.digest})\n"
        f"- codec: {dataset.codec.name}, {dataset.codec.vocab_size:,} tokens; structure: {dataset.structure}\n\n"
        "Use: `bowerbird generate THIS_FOLDER --prompt TEXT`, or `bowerbird.load(folder).generate(...)`.\n\n"
        "It imitates the style of its training text and may repeat passages of it: `bowerbird evaluate` "
        "reports how much. It knows no facts, and what it says was said by nobody.\n\n"
        "The texts it learnt from keep their own licence; see the dataset's ledger.\n"
    )


def _counted(model: Mapping[str, Any]) -> str:
    """What the card says of the n-grams in a bundle, which can be read by whoever has it."""
    if not model.get("ngrams"):
        return ""
    return f"- counts: every sequence of up to {model['ngrams']} tokens of its training text, legible in the weights\n"
