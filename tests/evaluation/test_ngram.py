"""The n-gram baseline against a slow, literal reading of the paper, and the compressor baseline."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
import pytest

from bowerbird.evaluation.baselines import baselines, beginning
from bowerbird.evaluation.evidence import Evidence
from bowerbird.evaluation.ngram import NGram


class SlowNGram:
    """Interpolated modified Kneser-Ney with dicts. Chen and Goodman 1999, section 3."""

    def __init__(self, documents: list[bytes], order: int):
        self.order = order
        counts: Counter[bytes] = Counter()
        for document in documents:
            padded = b"\xff" * (order - 1) + document
            for end in range(order, len(padded) + 1):
                counts[padded[end - order : end]] += 1
        self.levels: dict[int, Counter[bytes]] = {order: counts}
        for size in range(order - 1, 0, -1):
            before = defaultdict(set)
            for gram in self.levels[size + 1]:
                before[gram[1:]].add(gram[0])
            self.levels[size] = Counter({gram: len(bytes_) for gram, bytes_ in before.items()})
        self.discounts = {size: self._discounts(level) for size, level in self.levels.items()}

    @staticmethod
    def _discounts(level: Counter[bytes]) -> list[float]:
        n = [sum(count == times for count in level.values()) for times in range(5)]
        if not all(n[1:]):
            return [0.0, 0.5, 0.75, 1.0]
        y = n[1] / (n[1] + 2 * n[2])
        found = [times - (times + 1) * y * n[times + 1] / n[times] for times in (1, 2, 3)]
        return [0.0, *(min(max(value, 0.1), times - 0.1) for times, value in enumerate(found, 1))]

    def probability(self, context: bytes, byte: int, size: int | None = None) -> float:
        size = self.order if size is None else size
        if size == 0:
            return 1 / 256
        context = (b"\xff" * self.order + context)[-(size - 1) :] if size > 1 else b""
        below = self.probability(context, byte, size - 1) if size > 1 else 1 / 256
        level, discounts = self.levels[size], self.discounts[size]
        following = {gram[-1]: count for gram, count in level.items() if gram[:-1] == context}
        if not following:
            return below
        total = sum(following.values())
        count = following.get(byte, 0)
        left = sum(discounts[min(other, 3)] for other in following.values())
        return (count - discounts[min(count, 3)]) / total + left / total * below


def documents(seed: int, count: int = 12, length: int = 80) -> list[bytes]:
    rng = random.Random(seed)
    words = ["the ", "sea ", "sings ", "a ", "song ", "of ", "öl ", "海", "\n"]
    return ["".join(rng.choice(words) for _ in range(rng.randint(1, length))).encode() for _ in range(count)]


@pytest.mark.parametrize("order", [1, 2, 3, 6])
def test_probabilities_are_those_of_the_paper(order: int) -> None:
    learnt = documents(0, 5, 30)
    fast, slow = NGram(learnt, order), SlowNGram(learnt, order)
    for context in (b"", b"t", b"the s", b"song of", b"zzz", b"\n\n\n\n", "海".encode()):
        expected = [slow.probability(context, byte) for byte in range(256)]
        np.testing.assert_allclose(fast.after(context), expected, rtol=1e-12)


def test_bits_are_the_sum_over_the_bytes_of_a_document() -> None:
    learnt, document = documents(1, 4, 20), b"the sea of \xe6\xb5\xb7"
    slow = SlowNGram(learnt, 4)
    bits = -sum(math.log2(slow.probability(document[:at], byte)) for at, byte in enumerate(document))
    assert NGram(learnt, 4).bits(document) == pytest.approx(bits, rel=1e-12)


@pytest.mark.parametrize("learnt", [[], [b""], [b"a"], [b"aaaaaaaa"], documents(2)], ids=len)
def test_probabilities_over_all_bytes_sum_to_one(learnt: list[bytes]) -> None:
    model, rng = NGram(learnt), random.Random(3)
    contexts = [rng.randbytes(rng.randint(0, 9)) for _ in range(40)]
    joined = b"".join(learnt)
    contexts += [joined[at : at + 7] for at in range(0, min(len(joined), 200), 5)]
    for context in contexts:
        distribution = model.after(context)
        assert distribution.min() > 0
        assert distribution.sum() == pytest.approx(1, abs=1e-12)


def test_without_training_text_every_byte_costs_eight_bits() -> None:
    assert NGram([]).bits(b"anything") == pytest.approx(64)


def test_even_bytes_that_cannot_be_predicted_cost_about_eight_bits() -> None:
    rng = np.random.default_rng(0)
    learnt = rng.integers(0, 255, 20_000).astype(np.uint8).tobytes()
    new = rng.integers(0, 255, 20_000).astype(np.uint8).tobytes()
    assert 7.9 < NGram([learnt]).bits(new) / len(new) < 8.6


def evidence(training: list[str], held_out: list[str]) -> Evidence:
    def pieces() -> Iterator[str]:
        return iter(training)

    return Evidence("text", 0, "test", np.zeros(0), np.zeros(0), held_out, [], pieces)


def test_xz_pays_next_to_nothing_for_text_it_has_seen_and_eight_bits_for_noise() -> None:
    rng = random.Random(0)
    noise = "".join(chr(rng.randrange(128)) for _ in range(20_000))
    other = "".join(chr(rng.randrange(128)) for _ in range(20_000))
    seen = baselines(evidence(["\ufdd0" + noise], [noise]))[1]
    new = baselines(evidence(["\ufdd0" + noise], [other]))[1]
    assert (seen.name, seen.n) == ("xz_bits_per_byte", 20_000)
    assert seen.value is not None
    assert new.value is not None
    assert seen.value < 0.05
    assert 7.0 < new.value < 8.1


def test_baselines_say_how_much_they_learnt_from() -> None:
    for score in baselines(evidence(["\ufdd0abcdefgh", "ij\ufdd0kl"], ["xyz"])):
        assert "all 12 bytes" in score.note
        assert "3 bytes of the test split (the model: 0)" in score.note


def test_the_beginning_of_a_text_keeps_documents_together_across_pieces() -> None:
    pieces = ["\ufdd0one", "", "\ufdd1 two", "\ufdd0", "three\ufdd0\ufdd0fo", "ur"]
    assert beginning(pieces, 100) == ([b"one two", b"three", b"four"], True)
    assert beginning(pieces, 9) == ([b"one two", b"th"], False)
    assert beginning(pieces, 16) == ([b"one two", b"three", b"four"], True)
    assert beginning([], 9) == ([], True)
