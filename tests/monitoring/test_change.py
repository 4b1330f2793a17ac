"""The tests of change hold their level where nothing has changed, and see what has."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("scipy")

from bowerbird.monitoring.change import (
    Normal,
    change_point,
    class_test,
    design_effect,
    holm,
    number_test,
    placed,
    ranks,
)

ROUNDS = 400


def fixed(values: NDArray[np.float64]) -> Normal:
    return lambda length: values


def share_below(chances: list[float], level: float) -> float:
    return float(np.mean(np.array(chances) <= level))


def p_of(values: NDArray[np.float64], normal: NDArray[np.float64], seed: int) -> float:
    found = placed(values.tolist(), [1.0] * len(values), fixed(normal), seed)
    test = number_test(found, list(range(len(values))), 1.0, seed)
    assert test is not None
    return test.p


@pytest.mark.parametrize("discrete", [False, True])
def test_numbers_hold_their_level(discrete: bool) -> None:
    rng = np.random.default_rng(1)
    chances = []
    for seed in range(ROUNDS):
        window, normal = rng.gamma(2.0, size=200), rng.gamma(2.0, size=256)
        if discrete:  # nearly all of them equal, as the repetition of short texts is
            window, normal = np.maximum(window.round() - 3, 0), np.maximum(normal.round() - 3, 0)
        chances.append(p_of(window, normal, seed))
    assert share_below(chances, 0.05) <= 0.08
    assert share_below(chances, 0.2) <= 0.25


def test_placements_are_those_of_the_lengths() -> None:
    """Short things are normally larger; a window of short things alone is no change."""
    rng = np.random.default_rng(2)

    def normal(length: float) -> NDArray[np.float64]:
        return np.sort(np.random.default_rng(7).normal(10 - length, 1.0, 256))

    lengths = rng.choice([1.0, 2.0, 3.0], 200, p=[0.8, 0.1, 0.1])
    values = rng.normal(10 - lengths, 1.0)
    test = number_test(placed(values.tolist(), lengths.tolist(), normal, 1), list(range(200)), 1.0, 1)
    assert test is not None
    assert test.p > 0.001
    assert test.effect == pytest.approx(0, abs=0.3)
    test = number_test(placed((values + 1).tolist(), lengths.tolist(), normal, 1), list(range(200)), 1.0, 1)
    assert test is not None
    assert test.p < 1e-9
    assert test.effect == pytest.approx(1, abs=0.3)


def test_few_numbers_are_permuted_and_agree_with_scipy() -> None:
    from scipy.stats import ks_2samp

    rng = np.random.default_rng(3)
    for seed in range(5):
        window, normal = rng.normal(0.4, 1, 20), rng.normal(0, 1, 25)
        exact = ks_2samp(window, normal).pvalue
        assert p_of(window, normal, seed) == pytest.approx(exact, abs=0.08)


def test_too_few_say_nothing() -> None:
    found = placed([1.0] * 5, [1.0] * 5, fixed(np.ones(100)), 1)
    assert number_test(found, range(5), 1.0, 1) is None
    assert class_test(["a"] * 5, {"a": 1.0}, 100, range(5), 1.0) is None
    assert class_test(["a"] * 50, {"a": 1.0}, 100, range(50), 1.0) is None, "one class alone cannot change"
    nothing = placed([1.0] * 50, [1.0] * 50, fixed(np.zeros(0)), 1)
    assert number_test(nothing, range(50), 1.0, 1) is None


def test_classes_hold_their_level_and_see_a_change() -> None:
    rng = np.random.default_rng(4)
    names, shares = ["a", "b", "c", "d"], [0.7, 0.2, 0.08, 0.02]
    chances = []
    for _ in range(ROUNDS):
        normal = rng.choice(names, 256, p=shares)
        expected = {name: float(np.mean(normal == name)) for name in names}
        window = rng.choice(names, 200, p=shares).tolist()
        test = class_test(window, expected, 256, range(200), 1.0)
        assert test is not None
        chances.append(test.p)
    assert share_below(chances, 0.05) <= 0.08
    test = class_test(["a"] * 100 + ["new"] * 100, {"a": 0.8, "b": 0.2}, 256, range(200), 1.0)
    assert test is not None
    assert test.p < 1e-9
    assert (test.name, test.before, test.after) == ("new", 0.0, 0.5)


def test_requests_of_one_caller_count_for_fewer() -> None:
    """Twenty callers, each with a manner of their own: without the design effect nearly every window would alarm."""
    rng = np.random.default_rng(5)
    plain, corrected = [], []
    for seed in range(100):
        manner = rng.normal(0, 1, 20)
        callers = np.repeat(np.arange(20), 10)
        values = manner[callers] + rng.normal(0, 0.3, 200)
        normal = rng.normal(0, 1, 2000) + rng.normal(0, 0.3, 2000)
        found = placed(values.tolist(), [1.0] * 200, fixed(normal), seed)
        alone, together = (number_test(found, who, 1.0, seed) for who in (range(200), callers.tolist()))
        assert alone is not None
        assert together is not None
        assert together.effective < 60
        plain.append(alone.p)
        corrected.append(together.p)
    assert share_below(plain, 0.05) > 0.3
    assert share_below(corrected, 0.05) <= 0.1


def test_a_design_effect() -> None:
    rng = np.random.default_rng(6)
    assert design_effect(rng.normal(size=200), np.repeat(np.arange(20), 10).tolist()) < 2.6
    same = np.repeat(rng.normal(size=20), 10)
    assert design_effect(same, np.repeat(np.arange(20), 10).tolist()) == pytest.approx(10)
    assert design_effect(same, list(range(200))) == 1.0
    assert design_effect(same, [0] * 200) == 1.0, "one caller's likeness cannot be told from a change"
    assert design_effect(np.ones(200), np.repeat(np.arange(20), 10).tolist()) == 1.0


def test_holm() -> None:
    assert holm({}) == {}
    corrected = holm({"a": 0.01, "b": 0.04, "c": 0.03})
    assert corrected == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert holm({"a": 0.9, "b": 0.8})["a"] == 1.0


def test_a_change_point_is_found() -> None:
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.random(120), 0.6 + 0.4 * rng.random(80)])
    assert abs(change_point(values) - 120) <= 12
    assert change_point(np.ones(1)) == 0


def test_ranks_share_what_is_equal() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [2.5, 0.0, 2.5, 1.0]
