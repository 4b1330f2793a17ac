"""Near duplicates of pictures are found, and pictures that only look alike to a hash are kept."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bowerbird.data import near_pictures
from bowerbird.data.near_pictures import phash, resembling

Pictures = NDArray[np.uint8]


def scenes(count: int, size: int = 32, seed: int = 1) -> Pictures:
    """(count, size, size, 3): coarse random patches, no two alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3))
    return coarse.repeat(size // 8, axis=1).repeat(size // 8, axis=2).astype(np.uint8)


def found(pictures: Pictures, left_out: tuple[int, ...] = ()) -> dict[int, int]:
    gone = np.zeros(len(pictures), np.bool_)
    gone[list(left_out)] = True
    return {
        later: earlier for later, (earlier, _) in resembling(lambda numbers: pictures[numbers], gone).items()
    }


def brighter(picture: Pictures, by: int) -> Pictures:
    return np.clip(picture.astype(int) + by, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [16, 32, 64, 256])
def test_a_slightly_changed_picture_is_found_at_every_size(size: int) -> None:
    pictures = np.concatenate([scenes(6, size), brighter(scenes(6, size)[2:3], 2)])
    assert found(pictures) == {6: 2}


def test_different_pictures_are_all_kept() -> None:
    assert found(scenes(300)) == {}


def test_the_same_shape_in_another_colour_is_another_picture() -> None:
    red = np.zeros((1, 32, 32, 3), np.uint8)
    red[:, 8:20, 6:25, 0] = 200
    green = np.zeros_like(red)
    green[:, 8:20, 6:25, 1] = round(200 * 0.299 / 0.587)  # as bright to the eye
    pair = np.concatenate([red, green])
    hashes = phash(pair)
    assert int(np.bitwise_count(hashes[0] ^ hashes[1])) <= near_pictures.MOST_BITS  # the hash proposes
    assert found(pair) == {}  # and the pixels decide


def test_the_first_is_kept_and_a_chain_does_not_drift() -> None:
    """Each of a row is near to its neighbours only: what is far from all that is kept is kept too."""
    first = scenes(1).clip(20, 160)
    row = np.concatenate([brighter(first[0:1], 3 * step) for step in range(4)])
    assert found(row) == {1: 0, 3: 2}


def test_what_was_dropped_before_counts_for_nothing() -> None:
    pictures = np.concatenate([scenes(1), scenes(1), brighter(scenes(1), 2)])
    assert found(pictures, left_out=(1,)) == {2: 0}
    assert found(pictures[:1]) == {}


def test_hashes_of_three_different_bits_always_meet() -> None:
    rng = np.random.default_rng(3)
    for _ in range(50):
        bits = rng.choice(64, 3, replace=False)
        flipped = np.uint64(sum(1 << int(bit) for bit in bits))
        base = np.uint64(rng.integers(1 << 63))
        hashes = np.array([base, rng.integers(1 << 63), base ^ flipped], np.uint64)
        met = {tuple(pair) for pairs in near_pictures._proposed(hashes) for pair in pairs.tolist()}
        assert met == {(0, 2)}


def test_the_hash_is_that_of_the_lowest_frequencies() -> None:
    """A wave of one of the frequencies lights up its own bit and few others."""
    places = (np.arange(32) + 0.5) * np.pi / 32
    wave = 127 + 120 * np.outer(np.cos(2 * places), np.cos(3 * places))
    (code,) = phash(np.repeat(wave.astype(np.uint8)[None, :, :, None], 3, axis=3))
    assert int(code) >> (63 - (2 * 8 + 3)) & 1


def test_many_that_share_a_hash_are_compared_in_bounded_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_pictures, "MOST_NEIGHBOURS", 2)
    pairs = [
        pair
        for pairs in near_pictures._proposed(np.zeros(50, np.uint64))
        for pair in map(tuple, pairs.tolist())
    ]
    assert len(set(pairs)) == 49 + 48
