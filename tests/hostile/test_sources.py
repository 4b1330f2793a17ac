"""Hostile files: each is refused with a reason, nothing is unpacked by name, and the rest is still read."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import budget, encoding
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.source import GatherConfig


def found(*sources: Path, **settings: object) -> list[Item | Rejected]:
    return list(gather([str(source) for source in sources], GatherConfig.model_validate(settings)))


def reason(path: Path, **settings: object) -> str:
    (refusal,) = found(path, **settings)
    assert isinstance(refusal, Rejected), refusal
    return refusal.reason


@pytest.mark.parametrize(
    "content",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 20,
        os.urandom(5000),
        b"\x7fELF\2\1\1" + b"\0" * 100,
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.md", "a.csv", "a.jsonl", "no_suffix"])
def test_binary_data_with_the_name_of_a_text_is_refused(name: str, content: bytes, tmp_path: Path):
    (tmp_path / name).write_bytes(content)
    assert "binary" in reason(tmp_path / name)


def test_one_line_of_100_megabytes_is_read_in_bounded_memory(tmp_path: Path):
    path = tmp_path / "a.txt"
    with path.open("wb") as file:
        for _ in range(100):
            file.write(b"the quick brown fox " * 50_000)
    tracemalloc.start()
    total = sum(len(item.content) for item in gather([str(path)], GatherConfig()) if isinstance(item, Item))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 100_000_000
    assert peak < 80 << 20


def test_a_row_without_end_is_refused_instead_of_filling_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(encoding, "LINE_CHARACTERS", 1 << 20)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "ok"}\n{"text": "' + b"x" * (3 << 20))
    items = found(path)
    assert isinstance(items[-1], Rejected)
    assert "a line is longer" in items[-1].reason


def test_a_quote_never_closed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import csv

    before = csv.field_size_limit(1 << 16)
    monkeypatch.setattr("bowerbird.data.sources.table.FIELD_CHARACTERS", 1 << 16)
    try:
        (tmp_path / "a.csv").write_text('text\n"' + "word " * 50_000)
        assert "field larger than" in reason(tmp_path / "a.csv")
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize("content", ["[" * 200_000, '{"a":' * 200_000])
@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_json_nested_without_end_is_refused(name: str, content: str, tmp_path: Path):
    (tmp_path / name).write_text(content)
    assert "nested too deeply" in reason(tmp_path / name)


@pytest.mark.parametrize("name", ["a.epub", "a.docx"])
def test_entities_of_xml_are_not_expanded(name: str, tmp_path: Path):
    secret = tmp_path / "secret"
    secret.write_text("password")
    bomb = (
        '<!DOCTYPE x [<!ENTITY a "lollollol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">'
        f'<!ENTITY c SYSTEM "file://{secret}">]>'
    )
    schema = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    with zipfile.ZipFile(tmp_path / name, "w") as archive:
        document = f'{bomb}<w:document xmlns:w="{schema}"><w:p><w:t>words &b; &c;</w:t></w:p></w:document>'
        archive.writestr("word/document.xml", document)
        archive.writestr(
            "META-INF/container.xml", f'{bomb}<container><rootfile full-path="&c;"/></container>'
        )
    items = found(tmp_path / name)
    assert not any("password" in str(item) or "lol" in str(item) for item in items)


# Links and special files


def test_a_link_loop_is_listed_not_followed(tmp_path: Path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "poem.txt").write_text("once")
    (tmp_path / "a" / "loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    items = {os.path.relpath(item.origin, tmp_path): item for item in found(tmp_path)}
    assert sorted(items) == ["a/loop", "a/poem.txt", "gone", "self"]
    assert isinstance(items["a/poem.txt"], Item)
    assert items["a/loop"] == Rejected(
        str(tmp_path / "a" / "loop"), f"a folder that is read already, as {tmp_path}"
    )
    assert items["self"] == Rejected(str(tmp_path / "self"), "a link that leads back to itself")
    assert items["gone"] == Rejected(str(tmp_path / "gone"), "a link to a file that is not there")


def test_a_link_to_a_file_elsewhere_is_followed(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "poem.txt").write_text("elsewhere")
    (tmp_path / "in" / "link.txt").symlink_to(tmp_path / "poem.txt")
    assert found(tmp_path / "in") == [Item("elsewhere", str(tmp_path / "in" / "link.txt"))]


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe.txt")
    assert "neither a file nor a folder" in reason(tmp_path / "pipe.txt")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_an_unreadable_file_is_refused_and_the_next_one_read(tmp_path: Path):
    (tmp_path / "a.txt").write_text("secret")
    (tmp_path / "a.txt").chmod(0)
    (tmp_path / "b.txt").write_text("open")
    assert [type(item) for item in found(tmp_path)] == [Rejected, Item]


def test_a_file_that_cannot_be_opened_is_refused_and_the_next_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(path: str) -> Callable[[], object]:
        def open_it() -> object:
            raise PermissionError(13, "Permission denied", path)

        return open_it if path.endswith("a.txt") else lambda: open(path, "rb")

    monkeypatch.setattr("bowerbird.data.sources.walk.on_disk", refuse)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(name)
    refusal, item = found(tmp_path)
    assert refusal == Rejected(str(tmp_path / "a.txt"), "no permission to read this file")
    assert isinstance(item, Item)


def test_a_file_name_that_is_not_utf8_is_read(tmp_path: Path):
    with open(os.fsencode(tmp_path) + b"/caf\xe9.txt", "wb") as file:
        file.write(b"words")
    assert isinstance(found(tmp_path)[0], Item)


# Archives

BAD_NAMES = [
    "../evil.txt",
    "a/../../evil.txt",
    "/etc/evil.txt",
    "..\\evil.txt",
    "C:\\evil.txt",
    "\\\\host\\evil.txt",
]


@pytest.mark.parametrize("name", BAD_NAMES)
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_path_that_leads_out_of_an_archive_is_refused_and_nothing_is_written(
    kind: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "work" / "deep"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(name, "evil")
            archive.writestr("good.txt", "good")
    else:
        with tarfile.open(path, "w") as archive:
            for member_name in (name, "good.txt"):
                member = tarfile.TarInfo(member_name)
                member.size = 4
                archive.addfile(member, io.BytesIO(b"evil" if member_name == name else b"good"))
    items = found(path)
    assert [type(item) for item in sorted(items, key=lambda item: type(item).__name__)] == [Item, Rejected]
    assert sorted(os.listdir(tmp_path)) == [f"a.{kind}", "work"]
    assert list(folder.rglob("*")) == []


def test_links_and_devices_in_archives_are_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name, kind in (
            ("s.txt", tarfile.SYMTYPE),
            ("h.txt", tarfile.LNKTYPE),
            ("d.txt", tarfile.CHRTYPE),
            ("f.txt", tarfile.FIFOTYPE),
        ):
            member = tarfile.TarInfo(name)
            member.type = kind
            member.linkname = "/etc/passwd"
            archive.addfile(member)
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as zipped:
        entry = zipfile.ZipInfo("s.txt")
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(entry, "/etc/passwd")
    items = found(tmp_path)
    assert len(items) == 5
    assert {item.reason for item in items if isinstance(item, Rejected)} == {
        "a link or a device in an archive"
    }


def test_a_zip_that_declares_a_bomb_is_refused_unread(tmp_path: Path):
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open("zeros.txt", "w") as member,
    ):
        for _ in range(100):
            member.write(b"0" * (1 << 20))
    assert "decompression bomb" in reason(tmp_path / "a.zip")


@pytest.mark.parametrize("name", ["zeros.txt", "zeros.bin"])
def test_a_packed_tar_bomb_is_stopped_on_the_way(name: str, tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", compresslevel=9) as archive:
        member = tarfile.TarInfo(name)
        member.size = 100 << 20
        archive.addfile(member, io.BytesIO(b"0" * member.size))
    items = found(tmp_path)
    assert any(isinstance(item, Rejected) and "decompression bomb" in item.reason for item in items)
    assert not any(isinstance(item, Item) and item.last for item in items)


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_may_unpack_to_no_more_than_is_allowed(kind: str, tmp_path: Path):
    path = tmp_path / f"a.{kind}"
    contents = {f"{n}.txt": os.urandom(3000).hex() for n in range(5)}
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in contents.items():
                archive.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz") as tar:
            for name, text in contents.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, io.BytesIO(text.encode()))
    assert len(found(path)) == 5
    items = found(path, max_archive_bytes=20_000)
    assert isinstance(items[-1], Rejected)
    assert "max_archive_bytes" in items[-1].reason
    assert sum(isinstance(item, Item) for item in items) < 4


def test_a_header_that_claims_gigabytes_does_not_fill_the_memory(tmp_path: Path):
    header = tarfile.TarInfo("x")
    header.type = tarfile.XHDTYPE
    header.size = 1 << 30
    with gzip.open(tmp_path / "a.tgz", "wb") as file:
        file.write(header.tobuf(tarfile.PAX_FORMAT))
        file.write(b"0" * 1000)
    assert "header" in reason(tmp_path / "a.tgz")


def test_a_bomb_inside_an_archive_inside_an_archive_is_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(budget, "RATIO_FROM_BYTES", 1 << 20)
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w:gz") as archive:
        member = tarfile.TarInfo("zeros.txt")
        member.size = 8 << 20
        archive.addfile(member, io.BytesIO(b"0" * member.size))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as outer:
        outer.writestr("inner.tgz", inner.getvalue())
        outer.writestr("z.txt", "after")
    items = found(tmp_path)
    assert any(isinstance(item, Rejected) and "bomb" in item.reason for item in items)
    assert isinstance(items[-1], Item)
    assert items[-1].content == "after"


def test_archives_inside_an_archive_share_its_limit(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as outer:
        for number in range(6):
            inner = io.BytesIO()
            with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr("poem.txt", f"{number} " * 5000)
            outer.writestr(f"{number}.zip", inner.getvalue())
    assert len(found(tmp_path)) == 6
    items = found(tmp_path, max_archive_bytes=30_000)
    assert sum(isinstance(item, Item) for item in items) == 2
    assert isinstance(items[-1], Rejected)
    assert "max_archive_bytes" in items[-1].reason


def test_a_locked_zip_is_refused(tmp_path: Path):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "words")
    raw = bytearray(content.getvalue())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        raw[raw.index(signature) + offset] |= 1
    (tmp_path / "a.zip").write_bytes(raw)
    assert "password" in reason(tmp_path / "a.zip")


@pytest.mark.parametrize("kind", ["zip", "tgz", "epub", "docx", "pdf"])
def test_a_damaged_file_is_refused_and_names_its_kind(kind: str, tmp_path: Path):
    (tmp_path / f"a.{kind}").write_bytes(b"PK\x03\x04 damaged " * 30)
    assert "could not be read as" in reason(tmp_path / f"a.{kind}")
