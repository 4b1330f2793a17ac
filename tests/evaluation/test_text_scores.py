"""Scores of text against closed forms, and intervals against theory."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from bowerbird.base.errors import DataError, UnknownName, UsageError
from bowerbird.evaluation.bootstrap import interval, resampled_ratios
from bowerbird.evaluation.evaluate import compare, evaluate
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.report import Score
from bowerbird.evaluation.words import cut_alike, words


def evidence(
    *,
    bits: list[float] | None = None,
    sizes: list[int] | None = None,
    held_out: list[str] | None = None,
    samples: list[str] | None = None,
    training: list[str] | None = None,
    kind: str = "text",
) -> Evidence:
    def pieces() -> Iterator[str]:
        return iter(training or [])

    return Evidence(
        kind, 0, "test", np.array(bits or []), np.array(sizes or []), held_out or [], samples or [], pieces
    )


def scores(given: Evidence, metric: str) -> dict[str, Score]:
    return {score.name: score for score in evaluate(given, metrics=[metric], baselines=False)[0]}


def test_bits_per_byte_is_all_bits_over_all_bytes() -> None:
    score = scores(evidence(bits=[10, 30, 2], sizes=[5, 10, 1]), "bits_per_byte")["bits_per_byte"]
    assert score.value == pytest.approx(42 / 16)
    assert (score.n, score.unit, score.better) == (16, "bits/byte", "lower")
    assert score.interval is not None
    assert 2 <= score.interval[0] <= 42 / 16 <= score.interval[1] <= 3


def test_one_document_has_no_interval_and_says_so() -> None:
    score = scores(evidence(bits=[10], sizes=[5]), "bits_per_byte")["bits_per_byte"]
    assert (score.value, score.interval) == (2, None)
    assert "no interval" in score.note


def test_a_model_that_rules_out_the_truth_has_no_number() -> None:
    score = scores(evidence(bits=[math.inf, 1], sizes=[5, 5]), "bits_per_byte")["bits_per_byte"]
    assert (score.value, score.interval) == (None, None)


@pytest.mark.parametrize("units", [400, 30_000])
def test_the_interval_is_as_wide_as_theory_says(units: int) -> None:
    rng = np.random.default_rng(1)
    bits = rng.normal(200, 30, units)
    found = interval(bits, np.full(units, 100), seed=0)
    assert found is not None
    width = 2 * 1.96 * bits.std() / math.sqrt(units) / 100
    assert found[1] - found[0] == pytest.approx(width, rel=0.12)
    assert sum(found) / 2 == pytest.approx(bits.mean() / 100, abs=width / 4)


def test_an_interval_depends_on_the_seed_alone() -> None:
    bits, sizes = np.arange(50.0), np.arange(50) + 1
    assert np.array_equal(resampled_ratios(bits, sizes, 1), resampled_ratios(bits, sizes, 1))
    assert not np.array_equal(resampled_ratios(bits, sizes, 1), resampled_ratios(bits, sizes, 2))


def test_novelty_is_the_share_of_characters_outside_copied_stretches() -> None:
    training = "".join(chr(0x4E00 + number) for number in range(500))
    sample = "-" * 40 + training[100:160] + "+" * 100
    found = scores(
        evidence(samples=[sample], training=["\ufdd0" + training], held_out=["?" * 900]), "novelty"
    )
    assert found["novelty"].value == pytest.approx(140 / 200)
    assert found["novelty"].n == 200
    assert found["novelty"].reference == 1
    assert found["longest_copy"].value == 60
    assert found["longest_copy"].reference == 0
    (passage,) = found["longest_copy"].passages
    assert (passage.sample, passage.start, passage.text) == (0, 40, training[100:160])
    assert passage.before == training[:100]
    assert passage.after == training[160:280]


def test_forty_nine_characters_are_no_copy_but_are_shown() -> None:
    training = "".join(chr(0x4E00 + number) for number in range(500))
    found = scores(evidence(samples=["+" + training[7:56]], training=[training]), "novelty")
    assert found["novelty"].value == 1
    assert found["longest_copy"].value == 49
    assert found["longest_copy"].passages[0].text == training[7:56]
    assert found["longest_copy"].reference is None


def test_several_copies_are_shown_longest_first() -> None:
    training = "".join(chr(0x4E00 + number) for number in range(900))
    samples = [training[0:55] + "+" + training[300:370], "x" + training[500:560]]
    found = scores(evidence(samples=samples, training=[training]), "novelty")["longest_copy"]
    assert [len(passage.text) for passage in found.passages] == [70, 60, 55]
    assert [passage.sample for passage in found.passages] == [0, 1, 0]


def test_distinct_counts_different_runs_over_words() -> None:
    found = scores(evidence(samples=["a b a b", "a b c"], held_out=["p q r s t u v w x"]), "distinct")
    assert found["distinct_1"].value == pytest.approx(3 / 7)
    assert found["distinct_2"].value == pytest.approx(3 / 7)
    assert found["distinct_3"].value == pytest.approx(3 / 7)
    assert found["distinct_4"].value == pytest.approx(1 / 7)
    assert found["distinct_1"].reference == 1
    assert found["distinct_2"].reference == pytest.approx(5 / 7)


def test_repetition_is_the_mean_share_of_runs_seen_before_in_the_same_text() -> None:
    found = scores(
        evidence(samples=["a a a a a a", "a b c d e", "too short"], held_out=["x " * 99]), "repetition"
    )
    assert found["repetition"].value == pytest.approx((2 / 3 + 0) / 2)
    assert found["repetition"].n == 2
    assert found["repetition"].reference == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_no_reference_is_given_where_the_held_out_text_is_shorter() -> None:
    given = evidence(samples=["a b c d e f"], held_out=["a b c"])
    assert scores(given, "distinct")["distinct_1"].reference is None
    assert "no reference" in scores(given, "repetition")["repetition"].note


def test_words_of_scripts_without_spaces_are_their_characters() -> None:
    assert words("It's 你好,\n世界 नमस्ते!") == ["It's", "你", "好", ",", "世", "界", "नमस्ते!"]


def test_held_out_text_is_cut_to_the_lengths_of_the_samples() -> None:
    assert cut_alike(["abcdef", "ghi"], [2, 3, 3]) == ["abc", "def", "gh"]
    assert cut_alike(["abc", "def"], [4]) is None


def test_an_unknown_metric_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="novelty"):
        evaluate(evidence(), metrics=["noveltie"])


def test_a_metric_for_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="not for melody"):
        evaluate(evidence(kind="melody"), metrics=["novelty"])


def test_the_better_of_two_models_is_told_apart_on_the_same_units() -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(50, 500, 300)
    hard = rng.normal(2, 0.5, 300)
    a, b = sizes * hard, sizes * (hard + rng.normal(0.05, 0.1, 300))
    score = [
        Score("bits_per_byte", 1.0, "bits/byte", "lower", 1),
        Score("novelty", 0.9, "share", "higher", 5),
    ]
    other = [score[0], Score("novelty", 0.8, "share", "higher", 4)]
    paired, novelty = compare(score, other, a, b, sizes)
    assert paired["value"] == pytest.approx((a.sum() - b.sum()) / sizes.sum())
    assert paired["interval"][0] < paired["value"] < paired["interval"][1] < 0
    assert paired["a_better"] > 0.99
    assert paired["verdict"].startswith("A is better")
    assert (novelty["value"], novelty["interval"], novelty["n"]) == (pytest.approx(0.1), None, 4)
    assert novelty["verdict"].startswith("A has the higher value")
    backwards = compare(other, score, b, a, sizes)[0]
    assert backwards["verdict"].startswith("B is better")


def test_two_equal_models_are_not_told_apart() -> None:
    score = [Score("bits_per_byte", 1.0, "bits/byte", "lower", 1)]
    (row,) = compare(score, score, [10, 20, 30], [10, 20, 30], [5, 10, 15])
    assert (row["value"], row["a_better"]) == (0, 0.5)
    assert row["verdict"].startswith("no clear difference")


def test_models_judged_on_different_units_are_not_compared() -> None:
    with pytest.raises(DataError, match="same held-out units"):
        compare([], [], [1, 2], [1, 2, 3], [1, 2, 3])
