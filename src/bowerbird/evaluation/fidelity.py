"""How far two sets of pictures are apart, told from their features: distances, precision, recall, coverage.

Plain numpy. Every set is (pictures, features); distances are Euclidean and computed in bounded pieces.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bowerbird.evaluation.bootstrap import RESAMPLES
from bowerbird.evaluation.evidence import Floats

NEIGHBOURS = 5
_CELLS_AT_ONCE = 4_000_000
_SLACK, _LEAST_SLACK = 1e-9, 1e-12
"""Distances that should be equal differ by rounding: relative to themselves, and to the longest row's square."""


def frechet(a: ArrayLike, b: ArrayLike) -> float:
    """Squared Frechet distance of two Gaussians with the sets' means and covariances: the FID.

    Heusel et al. 2017, arXiv:1706.08500, equation 6; the covariances are unbiased. Falls with the number of
    pictures even where nothing differs, so only sets of equal sizes are comparable.

    Raises:
        ValueError: a set has fewer than 2 rows.
    """
    one, other = _sets(a, b)
    apart = one.mean(0) - other.mean(0)
    first, second = np.atleast_2d(np.cov(one.T)), np.atleast_2d(np.cov(other.T))
    root = _root(first)
    # The eigenvalues of the root of C1 C2 are those of root(C1) C2 root(C1), which is symmetric.
    shared = np.linalg.eigvalsh(root @ second @ root)
    together = np.sqrt(np.clip(shared, 0, None)).sum()
    return max(0.0, float(apart @ apart + np.trace(first) + np.trace(second) - 2 * together))


def kernel_distance(
    a: ArrayLike, b: ArrayLike, *, blocks: int, size: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Squared maximum mean discrepancy with the kernel (x . y / features + 1)^3: the KID, and its 95 % interval.

    Binkowski et al. 2018, arXiv:1801.01401, section 4: unbiased, so it is around 0, on either side, where
    nothing differs. The mean over blocks of `size` pictures from each set, drawn so that no two blocks share
    one; the interval resamples blocks (Efron & Tibshirani 1993, chapter 13) and is (nan, nan) with a single one.

    Args:
        a, b: the two sets.
        blocks: the most blocks; as many are taken as the smaller set has room for, at least 1.
        size: pictures of a block; cut to the smaller set.
        rng: draws the blocks and the resamples.

    Raises:
        ValueError: a set, or a block, has fewer than 2 rows.
    """
    one, other = _sets(a, b)
    fewer = min(len(one), len(other))
    size = min(size, fewer)
    if size < 2:
        raise ValueError("a block needs 2 pictures of each set")
    count = max(1, min(blocks, fewer // size))
    first, second = rng.permutation(len(one)), rng.permutation(len(other))
    found = np.array(
        [
            _discrepancy(one[first[at : at + size]], other[second[at : at + size]])
            for at in range(0, count * size, size)
        ]
    )
    value = float(found.mean())
    if count < 2:
        return value, float("nan"), float("nan")
    means = found[rng.integers(0, count, (RESAMPLES, count))].mean(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return value, min(value, float(low)), max(value, float(high))


def precision_recall(real: ArrayLike, fake: ArrayLike, k: int = NEIGHBOURS) -> tuple[float, float]:
    """Share of fakes that lie among the real, and of real that lie among the fakes.

    Kynkaanniemi et al. 2019, arXiv:1904.06991, equations 1 and 2: among a set is within the distance from one
    of its pictures to that one's k-th nearest neighbour in the set.

    Raises:
        ValueError: a set has fewer than 2 rows.
    """
    one, other = _centred(real, fake)
    return (
        float(np.mean(_inside(other, one, neighbour_radii(one, k)) > 0)),
        float(np.mean(_inside(one, other, neighbour_radii(other, k)) > 0)),
    )


def density_coverage(real: ArrayLike, fake: ArrayLike, k: int = NEIGHBOURS) -> tuple[float, float]:
    """How many real neighbourhoods a fake lies in, over k; and share of real neighbourhoods with a fake in them.

    Naeem et al. 2020, arXiv:2002.09797, equations 3 and 4. Density is about 1 where the fakes are as the real,
    and above where they crowd; unlike precision and recall, both stand a few odd pictures.

    Raises:
        ValueError: a set has fewer than 2 rows.
    """
    one, other = _centred(real, fake)
    k = min(k, len(one) - 1)
    radii = neighbour_radii(one, k)
    held = _inside(other, one, radii)
    covered = np.zeros(len(one), bool)
    for rows, squared in squared_distances(one, other):
        covered[rows] = squared.min(1) <= radii[rows]
    return float(held.mean() / k), float(covered.mean())


def neighbour_radii(points: Floats, k: int) -> Floats:
    """(N,) squared distance of each row to its k-th nearest other row, or its farthest; with slack for rounding."""
    k = min(k, len(points) - 1)
    if k < 1:
        raise ValueError("a neighbourhood needs 2 pictures or more")
    radii = np.zeros(len(points))
    for rows, squared in squared_distances(points, points):
        # A row is its own nearest: left out by place, for there may be others as near.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        radii[rows] = np.partition(squared, k - 1, axis=1)[:, k - 1]
    largest = float((points * points).sum(1).max(initial=0.0))
    return np.asarray(radii * (1 + _SLACK) + largest * _LEAST_SLACK, np.float64)


def nearest(points: ArrayLike, among: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """(N,) which row of `among` is nearest to each point, and (N,) how far it is."""
    one, other = np.asarray(points, np.float64), np.asarray(among, np.float64)
    centre = other.mean(0)
    one, other = one - centre, other - centre
    found, distances = np.zeros(len(one), np.int64), np.zeros(len(one))
    for rows, squared in squared_distances(one, other):
        found[rows] = squared.argmin(1)
        distances[rows] = np.sqrt(squared.min(1))
    return found, distances


def squared_distances(points: Floats, others: Floats) -> Iterator[tuple[slice, Floats]]:
    """Squared distances of some rows to all others, (rows, len(others)), a bounded piece at a time."""
    lengths = (others * others).sum(1)
    step = max(1, _CELLS_AT_ONCE // max(len(others), 1))
    for first in range(0, len(points), step):
        piece = points[first : first + step]
        squared = (piece * piece).sum(1)[:, None] + lengths - 2 * (piece @ others.T)
        yield slice(first, first + len(piece)), np.clip(squared, 0, None, out=squared)


def _inside(points: Floats, others: Floats, radii: Floats) -> NDArray[np.int64]:
    """(points,) in how many of the others' balls, of these squared radii, each point lies."""
    counts = np.zeros(len(points), np.int64)
    for rows, squared in squared_distances(points, others):
        counts[rows] = (squared <= radii).sum(1)
    return counts


def _discrepancy(one: Floats, other: Floats) -> float:
    """The unbiased estimate of arXiv:1801.01401, equation 4, for as many rows of each."""
    count = len(one)
    within = 0.0
    for rows in (one, other):
        kernel = _cubic(rows, rows)
        within += (kernel.sum() - np.trace(kernel)) / (count * (count - 1))
    return float(within - 2 * _cubic(one, other).mean())


def _cubic(one: Floats, other: Floats) -> Floats:
    return np.asarray((one @ other.T / one.shape[1] + 1) ** 3, np.float64)


def _root(covariance: Floats) -> Floats:
    """The symmetric root of a covariance, whose eigenvalues rounding may have put below 0."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray(vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T, np.float64)


def _sets(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    one, other = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if min(len(one), len(other)) < 2:
        raise ValueError("each set needs 2 pictures or more")
    return one, other


def _centred(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """Moved to around 0, where distances lose the fewest digits."""
    one, other = _sets(a, b)
    centre = one.mean(0)
    return one - centre, other - centre
