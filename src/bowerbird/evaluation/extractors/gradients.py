"""`gradients`: features made by hand, from no training: edges, colours, and the coarse picture itself.

Histograms of oriented gradients on a grid (Dalal & Triggs 2005, CVPR, section 6, without overlapping blocks),
mean, deviation and skewness of each colour (Stricker & Orengo 1995, SPIE 2420), and the lowest coefficients of
the discrete cosine transform (Ahmed, Natarajan & Rao 1974, IEEE Trans. Computers C-23).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bowerbird.base.digest import digest_json
from bowerbird.evaluation.extractors.extractor import (
    Extractor,
    ExtractorPart,
    Features,
    Pictures,
    PictureSet,
    on_white,
    tiles,
)

_VERSION = 1
_SIDE = 32
"""Pixels that a picture is brought to before its edges are looked at."""
_CELLS = 4
"""To a side of the grid."""
_ANGLES = 8
"""Directions told apart, over half a turn."""
_WAVES = 6
"""Coefficients to a side."""
_SCALE = 10.0
_TILE = 64
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)

Numbers = NDArray[np.float32]


def features(pictures: Pictures) -> Features:
    """(N, 128 edges + 36 coefficients + 3 for each channel) float32."""
    channels = pictures.shape[-1]
    found = np.zeros((len(pictures), size(channels)), np.float32)
    for place, tile in tiles(pictures, _TILE):
        colours = on_white(tile)
        grey = resized((colours * _LUMA).sum(-1), _SIDE)
        alpha = [tile[..., 3:].astype(np.float32) / 255] if channels == 4 else []
        every = np.concatenate([colours if channels != 1 else colours[..., :1], *alpha], axis=-1)
        parts = [_edges(grey), _waves(grey), _moments(every)]
        found[place] = _SCALE * np.concatenate(parts, axis=1)[: place.stop - place.start]
    return found


def size(channels: int) -> int:
    return _CELLS * _CELLS * _ANGLES + _WAVES * _WAVES + 3 * channels


def resized(grey: Numbers, side: int) -> Numbers:
    """(N, H, W) to (N, side, side): each pixel is the mean of the area it covers."""
    down, across = (area_weights(length, side) for length in grey.shape[1:])
    return np.asarray(down @ grey @ across.T, np.float32)


@cache
def area_weights(length: int, side: int) -> Numbers:
    """(side, length): how much of each of `length` pixels lies in each of `side` equal stretches; rows sum to 1."""
    ends = np.linspace(0, length, side + 1)
    pixels = np.arange(length)
    shared = np.minimum(ends[1:, None], pixels + 1) - np.maximum(ends[:-1, None], pixels)
    shared = np.clip(shared, 0, None)
    return np.asarray(shared / shared.sum(1, keepdims=True), np.float32)


def _edges(grey: Numbers) -> Numbers:
    """(N, cells * cells * angles): strength of the edges in each cell and direction, of length 1 or nearly."""
    padded = np.pad(grey, ((0, 0), (1, 1), (1, 1)), mode="edge")
    down = padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]
    across = padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]
    strength = np.sqrt(down * down + across * across)
    # Each pixel votes for the two directions nearest to its own, in proportion.
    turned = np.arctan2(down, across) * (_ANGLES / np.pi) % _ANGLES
    step = _SIDE // _CELLS
    votes = []
    for angle in range(_ANGLES):
        apart = np.abs(turned - angle)
        weight = np.clip(1 - np.minimum(apart, _ANGLES - apart), 0, None) * strength
        cells = weight.reshape(-1, _CELLS, step, _CELLS, step)
        votes.append(cells.sum(4).sum(2).reshape(len(grey), -1))
    found = np.concatenate(votes, axis=1)
    # The 1 keeps the noise of an all but empty picture from counting as much as edges.
    return np.asarray(found / np.sqrt((found * found).sum(1, keepdims=True) + 1), np.float32)


def _waves(grey: Numbers) -> Numbers:
    basis = _cosines()
    return np.asarray((basis @ grey @ basis.T).reshape(len(grey), -1) / _SIDE, np.float32)


@cache
def _cosines() -> Numbers:
    """(waves, side) orthonormal."""
    place, wave = np.arange(_SIDE) + 0.5, np.arange(_WAVES)[:, None]
    basis = np.cos(np.pi / _SIDE * place * wave) * np.sqrt(2 / _SIDE)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis, np.float32)


def _moments(colours: Numbers) -> Numbers:
    """(N, 3 * C): mean, deviation, and cube root of the third central moment of each channel."""
    flat = np.ascontiguousarray(np.moveaxis(colours, -1, 1)).reshape(len(colours), colours.shape[-1], -1)
    mean = flat.mean(2)
    apart = flat - mean[:, :, None]
    third = np.cbrt((apart * apart * apart).mean(2))
    return np.asarray(np.concatenate([mean, np.sqrt((apart * apart).mean(2)), third], axis=1), np.float32)


def build(dataset: PictureSet, seconds: float = 0.0) -> Extractor:
    """The extractor for pictures with as many channels; it needs no training."""
    channels = int(dataset.images("train").shape[-1])
    recipe = [_VERSION, _SIDE, _CELLS, _ANGLES, _WAVES, _SCALE, channels]
    return Extractor(
        "gradients",
        size(channels),
        digest_json(["gradients", *recipe]),
        features,
        "edges, colours and the coarse picture, made by hand",
    )


GRADIENTS = ExtractorPart(build, "edges, colours and the coarse picture; made by hand, nothing learnt")
