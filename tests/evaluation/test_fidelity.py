"""Distances between sets of features, against values known by hand or in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from bowerbird.evaluation import fidelity
from bowerbird.evaluation.fidelity import (
    density_coverage,
    frechet,
    kernel_distance,
    nearest,
    neighbour_radii,
    precision_recall,
)


def with_moments(mean: np.ndarray, covariance: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(count, F) rows whose own mean and unbiased covariance are exactly these."""
    rows = np.random.default_rng(seed).normal(size=(count, len(mean)))
    rows -= rows.mean(0)
    rows = rows @ np.linalg.inv(np.linalg.cholesky(np.cov(rows.T))).T
    return rows @ np.linalg.cholesky(covariance).T + mean


def test_frechet_of_two_gaussians_with_diagonal_covariances_has_a_closed_form() -> None:
    first, second = np.array([1.0, 4.0, 9.0]), np.array([4.0, 4.0, 0.25])
    a = with_moments(np.array([0.0, 1.0, 2.0]), np.diag(first), 50, 0)
    b = with_moments(np.array([2.0, 1.0, -1.0]), np.diag(second), 70, 1)
    expected = (4 + 0 + 9) + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet(b, a) == pytest.approx(expected, rel=1e-9)


def test_frechet_knows_covariances_that_do_not_commute() -> None:
    one, other = np.array([[2.0, 1.0], [1.0, 3.0]]), np.array([[1.0, -0.5], [-0.5, 2.0]])
    a, b = with_moments(np.zeros(2), one, 40, 0), with_moments(np.zeros(2), other, 40, 1)
    # Of a 2 x 2 matrix M, the trace of the root is sqrt(trace M + 2 sqrt(det M)).
    product = one @ other
    root = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    assert frechet(a, b) == pytest.approx(np.trace(one) + np.trace(other) - 2 * root, rel=1e-9)


def test_frechet_of_a_set_and_itself_is_zero_even_with_more_features_than_pictures() -> None:
    rows = np.random.default_rng(0).normal(size=(10, 30))
    assert frechet(rows, rows) == pytest.approx(0, abs=1e-5)


def test_frechet_to_one_repeated_average_is_the_variance() -> None:
    rows = np.random.default_rng(0).normal(size=(200, 5))
    repeated = np.tile(rows.mean(0), (200, 1))
    assert frechet(rows, repeated) == pytest.approx(rows.var(0, ddof=1).sum())


@pytest.mark.parametrize("count", [0, 1])
def test_sets_of_fewer_than_two_are_refused(count: int) -> None:
    few, many = np.zeros((count, 3)), np.zeros((9, 3))
    rng = np.random.default_rng(0)
    for function in (frechet, precision_recall, density_coverage):
        with pytest.raises(ValueError, match="2 pictures"):
            function(few, many)
    with pytest.raises(ValueError, match="2 pictures"):
        kernel_distance(many, few, blocks=1, size=5, rng=rng)


def test_kernel_distance_of_four_numbers_worked_out_by_hand() -> None:
    # (xy + 1)^3 within {0, 2}: 1; within {1, 3}: 64; across: (1 + 1 + 27 + 343) / 4 = 93.
    found = kernel_distance([[0], [2]], [[1], [3]], blocks=1, size=2, rng=np.random.default_rng(0))
    assert found[0] == pytest.approx(1 + 64 - 2 * 93)
    assert math.isnan(found[1])
    assert math.isnan(found[2])


def test_kernel_distance_of_equal_distributions_is_zero_in_expectation() -> None:
    rng = np.random.default_rng(3)
    values = [
        kernel_distance(rng.normal(size=(40, 3)), rng.normal(size=(40, 3)), blocks=4, size=10, rng=rng)[0]
        for _ in range(400)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(len(values))
    assert np.min(values) < 0 < np.max(values)


def test_kernel_distance_of_a_shifted_set_is_beyond_its_interval() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(300, 4))
    near, low, high = kernel_distance(a, rng.normal(size=(300, 4)), blocks=100, size=30, rng=rng)
    assert low <= near <= high
    far, far_low, _ = kernel_distance(a, a + 1, blocks=100, size=30, rng=rng)
    assert far_low > high
    assert far > far_low


def test_precision_and_recall_on_a_line_worked_out_by_hand() -> None:
    # With k = 1 the real balls are 0 +- 1, 1 +- 1, 3 +- 2; the fakes' are 0.5 +- 9.5, 10 +- 9.5, 100 +- 90.
    real, fake = [[0.0], [1.0], [3.0]], [[0.5], [10.0], [100.0]]
    precision, recall = precision_recall(real, fake, k=1)
    assert precision == pytest.approx(1 / 3)  # 0.5 alone
    assert recall == 1  # all lie within 0.5 +- 9.5


def test_density_and_coverage_on_a_line_worked_out_by_hand() -> None:
    real, fake = [[0.0], [1.0], [3.0]], [[0.5], [0.6], [10.0]]
    density, coverage = density_coverage(real, fake, k=1)
    # 0.5 and 0.6 lie in the balls 0 +- 1 and 1 +- 1 only (3 +- 2 begins at 1); 10 in none.
    assert density == pytest.approx(4 / 3)
    assert coverage == pytest.approx(2 / 3)


def test_equal_sets_have_all_of_everything() -> None:
    rows = np.random.default_rng(0).normal(size=(80, 6))
    assert precision_recall(rows, rows) == (1, 1)
    density, coverage = density_coverage(rows, rows)
    assert coverage == 1
    # Each real ball with k = 5 holds its own centre and the 5 nearest: 6 / 5 of what a fresh set would have.
    assert density == pytest.approx(6 / 5)


def test_a_collapsed_set_is_precise_and_recalls_nothing() -> None:
    real = np.random.default_rng(0).normal(size=(200, 3))
    collapsed = np.tile(real[:1], (200, 1))
    precision, recall = precision_recall(real, collapsed)
    assert precision == 1
    assert recall == pytest.approx(1 / 200)  # the one picture that it repeats
    _, coverage = density_coverage(real, collapsed)
    assert coverage < 0.1


def test_a_set_far_away_has_none_of_anything() -> None:
    real = np.random.default_rng(0).normal(size=(50, 3))
    assert precision_recall(real, real + 100) == (0, 0)
    assert density_coverage(real, real + 100) == (0, 0)


def test_one_odd_real_picture_misleads_precision_but_not_density() -> None:
    rng = np.random.default_rng(0)
    real = np.concatenate([rng.normal(size=(100, 2)), [[50.0, 50.0]]])
    fake = rng.normal(size=(101, 2)) + 10
    precision, _ = precision_recall(real, fake)
    density, _ = density_coverage(real, fake)
    assert precision == 1  # all lie in the one huge ball
    assert density < 0.5


def test_pieces_give_what_the_whole_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(70, 4)), rng.normal(size=(60, 4))
    whole = (precision_recall(one, other), density_coverage(one, other))
    monkeypatch.setattr(fidelity, "_CELLS_AT_ONCE", 100)
    assert (precision_recall(one, other), density_coverage(one, other)) == whole


def test_rounding_takes_no_picture_out_of_a_ball_of_no_size() -> None:
    rows = np.tile(np.random.default_rng(0).normal(size=(1, 77)) * 1e3, (40, 1))
    others = np.random.default_rng(1).normal(size=(41, 77))
    assert precision_recall(np.concatenate([rows, others]), rows)[0] == 1
    assert (neighbour_radii(np.tile([[3.0, 4.0]], (9, 1)), 3) > 0).all()


def test_radii_and_nearest_are_those_of_the_obvious_loop() -> None:
    rng = np.random.default_rng(0)
    points, among = rng.normal(size=(30, 4)) + 50, rng.normal(size=(40, 4)) + 50
    table = np.linalg.norm(points[:, None] - points, axis=2)
    expected = np.sort(table, axis=1)[:, 3]  # the first is the point itself
    assert np.sqrt(neighbour_radii(points, 3)) == pytest.approx(expected, rel=1e-4)
    which, distances = nearest(points, among)
    table = np.linalg.norm(points[:, None] - among, axis=2)
    assert which.tolist() == table.argmin(1).tolist()
    assert distances == pytest.approx(table.min(1), rel=1e-6)
