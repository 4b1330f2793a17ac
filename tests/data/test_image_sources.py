"""Sources of pictures: files, IDX, tables and a font give each picture with its label."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import demo_icons, source_for
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig, Unusable

DIGITS = np.random.default_rng(1).integers(0, 256, (5, 28, 28), np.uint8)


def found(path: Path | str, notes: list[str] | None = None, **settings: object) -> list[Item | Rejected]:
    config = GatherConfig.model_validate(settings)
    return list(gather([str(path)], config, None if notes is None else notes.append, kind="image"))


def items(path: Path | str, **settings: object) -> list[Item]:
    read = found(path, **settings)
    assert all(isinstance(item, Item) for item in read), read
    return [item for item in read if isinstance(item, Item)]


def reason(path: Path) -> str:
    (refusal,) = found(path)
    assert isinstance(refusal, Rejected), refusal
    return refusal.reason


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


# files


def test_a_picture_file_is_one_item(tmp_path: Path) -> None:
    (tmp_path / "a.PNG").write_bytes(png(DIGITS[0]))
    (item,) = items(tmp_path)
    assert item.origin == str(tmp_path / "a.PNG")
    assert item.label is None
    assert np.array_equal(item.content[..., 1], DIGITS[0])


def test_pictures_in_an_archive_are_read(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cat/1.png", png(DIGITS[0]))
        archive.writestr("dog/2.png", png(DIGITS[1]))
    read = items(tmp_path / "a.zip")
    assert [item.origin for item in read] == [f"{tmp_path}/a.zip#cat/1.png", f"{tmp_path}/a.zip#dog/2.png"]
    assert np.array_equal(read[1].content[..., 0], DIGITS[1])


def test_a_large_picture_is_shrunk_as_it_is_read(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(2).integers(0, 256, (600, 900, 3), np.uint8)).save(
        tmp_path / "a.jpg"
    )
    assert items(tmp_path)[0].content.shape == (256, 384, 3)


def test_what_is_transparent_stays_so_until_it_is_prepared(tmp_path: Path) -> None:
    pixels = np.dstack([DIGITS[0]] * 4)
    (tmp_path / "a.png").write_bytes(png(pixels))
    assert np.array_equal(items(tmp_path)[0].content, pixels)


def test_a_picture_is_no_text_and_a_text_no_picture(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("words")
    (tmp_path / "a.png").write_bytes(png(DIGITS[0]))
    text, *_ = gather([str(tmp_path / "a.png")], GatherConfig())
    assert text == Rejected(str(tmp_path / "a.png"), "unsupported file type .png (image: --kind image)")
    assert reason(tmp_path / "a.txt").startswith("unsupported file type .txt")


# IDX


def idx(pixels: NDArray[np.uint8]) -> bytes:
    head = bytes([0, 0, 8, pixels.ndim]) + struct.pack(f">{pixels.ndim}I", *pixels.shape)
    return head + pixels.tobytes()


PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}


def mnist(folder: Path, packed: str = "", labels: NDArray[np.uint8] | None = None) -> Path:
    path = folder / f"train-images-idx3-ubyte{packed}"
    path.write_bytes(PACK[packed](idx(DIGITS)))
    if labels is not None:
        (folder / f"train-labels-idx1-ubyte{packed}").write_bytes(PACK[packed](idx(labels)))
    return path


@pytest.mark.parametrize("packed", PACK)
def test_idx_pictures_have_the_labels_beside_them(packed: str, tmp_path: Path) -> None:
    path = mnist(tmp_path, packed, np.array([3, 1, 4, 1, 5], np.uint8))
    read = items(tmp_path)
    assert [item.label for item in read] == ["3", "1", "4", "1", "5"]
    assert [item.origin for item in read] == [f"{path}#{number}" for number in range(1, 6)]
    assert all(np.array_equal(item.content[..., 2], DIGITS[at]) for at, item in enumerate(read))


def test_idx_pictures_without_labels_have_none(tmp_path: Path) -> None:
    notes: list[str] = []
    assert [item.label for item in found(mnist(tmp_path), notes) if isinstance(item, Item)] == [None] * 5
    assert notes[0].endswith("there are no labels beside these pictures")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty file"),
        (b"\0\0\x08", "not an IDX file"),
        (b"\0\0\x0d\x03" + bytes(12), "not an IDX file of bytes"),
        (b"\0\0\x08\x03" + bytes(5), "header ends early"),
        (idx(DIGITS[:, :7]), "too small: 28 x 7"),
        (b"\0\0\x08\x03" + struct.pack(">3I", 1 << 31, 28, 28), "max_archive_bytes"),
        (b"\x1f\x8bnonsense", "could not be read as IDX"),
        (gzip.compress(idx(DIGITS))[:500], "could not be read as IDX"),
    ],
)
def test_idx_files_that_are_none_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "x-images-idx3-ubyte").write_bytes(content)
    last = found(tmp_path)[-1]
    assert isinstance(last, Rejected)
    assert words in last.reason


def test_a_truncated_idx_file_gives_what_is_there_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "x-images-idx3-ubyte").write_bytes(idx(DIGITS)[:-1])
    *read, last = found(tmp_path)
    assert len(read) == 4
    assert last == Rejected(str(tmp_path / "x-images-idx3-ubyte"), "truncated: 4 of its 5 pictures are there")


def test_labels_of_other_pictures_are_refused(tmp_path: Path) -> None:
    mnist(tmp_path, labels=np.zeros(4, np.uint8))
    assert "not those of 5 pictures" in reason(tmp_path)


# tables


def parquet(path: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet as writer

    table = pyarrow.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    writer.write_table(table, path)
    return path


def cells(count: int = 3) -> list[dict[str, Any]]:
    return [{"bytes": png(DIGITS[number]), "path": f"{number}.png"} for number in range(count)]


def test_a_table_of_hugging_face_names_its_classes(tmp_path: Path) -> None:
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    path = parquet(tmp_path / "a.parquet", {"image": cells(), "label": [1, 0, -1]}, features)
    read = items(path)
    assert [item.label for item in read] == ["dog", "cat", None]
    assert [item.origin for item in read] == [f"{path}#{number}" for number in (1, 2, 3)]
    assert np.array_equal(read[2].content[..., 0], DIGITS[2])


def test_the_columns_are_found_by_what_they_hold(tmp_path: Path) -> None:
    columns = {"id": [1, 2], "img": [cell["bytes"] for cell in cells(2)], "fine_label": [1, 0]}
    features = {"fine_label": {"_type": "ClassLabel", "names": ["oak", "elm"]}}
    assert [item.label for item in items(parquet(tmp_path / "a.parquet", columns, features))] == [
        "elm",
        "oak",
    ]
    (tmp_path / "a.parquet").unlink()
    both = {"image": cells(1), "mask": [png(DIGITS[4])], "label": ["x"]}
    (item,) = items(parquet(tmp_path / "b.parquet", both), column="mask")
    assert item.label == "x"
    assert np.array_equal(item.content[..., 0], DIGITS[4])


def test_rows_without_a_picture_are_refused_one_by_one(tmp_path: Path) -> None:
    rows = [{"bytes": None, "path": "/etc/passwd"}, *cells(1), None, {"bytes": b"words", "path": None}]
    path, good, empty, bad = found(parquet(tmp_path / "a.parquet", {"image": rows}))
    assert isinstance(path, Rejected)
    assert "only the path" in path.reason
    assert isinstance(good, Item)
    assert isinstance(empty, Rejected)
    assert empty.reason == "no picture in column `image`"
    assert isinstance(bad, Rejected)
    assert bad.reason == "not a picture, or a damaged one"


def test_tables_that_hold_no_pictures_are_refused(tmp_path: Path) -> None:
    assert "no column of pictures" in reason(parquet(tmp_path / "a.parquet", {"text": ["words"]}))
    (tmp_path / "a.parquet").write_bytes(b"PAR1 nonsense")
    assert "could not be read as a table of pictures" in reason(tmp_path / "a.parquet")


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[image\]"):
        found(tmp_path)


# icons


def test_the_icons_are_drawn_in_black_on_white() -> None:
    pytest.importorskip("fonticon_mdi7")
    read = gather(["demo:icons"], GatherConfig(), kind="image")
    first = [item for item, _ in zip(read, range(40), strict=False) if isinstance(item, Item)]
    assert len(first) > 30
    assert len({item.content.tobytes() for item in first}) > 30
    for item in first:
        assert item.content.shape == (64, 64, 3)
        assert item.licence == "Apache-2.0"
        assert item.content.max() == 255
        assert item.content.min() < 30
        assert 0.01 < (item.content < 128).mean() < 0.95


def test_the_icons_are_for_pictures() -> None:
    with pytest.raises(UsageError, match="demo:icons is for image"):
        gather(["demo:icons"], GatherConfig())


def test_the_characters_of_a_font_are_read_from_its_map() -> None:
    groups = struct.pack(">6I", 0xF0001, 0xF0003, 1, 0xF0100, 0xF0100, 4)
    twelve = struct.pack(">2H3I", 12, 0, 16 + len(groups), 0, 2) + groups
    cmap = struct.pack(">2H2HI2HI", 0, 2, 0, 3, 20, 3, 10, 24) + struct.pack(">2H", 4, 0) + twelve
    font = struct.pack(">I4H4s3I", 0x10000, 1, 0, 0, 0, b"cmap", 0, 28, len(cmap)) + cmap
    assert demo_icons.characters(font) == [0xF0001, 0xF0002, 0xF0003, 0xF0100]
    for damaged in (font[:40], font.replace(b"cmap", b"glyf"), b""):
        with pytest.raises(Unusable):
            demo_icons.characters(damaged)


@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".tif", ".parquet", ".idx3-ubyte", ".zip"])
def test_the_suffixes_of_pictures_are_on_the_shelf(suffix: str) -> None:
    assert source_for(suffix, "image") is not None
