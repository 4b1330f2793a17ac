"""Pictures: whatever the file, the same upright 8-bit colours; and brought to a square in three ways."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bowerbird.base.config import resolve
from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.data import picture as module
from bowerbird.data.image_config import COLOURS, ImageConfig, rgb
from bowerbird.data.picture import check_size, decode, fitted, on_background
from bowerbird.data.sources.source import Unusable

RNG = np.random.default_rng(1)
COLOURED = RNG.integers(0, 256, (12, 20, 3), np.uint8)
KEEP = ImageConfig(alpha="keep")


def packed(image: Image.Image, kind: str = "PNG", **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    image.save(file, kind, **options)
    file.seek(0)
    return file


def read(image: Image.Image, kind: str = "PNG", config: ImageConfig | None = None, **options: Any) -> Any:
    return decode(packed(image, kind, **options), config or ImageConfig())


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_a_lossless_file_gives_its_pixels(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    found = read(Image.fromarray(COLOURED), kind, **options)
    assert found.dtype == np.uint8
    assert np.array_equal(found, COLOURED)


def test_a_jpeg_gives_nearly_its_pixels() -> None:
    smooth = np.linspace(0, 255, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint8)
    found = read(Image.fromarray(smooth), "JPEG", quality=95)
    assert np.abs(found.astype(int) - smooth).mean() < 4


def test_of_a_moving_picture_the_first_frame_is_taken() -> None:
    frames = [Image.new("RGB", (10, 10), colour) for colour in ("red", "blue")]
    for number, frame in enumerate(frames):
        frame.putpixel((number, 0), (255, 255, 255))
    found = read(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert found[5, 5].tolist() == [255, 0, 0]


def test_of_a_picture_with_depth_from_a_telephone_the_first_is_taken() -> None:
    two = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for one in two:
        one.paste((255, 255, 255), (0, 0, 8, 8))
    found = read(two[0], "MPO", save_all=True, append_images=two[1:])
    assert found[12, 12].tolist() == pytest.approx([254, 0, 0], abs=3)


def test_grey_palette_and_deep_pictures_become_colours() -> None:
    grey = COLOURED[..., 0]
    as_grey = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(read(Image.fromarray(grey)), as_grey)
    deep = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(read(deep), as_grey)
    assert np.array_equal(read(Image.fromarray(grey.astype(np.float32) / 255), "TIFF"), as_grey)
    few = Image.fromarray(COLOURED).quantize(8)
    assert np.array_equal(read(few), np.asarray(few.convert("RGB")))
    bits = Image.fromarray(grey > 128)
    assert np.array_equal(read(bits), np.repeat((grey > 128)[..., None], 3, axis=2) * 255)


def test_printers_colours_become_the_screens() -> None:
    pages = np.zeros((8, 8, 4), np.uint8)
    pages[:4, :, 0] = 255  # cyan is red's absence
    found = read(Image.frombytes("CMYK", (8, 8), pages.tobytes()), "TIFF")
    assert found[0, 0].tolist() == [0, 255, 255]
    assert found[7, 7].tolist() == [255, 255, 255]


def test_a_picture_is_turned_upright_as_its_exif_says() -> None:
    turned = Image.Exif()
    turned[0x0112] = 6  # the camera was held upright: the first row is at the right
    found = read(Image.fromarray(COLOURED), exif=turned)
    assert found.shape == (20, 12, 3)
    assert np.array_equal(found, np.rot90(COLOURED, -1))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_comes_out_as_pillow_turns_it(orientation: int) -> None:
    from PIL import ImageOps

    tag = Image.Exif()
    tag[0x0112] = orientation
    file = packed(Image.fromarray(COLOURED), exif=tag)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    file.seek(0)
    assert np.array_equal(decode(file, ImageConfig()), expected)


def half_seen() -> Image.Image:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, :4] = (255, 0, 0, 255)
    pixels[:, 4] = (255, 0, 0, 128)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(("background", "behind"), [("white", 255), ("black", 0), ("#808080", 128)])
def test_what_is_transparent_is_laid_on_the_background(background: str, behind: int) -> None:
    found = read(half_seen(), config=ImageConfig(background=background))
    assert found.shape == (8, 8, 3)
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[0, 7].tolist() == [behind] * 3
    mixed = round(behind * 127 / 255)
    assert found[0, 4].tolist() == pytest.approx([128 + mixed, mixed, mixed], abs=1)


def test_opacity_is_kept_where_asked_and_where_there_is_some() -> None:
    assert np.array_equal(read(half_seen(), config=KEEP), np.asarray(half_seen()))
    assert read(Image.fromarray(COLOURED), config=KEEP).shape == (12, 20, 3)


def test_a_transparent_colour_of_a_palette_is_transparent() -> None:
    drawn = Image.new("P", (8, 8), 0)
    drawn.putpalette([0, 0, 0, 255, 0, 0])
    drawn.paste(1, (0, 0, 4, 8))
    found = read(drawn, transparency=0)
    assert found[0, 0].tolist() == [255, 0, 0]
    assert found[0, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_is_shrunk_to_its_shorter_side(kind: str) -> None:
    slope = np.linspace(0, 255, 900).astype(np.uint8)
    large = np.broadcast_to(slope[None, :, None], (300, 900, 3)).copy()
    found = decode(packed(Image.fromarray(large), kind), ImageConfig(), most=30)
    assert found.shape == (30, 90, 3)
    assert found[15, :, 0].astype(float) == pytest.approx(np.linspace(0, 255, 90), abs=6)


def test_a_deep_and_a_palette_picture_are_shrunk_like_others() -> None:
    squares = np.kron(np.array([[0, 255], [255, 0]]), np.ones((20, 20))).astype(np.uint8)
    for image in (Image.fromarray(squares.astype(np.uint16) * 257), Image.fromarray(squares).quantize(2)):
        found = decode(packed(image), ImageConfig(), most=10)
        assert found.shape == (10, 10, 3)
        assert found[0, 0].tolist() == [0, 0, 0]
        assert found[0, 9].tolist() == [255, 255, 255]


def striped() -> NDArray[np.uint8]:
    """Twice as wide as high: red, green, blue in quarters of 1, 2 and 1."""
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :8, 0] = picture[:, 8:24, 1] = picture[:, 24:, 2] = 255
    return picture


def test_cropping_takes_the_middle() -> None:
    found = fitted(striped(), 16, "crop", "white")
    assert found.shape == (16, 16, 3)
    assert (found == [0, 255, 0]).all()


def test_padding_shows_all_between_borders() -> None:
    found = fitted(striped(), 16, "pad", "black")
    assert (found[:4] == 0).all()
    assert (found[12:] == 0).all()
    assert found[8, 0].tolist() == [255, 0, 0]
    assert found[8, 8].tolist() == [0, 255, 0]
    transparent = np.dstack([striped(), np.full((16, 32), 255, np.uint8)])
    assert fitted(transparent, 16, "pad", "black")[0, 0, 3] == 0


def test_squashing_shows_all_in_another_shape() -> None:
    found = fitted(striped(), 16, "squash", "white")
    assert found[8, 0].tolist() == [255, 0, 0]
    assert found[8, 8].tolist() == [0, 255, 0]
    assert found[8, 15].tolist() == [0, 0, 255]


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    square = RNG.integers(0, 256, (32, 32, 3), np.uint8)
    for fit in ("crop", "pad", "squash"):
        assert np.array_equal(fitted(square, 32, fit, "white"), square)


def test_shrinking_averages_instead_of_picking() -> None:
    board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
    found = fitted(np.repeat(board[..., None], 3, axis=2), 16, "crop", "white")
    assert np.abs(found.astype(int) - 127).max() < 20


def test_colours_by_name_and_number() -> None:
    assert rgb("#0a141E") == (10, 20, 30)
    assert all(rgb(name.upper()) == colour for name, colour in COLOURS.items())
    with pytest.raises(UsageError, match=r"image\.background|background"):
        resolve(ImageConfig, settings=["background=mauve"])


def test_composition_rounds_and_leaves_opaque_pixels_alone() -> None:
    opaque = np.dstack([COLOURED, np.full(COLOURED.shape[:2], 255, np.uint8)])
    assert np.array_equal(on_background(opaque, "red"), COLOURED)
    assert np.array_equal(on_background(COLOURED, "red"), COLOURED)


@pytest.mark.parametrize(
    ("size", "words"),
    [((7, 100), "too small: 7 x 100"), ((30_000, 30_000), "30000 x 30000"), ((30_000, 100), "30000 x 100")],
)
def test_sizes_that_are_refused(size: tuple[int, int], words: str) -> None:
    with pytest.raises(Unusable, match=words):
        check_size(*size)
    check_size(8, 8)
    check_size(8000, 8000)


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[image\]"):
        module.require_pillow()
