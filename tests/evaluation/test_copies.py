"""The search for copies against the obvious slow search."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bowerbird.evaluation import copies
from bowerbird.evaluation.copies import Search, search
from bowerbird.evaluation.rolling import Powers

DOCUMENT = "\ufdd0"


def slow_covered(text: str, stream: str, shortest: int) -> list[bool]:
    covered = [False] * len(text)
    for start in range(len(text) - shortest + 1):
        if text[start : start + shortest] in stream:
            covered[start : start + shortest] = [True] * shortest
    return covered


def slow_longest(texts: list[str], stream: str) -> int:
    best = 0
    for text in texts:
        for start in range(len(text)):
            while start + best < len(text) and text[start : start + best + 1] in stream:
                best += 1
    return best


def cut(stream: str, rng: random.Random, most: int) -> Iterator[str]:
    while stream:
        size = rng.randint(0, most)
        yield stream[:size]
        stream = stream[size:]


def check(texts: list[str], stream: str, shortest: int, pieces: Iterator[str]) -> Search:
    one = Search(texts, shortest)
    search([one], pieces)
    assert [list(flags) for flags in one.covered()] == [
        slow_covered(text, stream, shortest) for text in texts
    ]
    longest = one.longest.length if one.longest else 0
    assert longest == slow_longest(texts, stream)
    for copy in [*one.copies, *([one.longest] if one.longest else [])]:
        stretch = texts[copy.text][copy.start : copy.start + copy.length]
        assert len(stretch) == copy.length
        assert copy.before + stretch + copy.after in stream
    return one


@pytest.mark.parametrize("seed", range(12))
def test_random_texts_give_what_the_slow_search_gives(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(seed)
    monkeypatch.setattr(copies, "BLOCK", rng.choice([64, 500, 1 << 16]))
    monkeypatch.setattr(copies, "CONTEXT", rng.choice([3, 20]))
    letters = "ab" if seed % 2 else "abcdefgh é海\n"
    stream = "".join(rng.choice(letters) for _ in range(3000))
    stream = DOCUMENT + stream[:1000] + DOCUMENT + stream[1000:]
    texts = []
    for _ in range(4):
        text = "".join(rng.choice(letters) for _ in range(rng.randint(0, 150)))
        at = rng.randint(0, 2900)
        texts.append(text[:40] + stream[at : at + rng.randint(0, 90)].replace(DOCUMENT, "") + text[40:])
    check(texts, stream, rng.choice([1, 5, 12]), cut(stream, rng, rng.choice([10, 700, 5000])))


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("ab", max_size=40), max_size=3),
    stream=st.text("ab" + DOCUMENT, max_size=200),
    seed=st.integers(0, 99),
)
def test_repetitive_texts_give_what_the_slow_search_gives(texts: list[str], stream: str, seed: int) -> None:
    check(texts, stream, 6, cut(stream, random.Random(seed), 50))


def test_windows_that_share_a_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Powers.hashes
    monkeypatch.setattr(Powers, "hashes", lambda *given: full(*given) % np.uint64(7))
    rng = random.Random(5)
    stream = "".join(rng.choice("abcd") for _ in range(1500))
    texts = [stream[200:240] + "x" + stream[900:908], "".join(rng.choice("abcd") for _ in range(60))]
    check(texts, stream, 8, cut(stream, rng, 400))


def test_a_copy_across_pieces_of_one_document_is_found() -> None:
    words = " ".join(f"word{number}" for number in range(60_000))
    middle = len(words) // 2
    text = "so: " + words[middle - 40 : middle + 60] + "!"
    one = Search([text], 50)
    search([one], iter([DOCUMENT + words[:middle], words[middle:]]))
    assert one.longest is not None
    assert (one.longest.start, one.longest.length) == (4, 100)


def test_a_copy_never_crosses_from_one_document_into_the_next() -> None:
    one = Search(["the end" + "the beginning"], 10)
    search([one], iter([DOCUMENT + "this is the end", DOCUMENT + "the beginning of more"]))
    assert one.longest is not None
    assert one.longest.length == len("the beginning")
    assert one.longest.before == ""


def test_marks_of_speakers_do_not_hide_a_copy() -> None:
    one = Search(["hello youhello back"], 5)
    search([one], iter([DOCUMENT + "\ufdd2hello you\ufdd3hello back"]))
    assert one.longest is not None
    assert one.longest.length == len("hello youhello back")


def test_a_stretch_stitched_from_two_places_counts_as_copied_but_is_not_one_long_copy() -> None:
    first, second = "abcdefghijklmnop" * 2, "klmnopqrstuvwxyz"
    one = Search(["abcdefghijklmnopqrstuvwxyz"], 6)
    search([one], iter([DOCUMENT + first + DOCUMENT + second]))
    assert one.covered()[0].all()
    assert one.longest is not None
    assert one.longest.length == 16


def test_nothing_is_read_when_there_is_nothing_to_look_for() -> None:
    def unread() -> Iterator[str]:
        raise AssertionError("the stream was read")
        yield ""

    search([Search([], 50), Search(["", ""], 50)], unread())


def test_memory_does_not_grow_with_the_stream() -> None:
    letters = np.random.default_rng(0).integers(97, 123, 30_000).astype(np.uint8)
    texts = [letters[at : at + 2000].tobytes().decode() for at in range(0, 30_000, 2000)]

    def stream() -> Iterator[str]:
        rng = np.random.default_rng(1)
        for _ in range(24):
            yield rng.integers(97, 123, 1_000_000).astype(np.uint8).tobytes().decode()

    tracemalloc.start()
    search([Search(texts, 50)], stream())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 30_000_000
