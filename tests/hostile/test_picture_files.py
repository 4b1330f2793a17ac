"""Files that are no pictures, or that nobody should decode: each is refused with a reason, and the next is read."""

from __future__ import annotations

import io
import random
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bowerbird.base.config import resolve
from bowerbird.base.errors import DataError
from bowerbird.data.item import Item, Rejected
from bowerbird.data.prepare import PrepareConfig, prepare
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig

PIXELS = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)


def saved(kind: str, pixels: np.ndarray = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def declared(width: int, height: int, rows: bytes = b"") -> bytes:
    """A grey PNG that declares a size, whatever it holds."""
    head = struct.pack(">2I5B", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 9))
        + chunk(b"IEND", b"")
    )


GOOD = saved("PNG")
BLANK = np.full((24, 24, 3), 77, np.uint8)
HOSTILE = {
    "empty": (b"", "empty file"),
    "words": (b"These are words and no picture, whatever the name says.", "not a picture"),
    "noise": (random.Random(1).randbytes(4000), "not a picture"),
    "a video": (struct.pack(">I", 32) + b"ftypisom" + bytes(3000), "a video, for all its name"),
    "a film": (b"\x1a\x45\xdf\xa3" + bytes(3000), "a video, for all its name"),
    "another film": (b"RIFF" + bytes(4) + b"AVI LIST" + bytes(3000), "a video, for all its name"),
    "HEIC": (struct.pack(">I", 32) + b"ftypheic" + bytes(3000), "HEIC"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg" width="9"/>', "not a picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n", "not a picture"),
    "PNG, half": (GOOD[: len(GOOD) // 2], "truncated"),
    "JPEG, half": (saved("JPEG")[:400], ""),
    "GIF, half": (saved("GIF")[:900], ""),
    "WEBP, half": (saved("WEBP")[:100], ""),
    "TIFF, half": (saved("TIFF")[:1000], ""),
    "BMP, half": (saved("BMP")[:1000], "truncated"),
    "only a header": (GOOD[:33], ""),
    "blank": (saved("PNG", BLANK), "blank: it is all one colour"),
    "tiny": (saved("PNG", PIXELS[:7]), "too small: 24 x 7 pixels"),
    "one pixel": (saved("PNG", PIXELS[:1, :1]), "too small: 1 x 1 pixels"),
    "a bomb": (declared(30_000, 30_000, bytes(30_001 * 100)), "too large: 30000 x 30000 pixels"),
    "a long bomb": (declared(2_000_000_000, 9), "too large: 2000000000 x 9 pixels"),
    "30,000 pixels wide": (declared(30_000, 20, bytes(30_001 * 20)), "too large: 30000 x 20 pixels"),
    "just over": (declared(8001, 8000), "too large: 8001 x 8000 pixels are more than 64 million"),
    "no pixels": (declared(0, 0), ""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_picture_is_refused_and_the_next_is_read(name: str, tmp_path: Path) -> None:
    content, reason = HOSTILE[name]
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "b.png").write_bytes(GOOD)
    bad, good = gather([str(tmp_path)], GatherConfig(), kind="image")
    assert isinstance(bad, Rejected)
    assert reason in bad.reason
    assert bad.reason
    assert isinstance(good, Item)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(declared(30_000, 30_000, bytes(30_001 * 1000)))
    (tmp_path / "b.png").write_bytes(GOOD)
    tracemalloc.start()
    assert len(list(gather([str(tmp_path)], GatherConfig(), kind="image"))) == 2
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_the_limit_of_pillow_is_left_as_it_was(tmp_path: Path) -> None:
    limit = Image.MAX_IMAGE_PIXELS
    for content, _ in HOSTILE.values():
        (tmp_path / "a.png").write_bytes(content)
        list(gather([str(tmp_path)], GatherConfig(), kind="image"))
    assert limit is not None
    assert limit == Image.MAX_IMAGE_PIXELS


def test_a_picture_of_another_kind_than_its_name_is_read_for_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(saved("BMP"))
    (item,) = gather([str(tmp_path)], GatherConfig(), kind="image")
    assert isinstance(item, Item)
    assert np.array_equal(item.content, PIXELS)


def test_damaged_exif_does_not_cost_the_picture(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG", exif=b"Exif\0\0MM\0*nonsense")
    (tmp_path / "a.png").write_bytes(file.getvalue())
    (item,) = gather([str(tmp_path)], GatherConfig(), kind="image")
    assert isinstance(item, Item)
    assert np.array_equal(item.content, PIXELS)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("seed", range(15))
def test_a_picture_with_wrong_bytes_is_read_or_refused(kind: str, seed: int, tmp_path: Path) -> None:
    chance = random.Random(seed)
    content = bytearray(saved(kind))
    for _ in range(chance.randint(1, 8)):
        content[chance.randrange(min(len(content), 300))] = chance.randrange(256)
    (tmp_path / "a.png").write_bytes(content)
    assert len(list(gather([str(tmp_path)], GatherConfig(), kind="image"))) == 1


def test_a_folder_of_hostile_files_alone_makes_no_dataset(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number, (content, _) in enumerate(HOSTILE.values()):
        (tmp_path / "in" / f"{number}.png").write_bytes(content)
    with pytest.raises(DataError, match=f"{len(HOSTILE)} of {len(HOSTILE)} items were refused"):
        prepare([str(tmp_path / "in")], tmp_path / "out", resolve(PrepareConfig), kind="image")
    assert not (tmp_path / "out").exists()
