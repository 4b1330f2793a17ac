"""A small convolutional classifier, taught on the train split, that says which class a picture looks like.

No model is trained or chosen by it: the extractor of a dataset, which `train` chooses its best checkpoint by, is
another.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from bowerbird.data.dataset import Dataset

STEPS, BATCH, WIDTH = 2000, 128, 32
Classify = Callable[[NDArray[np.uint8]], NDArray[Any]]
"""(N, H, W, C) pictures -> (N,) classes."""


class Classifier(nn.Module):
    """(N, C, R, R) in -1..1 to (N, classes) scores: four strided convolutions and the mean of what is left."""

    def __init__(self, channels: int, classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        before = channels
        for width in (WIDTH, 2 * WIDTH, 4 * WIDTH, 4 * WIDTH):
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.output = nn.Linear(before, classes)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.output(self.layers(pictures))


def scaled(pictures: NDArray[np.uint8]) -> Tensor:
    """(N, H, W, C) uint8 as (N, C, H, W) in -1..1."""
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def teach(pictures: NDArray[np.uint8], labels: NDArray[np.int32], classes: int, steps: int) -> Classifier:
    """A classifier of the pictures that have a label: Adam 1e-3, falling to nothing."""
    torch.manual_seed(0)
    noise, known = np.random.default_rng(0), np.flatnonzero(labels >= 0)
    network = Classifier(pictures.shape[3], classes)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * (1 - step / steps)
        chosen = np.sort(noise.choice(known, min(BATCH, len(known)), replace=False))
        targets = torch.from_numpy(labels[chosen].astype(np.int64))
        loss = F.cross_entropy(network(scaled(pictures[chosen])), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def used(network: Classifier) -> Classify:
    @torch.inference_mode()
    def classify(pictures: NDArray[np.uint8]) -> NDArray[Any]:
        parts = [network(scaled(pictures[at : at + 500])).argmax(1) for at in range(0, len(pictures), 500)]
        return torch.cat(parts).numpy()

    return classify


def classifier_of(dataset: Dataset, path: Path) -> Classify:
    """The classifier of a dataset, taught once and kept at `path`."""
    classes = len(dataset.codec.classes)  # type: ignore[attr-defined]  # of pictures
    images = dataset.images("train")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(dict(teach(images, dataset.labels("train"), classes, STEPS).state_dict()), path)
    network = Classifier(images.shape[3], classes).eval()
    network.load_state_dict(load_file(path))
    return used(network)
