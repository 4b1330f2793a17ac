"""Near duplicates: estimates against the true similarity, what is and is not dropped, streaming, cost."""

from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from bowerbird.base.errors import MissingExtra
from bowerbird.data.near_duplicates import PASSAGE_BYTES, SKETCH_HASHES, NearDuplicates, Sketch

WORDS = [
    f"{a}{b}{c}"
    for a in ("ka", "lo", "mi", "ne")
    for b in ("r", "st", "v")
    for c in ("a", "en", "is", "ot", "um")
]


def text(seed: int, words: int) -> str:
    return " ".join(random.Random(seed).choices(WORDS, k=words))


def sketch(content: str) -> Sketch:
    result = Sketch()
    result.add(content)
    return result


def similar(
    contents: list[str], similarity: float = 0.8, left_out: tuple[int, ...] = ()
) -> dict[int, tuple[int, float]]:
    finder = NearDuplicates(similarity)
    for number, content in enumerate(contents):
        finder.add(number, sketch(content))
    dropped = np.zeros(len(contents), np.bool_)
    dropped[list(left_out)] = True
    return finder.resembling(dropped)


def estimate(a: str, b: str) -> float:
    finder = NearDuplicates(0.8)
    finder.add(0, sketch(a))
    finder.add(1, sketch(b))
    return float(finder.comparison()(np.array([[0, 1]]))[0])


def jaccard(a: str, b: str) -> float:
    """The true similarity, by sets of passages, of texts of small letters and single spaces."""
    first, second = (
        {c[i : i + PASSAGE_BYTES] for i in range(len(c) - PASSAGE_BYTES + 1) if i == 0 or c[i - 1] == " "}
        for c in (a, b)
    )
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("words", [60, 400, 6000])
@pytest.mark.parametrize("changed", [0.003, 0.02, 0.1])
def test_the_estimate_is_close_to_the_true_similarity(words: int, changed: float):
    off = []
    for seed in range(12):
        before = text(seed, words).split()
        rng = random.Random(seed)
        after = [f"x{word}" if rng.random() < changed else word for word in before]
        a, b = " ".join(before), " ".join(after)
        off.append(estimate(a, b) - jaccard(a, b))
    assert abs(float(np.mean(off))) < 0.05
    assert float(np.max(np.abs(off))) < 0.2


@pytest.mark.parametrize("share", [0.5, 0.8, 0.9])
def test_the_estimate_holds_for_a_document_inside_another(share: float):
    off = []
    for seed in range(12):
        whole = text(seed, 4000)
        part = whole[: int(len(whole) * share)]
        off.append(estimate(whole, part) - jaccard(whole, part))
    assert abs(float(np.mean(off))) < 0.05
    assert float(np.max(np.abs(off))) < 0.15


def test_documents_much_alike_are_found_and_others_are_not():
    originals = [text(seed, 300) for seed in range(100)]
    copies = [content.replace(" ", " and then ", 1) + " the end" for content in originals]
    found = similar(originals + copies)
    assert {later: earlier for later, (earlier, _) in found.items()} == {100 + n: n for n in range(100)}


def test_line_ends_case_and_punctuation_make_no_difference():
    a = "Tyger Tyger, burning bright, In the forests of the night; " + text(1, 60)
    b = a.upper().replace(" ", "\r\n   ").replace(",", " -")
    assert similar([a, b])[1] == (0, 1.0)


def test_texts_without_spaces_and_in_other_scripts_are_compared():
    rng = random.Random(1)
    chinese = "".join(chr(rng.randrange(0x4E00, 0x5E00)) for _ in range(800))
    other = "".join(chr(rng.randrange(0x4E00, 0x5E00)) for _ in range(800))
    assert list(similar([chinese, other, chinese[:780] + "。" + chinese[780:]])) == [2]


def test_short_documents_are_never_near_duplicates():
    assert similar(["a poem of a few words"] * 5) == {}


def test_the_first_of_several_is_kept_and_named():
    base = text(3, 300)
    found = similar([text(9, 300), base, base + " one", base + " two", base + " three"])
    assert {later: earlier for later, (earlier, _) in found.items()} == {2: 1, 3: 1, 4: 1}


def test_a_chain_of_small_changes_is_not_dropped_as_a_whole():
    """What is dropped resembles a document that is kept, not one that was itself dropped."""
    words = text(4, 800).split()
    chain = [" ".join(words[n * 20 : n * 20 + 400]) for n in range(12)]
    found = similar(chain)
    assert found
    assert len(found) < 11
    for later, (earlier, _) in found.items():
        assert earlier not in found
        assert jaccard(chain[earlier], chain[later]) > 0.65


def test_documents_left_out_count_for_nothing():
    base = text(5, 300)
    assert list(similar([base, base + " a", base + " b"], left_out=(0,))) == [2]


def test_a_document_in_pieces_has_the_sketch_of_the_whole():
    content = text(6, 20_000)
    whole, pieces = sketch(content), Sketch()
    for start in range(0, len(content), 777):
        pieces.add(content[start : start + 777])
    assert np.array_equal(whole.hashes, pieces.hashes)
    assert len(whole.hashes) == SKETCH_HASHES
    assert whole.characters == pieces.characters == len(content)


def test_repeating_one_line_leaves_few_passages_and_no_warning():
    assert len(sketch("all work and no play\n" * 5000).hashes) <= 21
    assert len(sketch("\n" * 100_000).hashes) == 0


def test_datasketch_is_asked_for_only_with_two_long_documents(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "datasketch", None)
    finder = NearDuplicates(0.8)
    finder.add(0, sketch("short"))
    finder.add(1, sketch(text(1, 300)))
    finder.add(2, sketch("short too"))
    with pytest.raises(MissingExtra, match=r"clean\.near_duplicates=false"):
        finder.add(3, sketch(text(2, 300)))


def test_400_000_documents_stay_within_300_megabytes():
    finder = NearDuplicates(0.8)
    rng = np.random.default_rng(1)
    finder.add(0, sketch(text(1, 300)))
    finder.add(1, sketch(text(2, 300)))
    count = 400_000
    finder._documents.extend(range(2, count))
    finder._sizes.extend([256.0] * (count - 2))
    finder._reaches.extend([0.05] * (count - 2))
    finder._signatures += rng.integers(0, 256, (count - 2) * 128, np.uint8).tobytes()
    import tracemalloc

    stored = 160 * count
    tracemalloc.start()
    assert finder.resembling(np.zeros(count, np.bool_)) == {}
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stored + peak < 300 << 20
