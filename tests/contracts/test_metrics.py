"""What every metric on the shelf promises, whatever the evidence."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import numpy as np
import pytest

from bowerbird.evaluation.evaluate import evaluate
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.metrics import METRICS


def made(held_out: list[str], samples: list[str], training: list[str]) -> Evidence:
    def pieces() -> Iterator[str]:
        return iter(training)

    sizes = np.array([len(document.encode()) for document in held_out], np.int64)
    bits = sizes * np.linspace(1.5, 2.5, len(sizes))
    return Evidence("text", 7, "valid", bits, sizes, held_out, samples, pieces)


def prose(seed: int, words: int) -> str:
    rng = random.Random(seed)
    return " ".join(rng.choice(["sea", "a", "of", "the", "stone", "wind,", "ever."]) for _ in range(words))


EVIDENCE = {
    "ordinary": made(
        [prose(n, 200) for n in range(9)],
        [prose(n + 99, 90) for n in range(5)],
        ["\ufdd0" + prose(500, 2000)],
    ),
    "nothing at all": made([], [], []),
    "no samples": made([prose(0, 100)], [], ["\ufdd0" + prose(1, 100)]),
    "empty samples": made([prose(0, 100)], ["", ""], ["\ufdd0" + prose(1, 100)]),
    "one document": made([prose(0, 100)], [prose(1, 50)], ["\ufdd0" + prose(2, 100)]),
    "one byte": made(["a", "b", ""], ["a"], ["\ufdd0a"]),
    "only spaces": made(["  ", "\n"], [" \n ", "\t"], ["\ufdd0   "]),
    "samples under fifty characters": made(
        [prose(0, 40)] * 3, ["a sea of stone"] * 3, ["\ufdd0" + prose(0, 9)]
    ),
    "no training text": made([prose(0, 40)], [prose(1, 40)], []),
    "Chinese": made(
        ["床前明月光疑是地上霜" * 9] * 3, ["举头望明月低头思故乡" * 8] * 2, ["\ufdd0床前明月光" * 30]
    ),
    "Arabic": made(
        ["قفا نبك من ذكرى حبيب ومنزل " * 9] * 2, ["بسقط اللوى بين الدخول " * 5], ["\ufdd0قفا نبك " * 20]
    ),
    "recited": made([prose(3, 90)], [prose(5, 300)], ["\ufdd0" + prose(5, 300)]),
    "beyond the first plane": made(["😀🦜" * 50], ["😀🦜" * 40, "\U0010ffff"], ["\ufdd0😀🦜" * 50]),
    "half a surrogate pair": made(["ab"], ["\ud800" * 60], ["\ufdd0" + "\ud800" * 70]),
}


@pytest.mark.parametrize("evidence", EVIDENCE.values(), ids=EVIDENCE)
@pytest.mark.parametrize("name", METRICS)
def test_every_score_is_a_finite_number_or_none_with_its_sample_size(name: str, evidence: Evidence) -> None:
    for score in METRICS[name].measure(evidence):
        assert isinstance(score.n, int)
        assert score.n >= 0
        assert score.note
        assert score.unit
        assert score.better in ("lower", "higher")
        if score.n == 0:
            assert score.value is None
        if score.interval:
            assert score.value is not None
            assert score.interval[0] <= score.value <= score.interval[1]
        if score.unit == "share" and score.value is not None:
            assert 0 <= score.value <= 1
        value = score.to_json()
        assert json.loads(json.dumps(value, allow_nan=False)) == value


@pytest.mark.parametrize("name", METRICS)
def test_the_same_evidence_gives_the_same_scores(name: str) -> None:
    measure = METRICS[name].measure
    assert measure(EVIDENCE["ordinary"]) == measure(EVIDENCE["ordinary"])


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_names_its_kinds_and_what_it_is_about(name: str) -> None:
    assert set(METRICS[name].kinds) <= {"text", "melody", "image"}
    assert METRICS[name].kinds
    assert METRICS[name].about


@pytest.mark.parametrize("evidence", EVIDENCE.values(), ids=EVIDENCE)
def test_all_metrics_and_baselines_together_stand_any_evidence(evidence: Evidence) -> None:
    scores, baselines, passages = evaluate(evidence)
    names = [score.name for score in [*scores, *baselines]]
    assert len(names) == len(set(names))
    assert {"bits_per_byte", "novelty", "ngram_bits_per_byte", "xz_bits_per_byte"} <= set(names)
    for score in baselines:
        json.dumps(score.to_json(), allow_nan=False)
    for passage in passages:
        assert passage.text in evidence.samples[passage.sample]


def test_a_recited_text_has_no_novelty() -> None:
    scores = {score.name: score for score in METRICS["novelty"].measure(EVIDENCE["recited"])}
    assert scores["novelty"].value == 0
    assert scores["longest_copy"].value == len(EVIDENCE["recited"].samples[0])
