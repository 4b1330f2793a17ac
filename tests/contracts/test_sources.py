"""Every source on the shelf: what it reads it gives whole, and what it cannot read it refuses with a reason."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bowerbird.data.item import Item, Rejected
from bowerbird.data.markers import plain
from bowerbird.data.sources import SOURCES, idx, source_for
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig

WORDS = "The sea is grey tonight, and the gulls have gone inland to wait for the morning."


def pdf(words: str) -> bytes:
    """The smallest PDF with a line of text: five objects and the table of where they are."""
    content = f"BT /F1 12 Tf 72 720 Td ({words}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    file = io.BytesIO()
    file.write(b"%PDF-1.4\n")
    places = []
    for number, body in enumerate(objects, 1):
        places.append(file.tell())
        file.write(b"%d 0 obj\n%s\nendobj\n" % (number, body))
    start = file.tell()
    file.write(
        b"xref\n0 6\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    )
    file.write(b"trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % start)
    return file.getvalue()


def zipped(parts: dict[str, str]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return file.getvalue()


def tarred(name: str, text: str, mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        member = tarfile.TarInfo(name)
        member.size = len(text.encode())
        archive.addfile(member, io.BytesIO(text.encode()))
    return file.getvalue()


def epub(words: str) -> bytes:
    return zipped(
        {
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
            '<item id="c" href="one.xhtml" media-type="application/xhtml+xml"/></manifest>'
            '<spine><itemref idref="c"/></spine></package>',
            "OEBPS/one.xhtml": f"<html><body><p>{words}</p></body></html>",
        }
    )


def docx(words: str) -> bytes:
    schema = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    body = f"<w:body><w:p><w:r><w:t>{words}</w:t></w:r></w:p></w:body>"
    return zipped({"word/document.xml": f'<w:document xmlns:w="{schema}">{body}</w:document>'})


def row(words: str) -> str:
    return json.dumps({"id": "7", "text": words})


EXAMPLES: dict[str, Callable[[str], bytes]] = {
    "": str.encode,
    ".txt": str.encode,
    ".md": str.encode,
    ".markdown": str.encode,
    ".text": str.encode,
    ".html": lambda words: f"<html><body><p>{words}</p></body></html>".encode(),
    ".htm": lambda words: f"<html><body><p>{words}</p></body></html>".encode(),
    ".xhtml": lambda words: f"<html><body><p>{words}</p></body></html>".encode(),
    ".csv": lambda words: f'id,text\n7,"{words}"\n'.encode(),
    ".tsv": lambda words: f"id\ttext\n7\t{words}\n".encode(),
    ".jsonl": lambda words: (row(words) + "\n").encode(),
    ".ndjson": lambda words: (row(words) + "\n").encode(),
    ".json": lambda words: f"[{row(words)}]".encode(),
    ".epub": epub,
    ".pdf": pdf,
    ".docx": docx,
    ".zip": lambda words: zipped({"poems/one.txt": words}),
    ".tar": lambda words: tarred("poems/one.txt", words, "w"),
    ".tar.gz": lambda words: tarred("poems/one.txt", words, "w:gz"),
    ".tgz": lambda words: tarred("poems/one.txt", words, "w:gz"),
}
SUFFIXES = sorted(
    suffix for source in SOURCES.values() if source.kind in ("text", None) for suffix in source.suffixes
)
MELODIES = sorted(
    suffix for source in SOURCES.values() if source.kind == "melody" for suffix in source.suffixes
)
PICTURES = sorted(
    suffix for source in SOURCES.values() if source.kind == "image" for suffix in source.suffixes
)


def read(path: Path) -> list[Item | Rejected]:
    return list(gather([str(path)], GatherConfig()))


def test_every_suffix_on_the_shelf_has_an_example_here():
    assert sorted(EXAMPLES) == SUFFIXES


def test_no_two_sources_claim_one_suffix():
    every = SUFFIXES + MELODIES + PICTURES
    assert len(every) == len(set(every))
    assert all(source_for(suffix) is not None for suffix in SUFFIXES)
    assert all(source_for(suffix, "melody") is not None for suffix in MELODIES)
    assert all(source_for(suffix, "image") is not None for suffix in PICTURES)


@pytest.mark.parametrize("suffix", MELODIES)
def test_a_melody_is_no_text(suffix: str, tmp_path: Path):
    path = tmp_path / f"example{suffix}"
    path.write_bytes(b"anything")
    assert read(path) == [Rejected(str(path), f"unsupported file type {suffix} (melody: --kind melody)")]


@pytest.mark.parametrize("suffix", MELODIES)
def test_an_empty_melody_is_refused_with_a_reason(suffix: str, tmp_path: Path):
    path = tmp_path / f"example{suffix}"
    path.touch()
    assert list(gather([str(path)], GatherConfig(), kind="melody")) == [Rejected(str(path), "empty file")]


@pytest.mark.parametrize("suffix", PICTURES)
def test_a_picture_is_no_text(suffix: str, tmp_path: Path):
    path = tmp_path / f"example{suffix}"
    path.write_bytes(b"anything")
    assert read(path) == [Rejected(str(path), f"unsupported file type {suffix} (image: --kind image)")]


@pytest.mark.parametrize("suffix", [suffix for suffix in PICTURES if suffix not in (".parquet", idx.LABELS)])
def test_an_empty_picture_is_refused_with_a_reason(suffix: str, tmp_path: Path):
    path = tmp_path / f"example{suffix}"
    path.touch()
    assert list(gather([str(path)], GatherConfig(), kind="image")) == [Rejected(str(path), "empty file")]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_source_gives_the_words_of_its_example(suffix: str, tmp_path: Path):
    path = tmp_path / f"example{suffix}"
    path.write_bytes(EXAMPLES[suffix](WORDS))
    (item,) = read(path)
    assert isinstance(item, Item)
    assert plain(item.content).strip() == WORDS
    assert item.origin.startswith(str(path))
    assert (item.piece, item.last) == (0, True)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_suffix_in_capitals_is_the_same(suffix: str, tmp_path: Path):
    path = tmp_path / f"EXAMPLE{suffix.upper()}"
    path.write_bytes(EXAMPLES[suffix](WORDS))
    assert isinstance(read(path)[0], Item)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_empty_file_is_refused_with_a_reason(suffix: str, tmp_path: Path):
    path = tmp_path / f"example{suffix}"
    path.touch()
    (refusal,) = read(path)
    assert isinstance(refusal, Rejected)
    assert refusal.origin == str(path)
    assert refusal.reason


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_half_a_file_never_stops_the_next_one(suffix: str, tmp_path: Path):
    content = EXAMPLES[suffix](WORDS)
    (tmp_path / f"a{suffix}").write_bytes(content[: len(content) // 2])
    (tmp_path / "b.txt").write_text("the next file")
    assert read(tmp_path)[-1] == Item("the next file", str(tmp_path / "b.txt"))


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix])
def test_noise_with_the_suffix_of_a_source_is_refused(suffix: str, tmp_path: Path):
    path = tmp_path / f"noise{suffix}"
    path.write_bytes(bytes((n * n * 7 + 13 * n) % 256 for n in range(5000)))
    found = read(path)
    assert found
    assert all(isinstance(item, Rejected) for item in found)
