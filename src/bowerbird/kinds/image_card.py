"""What is said of a model of pictures: its card, and what to know before any work is spent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bowerbird.data.dataset import Dataset

FEW = 100
"""Training pictures under which hardly anything is learnt that is not one of them."""


def warnings(dataset: Dataset, parameters: int) -> list[str]:
    pictures = int(dataset.info["splits"]["train"]["documents"])
    if pictures >= FEW:
        return []
    return [
        f"too few pictures: {pictures:,} to learn from; a model of {parameters:,} parameters will mostly repeat "
        f"them. {FEW} are the least that make sense, some thousands are good."
    ]


def card(settings: Mapping[str, Any], dataset: Dataset, parameters: int) -> str:
    """The README of a bundle: what it is, what it learnt from, what it is not for."""
    train, model = dataset.info["splits"]["train"], settings["model"]
    classes: tuple[str, ...] = getattr(dataset.codec, "classes", ()) if model["classes"] else ()
    named = f", of {len(classes)} classes" if classes else ""
    side = model["resolution"]
    return (
        "# An image model made with bowerbird\n\n"
        f"- network: a GAN's generator ({model['shape']}), {parameters:,} parameters\n"
        f"- makes: pictures of {side} x {side} pixels in {model['channels']} channels{named}\n"
        f"- learnt from: {train['documents']:,} pictures (dataset {dataset.digest})\n\n"
        "Use: `bowerbird generate THIS_FOLDER -n 9 --out FOLDER`, or `bowerbird.load(folder).generate(...)`.\n\n"
        "It imitates its training pictures and may come close to single ones of them: `bowerbird evaluate` "
        "reports how often. What it shows is made up, whoever or whatever it looks like.\n\n"
        "The pictures it learnt from keep their own licence; see the dataset's ledger.\n"
    )
