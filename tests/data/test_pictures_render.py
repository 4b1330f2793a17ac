"""Pictures as files: read back they are what they were, and a PNG says how it was made."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bowerbird.data.render.pictures import animation, enlarged, grid, to_png

NOISE = np.random.default_rng(3).integers(0, 256, (5, 6, 9, 4), np.uint8)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_holds_every_pixel(channels: int) -> None:
    picture = NOISE[0, ..., :channels]
    read = np.asarray(Image.open(io.BytesIO(to_png(picture))))
    assert np.array_equal(read.reshape(picture.shape), picture)


def test_a_png_says_how_it_was_made() -> None:
    about = {"model": "sha256:ab", "seed": "7", "label": "grün ✓", "settings": '{"truncation": 0.7}'}
    read = Image.open(io.BytesIO(to_png(NOISE[0, ..., :3], about)))
    read.load()
    assert read.text == {f"bowerbird:{name}": value for name, value in about.items()}  # type: ignore[attr-defined]


def test_equal_pictures_give_equal_files() -> None:
    assert to_png(NOISE[0], {"seed": "1"}) == to_png(NOISE[0].copy(), {"seed": "1"})
    assert to_png(NOISE[0], {"seed": "1"}) != to_png(NOISE[0], {"seed": "2"})


def cells(sheet: NDArray[np.uint8], columns: int) -> NDArray[np.uint8]:
    """The places for 6 x 9 pictures on a sheet, row by row."""
    rows = (sheet.shape[0] - 2) // 8
    return np.stack(
        [
            sheet[2 + row * 8 :][:6, 2 + column * 11 :][:, :9]
            for row in range(rows)
            for column in range(columns)
        ]
    )


def test_a_sheet_has_its_pictures_row_by_row_and_white_between() -> None:
    pictures = NOISE[..., :3]
    sheet = grid(pictures)
    assert sheet.shape == (2 * 8 + 2, 3 * 11 + 2, 3), "five pictures on a square sheet of three columns"
    found = cells(sheet, 3)
    assert np.array_equal(found[:5], pictures)
    assert (found[5] == 255).all()
    assert (sheet[:2] == 255).all()
    assert (sheet[:, 11:13] == 255).all()
    assert grid(pictures, columns=5).shape == (8 + 2, 5 * 11 + 2, 3)


def test_a_sheet_of_pictures_with_opacity_is_clear_between_them() -> None:
    sheet = grid(list(NOISE), columns=2)
    assert np.array_equal(cells(sheet, 2)[:5], NOISE)
    assert (sheet[:2, :, 3] == 0).all()


def test_a_small_picture_is_enlarged_by_whole_pixels() -> None:
    large = enlarged(NOISE[0], 20)
    assert large.shape == (24, 36, 4)
    assert np.array_equal(large[::4, ::4], NOISE[0])
    assert np.array_equal(large[3::4, 3::4], NOISE[0])
    assert np.array_equal(enlarged(NOISE[0], 3), NOISE[0])


def test_an_animation_shows_every_frame_without_loss() -> None:
    read = Image.open(io.BytesIO(animation(NOISE[..., :3], 1.0)))
    assert read.n_frames == 5  # type: ignore[attr-defined]
    for number, frame in enumerate(NOISE[..., :3]):
        read.seek(number)
        read.load()
        assert read.info["duration"] == 200
        assert np.array_equal(np.asarray(read.convert("RGB")), frame)
