"""Scores of pictures: what they say of models that are good, collapsed, off, one-sided, or reciting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from tests.evaluation.toy_pictures import bars

from bowerbird.evaluation.evaluate import compare, evaluate
from bowerbird.evaluation.extractors import gradients
from bowerbird.evaluation.extractors.extractor import Extractor, Pictures
from bowerbird.evaluation.image_evidence import ImageEvidence, feature_sets
from bowerbird.evaluation.metrics.memorisation import memorisation, ranked, verdict
from bowerbird.evaluation.report import Score, per_unit

TRAINING, LABELS = bars(200, 1)
HELD_OUT = bars(120, 2)[0]
FRESH = bars(100, 3)[0]
GRADIENTS = Extractor(
    "gradients", gradients.size(3), "sha256:abcdef0123456789", gradients.features, "by hand"
)
COARSE = Extractor(
    "coarse",
    16,
    "sha256:0",
    lambda pictures: gradients.resized(pictures[..., 0].astype(np.float32), 4).reshape(len(pictures), 16),
)


def classify(pictures: Pictures) -> np.ndarray:
    """By whether rows or columns differ more in their mean."""
    grey = pictures.astype(np.float64).mean(3)
    return (grey.mean(1).std(1) > grey.mean(2).std(1)).astype(np.int64)


def evidence(samples: Pictures, **others: object) -> ImageEvidence:
    found = ImageEvidence(
        "image",
        4,
        "test",
        HELD_OUT,
        TRAINING,
        samples,
        feature_sets([GRADIENTS, COARSE], HELD_OUT, TRAINING, samples),
        labels=LABELS,
        classes=("lying", "standing"),
        classify=classify,
    )
    return replace(found, **others)  # type: ignore[arg-type]


def judged(samples: Pictures, **others: object) -> Mapping[str, Score]:
    return {score.name: score for score in evaluate(evidence(samples, **others))[0]}


def copies(count: int) -> Pictures:
    """Training pictures with a little noise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(-6, 7, (count, *TRAINING.shape[1:]))
    return np.clip(TRAINING[rng.permutation(len(TRAINING))[:count]] + noise, 0, 255).astype(np.uint8)


def value(score: Score) -> float:
    assert score.value is not None
    return score.value


def reference(score: Score) -> float:
    assert score.reference is not None
    return score.reference


@pytest.fixture(scope="module")
def fresh() -> Mapping[str, Score]:
    return judged(FRESH)


def test_fresh_pictures_of_the_same_kind_score_as_training_pictures_in_their_place(
    fresh: Mapping[str, Score],
) -> None:
    assert value(fresh["fid"]) < 2 * reference(fresh["fid"])
    assert abs(value(fresh["kid"])) < 0.1 * value(judged(255 - FRESH)["kid"])
    for name in ("precision", "recall", "coverage"):
        assert abs(value(fresh[name]) - reference(fresh[name])) < 0.25
        assert fresh[name].interval is not None
    assert 0.5 < value(fresh["density"]) < 1.5


def test_other_pictures_are_far_away_by_every_extractor(fresh: Mapping[str, Score]) -> None:
    other = judged(255 - FRESH)
    for suffix in ("", "_coarse"):
        assert value(other["fid" + suffix]) > 5 * value(fresh["fid" + suffix])
        assert value(other["kid" + suffix]) > 5 * abs(value(fresh["kid" + suffix]))
        assert value(other["precision" + suffix]) < 0.5 * value(fresh["precision" + suffix])


def test_a_collapsed_model_has_no_recall_and_no_coverage(fresh: Mapping[str, Score]) -> None:
    collapsed = judged(np.repeat(FRESH[:1], 100, axis=0))
    assert value(collapsed["recall"]) < 0.1 < value(fresh["recall"])
    assert value(collapsed["coverage"]) < 0.3 < value(fresh["coverage"])
    assert value(collapsed["fid"]) > 5 * value(fresh["fid"])
    for name in ("fid", "kid", "recall", "coverage"):  # the reference is of other pictures
        assert reference(collapsed[name]) == reference(fresh[name])


def test_copies_with_a_little_noise_are_judged_as_memorised_and_fresh_pictures_not(
    fresh: Mapping[str, Score],
) -> None:
    recited = judged(copies(100))
    for name in ("copied_share", "copied_share_coarse"):
        assert value(recited[name]) > 0.8
        assert recited[name].note.startswith("Memorised: the model repeats training pictures")
        assert value(fresh[name]) < 0.06
        assert fresh[name].note.startswith("No sign of memorisation")
        assert reference(fresh[name]) <= 0.01


def test_a_model_that_recites_now_and_then_is_found_too() -> None:
    mixed = judged(np.concatenate([FRESH[:75], copies(25)]))
    assert 0.2 < value(mixed["copied_share"]) < 0.35
    assert mixed["copied_share"].note.startswith("Memorised")


def test_exact_copies_are_found_even_where_training_pictures_were_held_out_too() -> None:
    leaked, samples = np.concatenate([TRAINING[:6], HELD_OUT]), TRAINING[50:80]
    features = feature_sets([GRADIENTS], leaked, TRAINING, samples)
    (score,) = memorisation(replace(evidence(samples), real=leaked, features=features))
    assert value(score) == 1
    assert score.note.startswith("Memorised")


def test_the_nearest_pairs_are_kept_with_their_pictures() -> None:
    samples = np.concatenate([FRESH[:20], TRAINING[[17, 3]]])
    pairs = judged(samples)["copied_share"].pairs
    assert {(pair.sample, pair.training) for pair in pairs[:2]} == {(20, 17), (21, 3)}
    assert pairs[0].distance == pytest.approx(0, abs=1e-4)
    assert pairs[-1].typical > pairs[0].distance
    for pair in pairs:
        assert np.array_equal(pair.made, samples[pair.sample])
        assert np.array_equal(pair.learnt, TRAINING[pair.training])
    assert [pair.distance for pair in pairs] == sorted(pair.distance for pair in pairs)


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((50, 100, 100, -9.0), "Memorised: the model repeats training pictures in about 50% of its samples"),
        ((1, 100, 100, -9.0), "Leaning on the training pictures"),
        ((1, 100, 100, 0.3), "No sign of memorisation"),
        ((3, 30, 100, 0.0), "No sign of memorisation"),  # 3 of 30 may be chance
        ((100, 100, 10, -9.0), "Too few pictures to tell"),
        ((4, 4, 100, -9.0), "Too few pictures to tell"),
    ],
)
def test_the_verdict_is_in_words(numbers: tuple[int, int, int, float], words: str) -> None:
    assert verdict(*numbers).startswith(words)


def test_the_rank_test_is_mann_and_whitney_s() -> None:
    # 1 and 2 below 3, 4 and 5: U = 0, its mean 3 and deviation sqrt(2 * 3 * 6 / 12).
    low, high = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])
    assert ranked(low, high) == pytest.approx(-3 / np.sqrt(3))
    assert ranked(high, low) == pytest.approx(3 / np.sqrt(3))
    assert ranked(low, low) == 0


def test_classes_out_of_balance_show(fresh: Mapping[str, Score]) -> None:
    kinds = classify(FRESH)
    assert value(fresh["class_distance"]) < 0.2
    assert value(fresh["classes_made"]) == 1
    standing = judged(FRESH[kinds == 1])
    share = float(np.mean(classify(TRAINING) == 0))
    assert value(standing["class_distance"]) == pytest.approx(share)
    assert value(standing["classes_made"]) == 0.5
    assert "never made: lying" in standing["classes_made"].note
    assert "standing: 100.0% of samples" in standing["class_distance"].note


def test_samples_asked_for_by_class_are_checked(fresh: Mapping[str, Score]) -> None:
    assert "class_accuracy" not in fresh
    kinds = classify(FRESH)
    asked = np.where(np.arange(len(kinds)) < 25, 1 - kinds, kinds)
    asked[-20:] = -1  # not asked for any
    score = judged(FRESH, sample_labels=asked)["class_accuracy"]
    assert value(score) == pytest.approx(55 / 80)
    assert score.n == 80


def test_without_a_classifier_there_are_no_scores_of_classes() -> None:
    assert not [name for name in judged(FRESH, classify=None) if name.startswith("class")]


def test_every_score_says_how_many_by_what_and_against_what(fresh: Mapping[str, Score]) -> None:
    for name in ("fid", "kid", "precision", "recall", "density", "coverage", "copied_share"):
        score, second = fresh[name], fresh[f"{name}_coarse"]
        assert score.n == 100
        assert score.reference is not None
        assert "`gradients`, sha256:abcdef01: by hand" in score.note
        assert "`coarse`" in second.note
        assert "100 " in score.note
    assert "120 test pictures" in fresh["fid"].note
    assert "100 training pictures in the samples' place" in fresh["fid"].note
    assert "no more pictures than features" in fresh["fid"].note
    assert "no more pictures than features" not in fresh["fid_coarse"].note


def test_two_models_of_pictures_stand_side_by_side(fresh: Mapping[str, Score]) -> None:
    one, other = evidence(FRESH), evidence(255 - FRESH)
    rows = compare(list(fresh.values()), evaluate(other)[0], one.bits, other.bits, one.sizes)
    row = next(row for row in rows if row["name"] == "fid")
    assert row["verdict"].startswith("A has the lower value")
    assert row["interval"] is None
    assert len(per_unit(one.bits, one.sizes)) == 0


def test_the_seed_draws_the_blocks_and_nothing_else_does() -> None:
    first, again, other = (evaluate(evidence(FRESH, seed=seed), metrics=["kid"])[0] for seed in (1, 1, 2))
    assert first == again
    assert first != other
