"""`own`: features learnt once from the dataset's own training pictures, then kept with it.

With two classes or more the network learns to tell them apart; without, to know a picture again when it is
zoomed, moved and recoloured (SimCLR: Chen et al. 2020, arXiv:2002.05709).
B pictures of a batch, C channels, R their side.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from bowerbird.base.device import mixed_seed
from bowerbird.base.errors import DataError, Diverged, StorageError
from bowerbird.evaluation.extractors import stored
from bowerbird.evaluation.extractors.extractor import (
    Extractor,
    ExtractorPart,
    Features,
    Pictures,
    PictureSet,
    tiles,
)
from bowerbird.evaluation.extractors.stored import Trained
from bowerbird.models.extractor import ExtractorConfig, FeatureNetwork, feature_size

RECIPE = 1
"""Raised when the training changes: stored extractors of other recipes are then trained anew."""
SECONDS = 30.0
VARIANCE = 100.0
"""Of the training pictures' features, all together: the Frechet distance of one average picture repeated."""
TEMPERATURE = 0.2
_BATCH = 64
_TILE = 64
_PROJECTION = 64
_LEARNING_RATE = 2e-3
_EPOCHS = 60
_LEAST_STEPS, _MOST_STEPS = 300, 4000
_MOST_JUDGED = 5000
_MOST_SETTLED = 2000
_CLASSES, _VIEWS = "classes", "views"

_unsaved: dict[str, tuple[Trained, str]] = {}
"""By digest of the dataset: extractors of folders that cannot be written, and why."""


def own(
    dataset: PictureSet, seconds: float = SECONDS, *, steps: int | None = None, seed: int = 0
) -> Extractor:
    """The dataset's extractor: the stored one, or else one trained now and stored.

    Args:
        dataset: of pictures.
        seconds: for training, unless steps are given; small datasets need fewer.
        steps: of training, instead; then equal seeds give equal extractors.
        seed: of everything random in training.

    Raises:
        Refused: the stored one was trained on another dataset.
        CorruptFile: the stored one is damaged.
        DataError: there are fewer than 2 training pictures.
    """
    found = stored.read(dataset, RECIPE)
    if found is not None:
        return _extractor(found)
    if dataset.digest in _unsaved:
        return _extractor(*_unsaved[dataset.digest])
    with stored.alone(dataset.path) as writable:
        found = stored.read(dataset, RECIPE)  # another process may have stored it in the meantime
        if found is not None:
            return _extractor(found)
        trained, content = stored.seal(*train(dataset, seconds=seconds, steps=steps, seed=seed))
        reason = "its folder cannot be written"
        if writable:
            try:
                stored.write(dataset.path, trained, content)
                return _extractor(trained)
            except StorageError as error:
                reason = error.what
    _unsaved[dataset.digest] = (trained, reason)
    return _extractor(trained, reason)


def train(
    dataset: PictureSet, *, seconds: float = SECONDS, steps: int | None = None, seed: int = 0
) -> tuple[FeatureNetwork, dict[str, Any]]:
    """A network, and what its record says of it. What torch draws elsewhere is not touched.

    Raises:
        DataError: there are fewer than 2 training pictures.
        Diverged: training gave numbers that are not finite.
    """
    pictures, labels = dataset.images("train"), np.asarray(dataset.labels("train"), np.int64)
    if len(pictures) < 2:
        raise DataError("an extractor needs at least 2 training pictures", where=dataset.path)
    classes = len(dataset.codec.classes)
    told_apart = len(np.unique(labels[labels >= 0])) >= 2
    rows = np.flatnonzero(labels >= 0) if told_apart else np.arange(len(pictures))
    config = ExtractorConfig(
        resolution=int(pictures.shape[1]),
        channels=int(pictures.shape[3]),
        outputs=classes if told_apart else _PROJECTION,
        head="linear" if told_apart else "projection",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(mixed_seed(seed))
        network = FeatureNetwork(config)
    done = _fit(network, pictures, labels, rows, seconds=seconds, steps=steps, seed=seed)
    network.eval()
    some = np.random.default_rng([seed, 1]).permutation(len(pictures))[:_MOST_SETTLED]
    pooled = _computed(network, network.pooled, pictures[np.sort(some)], feature_size(config))
    if not np.isfinite(pooled).all():
        raise Diverged("training the extractor gave numbers that are not finite", where=dataset.path)
    network.settle(torch.from_numpy(pooled), VARIANCE)
    facts = {
        "recipe": RECIPE,
        "dataset": dataset.digest,
        "learnt": _CLASSES if told_apart else _VIEWS,
        "classes": list(dataset.codec.classes) if told_apart else [],
        "pictures": len(rows),
        "steps": done,
        "seed": seed,
    }
    return network, facts | (_accuracy(network, dataset) if told_apart else {})


def _fit(
    network: FeatureNetwork,
    pictures: Pictures,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    seconds: float,
    steps: int | None,
    seed: int,
) -> int:
    """Train the network, its rate falling to nothing along half a cosine; returns the steps taken."""
    optimizer = torch.optim.AdamW(network.parameters(), lr=_LEARNING_RATE, weight_decay=1e-2)
    enough = min(max(_EPOCHS * len(rows) // _BATCH, _LEAST_STEPS), _MOST_STEPS) if steps is None else steps
    apart = network.config.head == "linear"
    started, done = time.monotonic(), 0
    network.train()
    while done < enough:
        progress = done / enough
        if steps is None:
            progress = max(progress, (time.monotonic() - started) / seconds)
        if progress >= 1:
            break
        drawn = np.random.default_rng([seed, 2, done])
        batch = drawn.choice(rows, _BATCH, replace=len(rows) < _BATCH)
        noise = torch.Generator().manual_seed(mixed_seed(seed, done))
        given = _tensor(np.asarray(pictures[batch]))
        if apart:
            wanted = torch.from_numpy(labels[batch])
            loss = F.cross_entropy(network(view(given, 0.25, noise)), wanted, label_smoothing=0.05)
        else:
            pair = torch.cat([view(given, 1.0, noise), view(given, 1.0, noise)])
            loss = contrast(network(pair), TEMPERATURE)
        for group in optimizer.param_groups:
            group["lr"] = _LEARNING_RATE * (1 + np.cos(np.pi * progress)) / 2
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        done += 1
    return done


def view(images_BCRR: Tensor, strength: float, noise: torch.Generator) -> Tensor:
    """Each picture zoomed by up to twice the size (strength 1), moved within itself, made lighter, darker, duller."""
    count, channels = images_BCRR.shape[:2]

    def evenly(*shape: int) -> Tensor:
        return torch.rand(count, *shape, generator=noise)

    seen = 1 - 0.5 * strength * evenly()
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = seen
    theta[:, :, 2] = (2 * evenly(2) - 1) * (1 - seen)[:, None]
    grid = F.affine_grid(theta, list(images_BCRR.shape), align_corners=False)
    moved = F.grid_sample(images_BCRR, grid, padding_mode="border", align_corners=False)
    gain = 1 + 0.4 * strength * (2 * evenly(channels, 1, 1) - 1)
    shift = 0.2 * strength * (2 * evenly(1, 1, 1) - 1)
    return (moved * gain + shift).contiguous(memory_format=torch.channels_last)


def contrast(made_2BP: Tensor, temperature: float) -> Tensor:
    """NT-Xent (arXiv:2002.05709, equation 1): row i is to be known among all others as a view of row i + B."""
    count = len(made_2BP) // 2
    unit = F.normalize(made_2BP, dim=1)
    alike = unit @ unit.T / temperature
    alike = alike.masked_fill(torch.eye(2 * count, dtype=torch.bool), -torch.inf)
    return F.cross_entropy(alike, torch.arange(2 * count).roll(count))


def _accuracy(network: FeatureNetwork, dataset: PictureSet) -> dict[str, Any]:
    """Share of the labelled valid pictures that it puts into their class, None where there are none."""
    labels = np.asarray(dataset.labels("valid"), np.int64)
    rows = np.flatnonzero(labels >= 0)[:_MOST_JUDGED]
    if not len(rows):
        return {"accuracy": None, "judged": 0}
    named = _classified(network, dataset.images("valid")[rows])
    return {"accuracy": float(np.mean(named == labels[rows])), "judged": len(rows)}


def _classified(network: FeatureNetwork, pictures: Pictures) -> NDArray[np.int64]:
    logits = _computed(network, network, pictures, network.config.outputs)
    return np.asarray(logits.argmax(1), np.int64)


def _computed(
    network: FeatureNetwork, function: Callable[[Tensor], Tensor], pictures: Pictures, size: int
) -> Features:
    """(N, size), in batches of one size: a picture's numbers do not depend on its company."""
    found = np.zeros((len(pictures), size), np.float32)
    network.eval()
    with torch.inference_mode():
        for place, tile in tiles(pictures, _TILE):
            found[place] = function(_tensor(tile)).numpy()[: place.stop - place.start]
    return found


def _tensor(pictures: Pictures) -> Tensor:
    """(B, C, R, R) from -1 to 1."""
    # A copy, for torch warns of arrays that cannot be written to, as those mapped from disk.
    turned = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2)
    return (turned.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def _extractor(trained: Trained, reason: str = "") -> Extractor:
    network, record = trained.network, trained.record
    size = feature_size(network.config)
    note = f"learnt from {record['pictures']:,} training pictures in {record['steps']:,} steps"
    if record.get("learnt") == _CLASSES:
        note += f" to tell {network.config.outputs:,} classes apart"
        if record.get("accuracy") is not None:
            note += f" ({record['accuracy']:.1%} of {record['judged']:,} valid pictures right)"
    else:
        note += " to know a picture again when it is zoomed, moved and recoloured"
    if reason:
        note += f"; not stored with the dataset, for this process only: {reason}"
    found = Extractor(
        "own",
        size,
        str(record["weights"]),
        lambda pictures: _computed(network, network.features, pictures, size),
        note,
    )
    if network.config.head != "linear":
        return found
    return replace(found, classify=lambda pictures: _classified(network, pictures))


OWN = ExtractorPart(own, "learnt from the dataset's own training pictures, and kept with it")
