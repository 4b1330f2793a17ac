"""What every metric on the shelf promises, whatever the evidence."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

import numpy as np
import pytest

from bowerbird.evaluation.evaluate import evaluate
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.image_evidence import FeatureSet, ImageEvidence
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


def tunes(seed: int, many: int) -> list[str]:
    """As `Tune.text` writes them: bars of four notes, two voices here and there."""
    rng = random.Random(seed)
    made = []
    for _ in range(many):
        words = [f"K{rng.randrange(12)}:minor", "M4/4"]
        for _ in range(rng.randrange(1, 9)):
            words.append("|")
            words += [f"{24 * beat}:{rng.randrange(60, 72)}:{rng.choice([12, 24])}" for beat in range(4)]
            words += ["72:40:24:2"] * (rng.random() < 0.3)
        made.append(" ".join(words))
    return made


def melodies(held_out: list[str], samples: list[str], training: list[str]) -> Evidence:
    text = made([], [], ["".join("\ufdd0" + tune for tune in training)])
    sizes = np.array([tune.count(":") // 2 for tune in held_out], np.int64)
    bits = sizes * np.linspace(3.5, 4.5, len(sizes))
    return Evidence("melody", 7, "valid", bits, sizes, held_out, samples, text.training)


ONE_NOTE = "K0:major M4/4 | 0:60:24"
MELODIES = {
    "ordinary": melodies(tunes(1, 9), tunes(2, 6), tunes(3, 30)),
    "nothing at all": melodies([], [], []),
    "no samples": melodies(tunes(1, 3), [], tunes(3, 9)),
    "no tunes among the samples": melodies(tunes(1, 3), ["", "K0:major M4/4 |", "9:9:9"], tunes(3, 9)),
    "some are no tunes": melodies(tunes(1, 3), ["|", *tunes(2, 3), "K0:major M4/4 | 0:60:97"], tunes(3, 9)),
    "one note": melodies([ONE_NOTE], [ONE_NOTE], [ONE_NOTE]),
    "no training text": melodies(tunes(1, 3), tunes(2, 3), []),
    "nothing held out": melodies([], tunes(2, 3), tunes(3, 9)),
    "recited": melodies(tunes(1, 9), tunes(5, 9), tunes(5, 9)),
    "a number beyond all bounds": melodies([ONE_NOTE], [f"K0:major M4/4 | 0:60:{'9' * 5000}"], [ONE_NOTE]),
    "a very long note": melodies([ONE_NOTE], ["K0:major M64/1 " + "| " * 200 + "0:60:6000"], [ONE_NOTE]),
}


def pictures(
    held_out: int, samples: int, training: int, *, classes: int = 3, same: bool = False
) -> ImageEvidence:
    """Pictures of noise, or all the same; two extractors: the colours of four pixels, and the mean colour."""
    rng = np.random.default_rng(5)

    def noise(count: int) -> np.ndarray:
        return (
            np.full((count, 8, 8, 3), 7, np.uint8)
            if same
            else rng.integers(0, 256, (count, 8, 8, 3), np.uint8)
        )

    real, learnt, made = noise(held_out), noise(training), noise(samples)
    features = {
        "own": FeatureSet(
            *(each[:, :2, :2].reshape(len(each), 12) / np.float32(255) for each in (real, learnt, made))
        ),
        "mean": FeatureSet(
            *(each.reshape(len(each), 64, 3).mean(1, np.float32) for each in (real, learnt, made))
        ),
    }
    names = tuple(f"class {number}" for number in range(classes))
    return ImageEvidence(
        "image",
        7,
        "test",
        real,
        learnt,
        made,
        features,
        sample_labels=np.arange(samples) % classes if classes else None,
        labels=np.arange(training) % classes if classes else None,
        classes=names,
        classify=(lambda shown: shown[:, 0, 0, 0].astype(np.int64) % classes) if classes else None,
    )


PICTURES = {
    "ordinary": pictures(60, 50, 90),
    "nothing at all": pictures(0, 0, 0),
    "no samples": pictures(20, 0, 30),
    "one sample": pictures(20, 1, 30),
    "nothing held out": pictures(0, 20, 30),
    "one held out": pictures(1, 20, 30),
    "no training pictures": pictures(20, 20, 0),
    "fewer training pictures than samples": pictures(30, 40, 5),
    "two of each": pictures(2, 2, 2),
    "no classes": pictures(20, 20, 30, classes=0),
    "all the same": pictures(30, 30, 30, same=True),
}
FITTING = [
    pytest.param(name, evidence, id=f"{name}-{title}")
    for name, metric in METRICS.items()
    for kind, table in (("text", EVIDENCE), ("melody", MELODIES), ("image", PICTURES))
    if kind in metric.kinds
    for title, evidence in table.items()
]


@pytest.mark.parametrize(("name", "evidence"), FITTING)
def test_every_score_is_a_finite_number_or_none_with_its_sample_size(
    name: str, evidence: Evidence | ImageEvidence
) -> None:
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
    metric = METRICS[name]
    for kind, table in (("text", EVIDENCE), ("melody", MELODIES), ("image", PICTURES)):
        if kind in metric.kinds:
            assert metric.measure(table["ordinary"]) == metric.measure(table["ordinary"])


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_names_its_kinds_and_what_it_is_about(name: str) -> None:
    assert set(METRICS[name].kinds) <= {"text", "melody", "image"}
    assert METRICS[name].kinds
    assert METRICS[name].about


MAIN = {
    "text": {"bits_per_byte", "novelty", "ngram_bits_per_byte", "xz_bits_per_byte"},
    "melody": {
        "bits_per_note",
        "valid_share",
        "novelty",
        "longest_copy",
        "copied_tunes",
        "ngram_bits_per_note",
    },
    "image": {
        f"{name}{suffix}"
        for name in ("fid", "kid", "precision", "recall", "density", "coverage", "copied_share")
        for suffix in ("", "_mean")
    },
}


@pytest.mark.parametrize(
    "evidence",
    [*EVIDENCE.values(), *MELODIES.values(), *PICTURES.values()],
    ids=[*EVIDENCE, *MELODIES, *(f"pictures: {title}" for title in PICTURES)],
)
def test_all_metrics_and_baselines_together_stand_any_evidence(evidence: Evidence | ImageEvidence) -> None:
    scores, baselines, passages = evaluate(evidence)
    names = [score.name for score in [*scores, *baselines]]
    assert len(names) == len(set(names))
    assert MAIN[evidence.kind] <= set(names)
    for score in baselines:
        json.dumps(score.to_json(), allow_nan=False)
    for passage in passages:
        assert passage.text in evidence.samples[passage.sample]


def test_a_recited_text_has_no_novelty() -> None:
    scores = {score.name: score for score in METRICS["novelty"].measure(EVIDENCE["recited"])}
    assert scores["novelty"].value == 0
    assert scores["longest_copy"].value == len(EVIDENCE["recited"].samples[0])


def test_recited_tunes_have_no_novelty() -> None:
    recited = tunes(5, 1)[0] + " | " + tunes(6, 1)[0].partition("| ")[2]
    evidence = melodies([], [recited], [recited])
    scores = {score.name: score for score in METRICS["melody_novelty"].measure(evidence)}
    assert scores["copied_tunes"].value == 1
    assert scores["longest_copy"].value is not None
    assert scores["longest_copy"].value >= 16
