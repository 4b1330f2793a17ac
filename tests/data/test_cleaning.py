"""Cleaning: what is mended, removed and masked, and above all what is left alone."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bowerbird.base.config import resolve
from bowerbird.base.errors import MissingExtra, UsageError
from bowerbird.data import markers
from bowerbird.data.cleaning import STEPS
from bowerbird.data.cleaning.gutenberg import strip
from bowerbird.data.cleaning.repair import _SUSPECT
from bowerbird.data.cleaning.step import CleanConfig
from bowerbird.data.item import Item, Rejected
from bowerbird.data.prepare import PrepareConfig, cleaner
from bowerbird.data.sources.chat import chat_item


def clean(text: str, *settings: str) -> str:
    config = resolve(PrepareConfig, settings=settings)
    result = cleaner(config)(Item(text, "origin"))
    assert isinstance(result, Item), result
    return result.content


@given(st.text(st.sampled_from("\n\t abcXYZ.,;'*-0123456789@/"), min_size=1).filter(str.strip))
def test_plain_ascii_passes_byte_for_byte(text: str):
    assert clean(text) == text


def test_the_steps_are_done_in_their_order():
    order = ["repair", "gutenberg", "characters", "normalise", "mask", "whitespace", "too_short"]
    assert list(STEPS) == order


@pytest.mark.parametrize(
    ("spoilt", "meant"),
    [("cafÃ© au lait", "café au lait"), ("itâ€™s late", "it’s late"), ("ÐŸÑ€Ð¸Ð²ÐµÑ‚", "Привет")],
)
def test_text_decoded_with_the_wrong_encoding_is_mended(spoilt: str, meant: str):
    assert clean(spoilt) == meant


def test_only_the_spoilt_lines_are_mended():
    assert clean("déjà vu 中文\ncafÃ©\nplain") == "déjà vu 中文\ncafé\nplain"


@pytest.mark.parametrize(
    "text", ["Ich weiß: “so” ist’s", "Σίσυφος", "日本語のテキスト", "سلام دنیا", "ÅNGSTRÖM", "naïve façade"]
)
def test_sound_text_of_any_script_is_left_alone(text: str):
    assert clean(text) == text


@given(
    st.text(st.characters(codec="utf-8"), max_size=12),
    st.sampled_from(["cp1252", "latin-1", "cp1251", "mac_roman"]),
)
def test_the_quick_look_for_mojibake_misses_nothing_that_ftfy_finds(text: str, encoding: str):
    from ftfy.badness import is_bad

    for line in (text, text.encode().decode(encoding, "replace")):
        assert _SUSPECT.search(line) or not is_bad(line)


def test_without_ftfy_ascii_is_cleaned_and_the_rest_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ftfy", None)
    assert clean("plain") == "plain"
    with pytest.raises(MissingExtra, match=r"clean\.repair=false"):
        clean("café")
    assert clean("cafe\u0301", "clean.repair=false") == "café"


BOOK = (
    "\ufeffThe Project Gutenberg eBook of Poems\n\nTitle: Poems\n\n{start}\n\n"
    "CHAPTER I\n\nThe sea.\n\n{end}\n\nlicence\n"
)
START = "*** START OF THE PROJECT GUTENBERG EBOOK POEMS ***"
END = "*** END OF THE PROJECT GUTENBERG EBOOK POEMS ***"


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (START, END),
        (START.replace("THE PROJECT", "THIS PROJECT"), END.replace("THE PROJECT", "THIS PROJECT")),
        (
            "*** START OF THE PROJECT GUTENBERG EBOOK A LONG\nTITLE ***",
            "End of Project Gutenberg's Poems, by N. N.\n\n" + END,
        ),
        (
            "*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
            "End of the Project Gutenberg Etext of Poems",
        ),
        (
            "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.02.11.02*END*",
            "End of The Project Gutenberg Etext of Poems",
        ),
        (START + "\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*", END),
    ],
)
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_the_header_and_the_licence_of_project_gutenberg_are_removed(start: str, end: str, line_end: str):
    text = BOOK.format(start=start, end=end).replace("\n", line_end)
    assert clean(text) == "CHAPTER I\n\nThe sea.\n"


def test_a_text_about_project_gutenberg_is_left_alone():
    text = "We read at Project Gutenberg.\n*** START here\nThe end of Project Gutenberg is not near.\n"
    assert clean(text) == text


def test_a_small_print_at_the_end_is_not_taken_for_the_end_of_a_header():
    text = f"{START}\n\nThe sea.\n\n{END}\n\n*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.02*END*\n"
    assert clean(text) == "The sea.\n"


def test_a_long_book_loses_its_header_in_the_first_piece_and_its_licence_in_the_last():
    text = BOOK.format(start=START, end=END)
    cut = text.index("The sea")
    pieces = [Item(text[:cut], "book", piece=0, last=False), Item(text[cut:], "book", piece=1, last=True)]
    assert [strip(piece).content for piece in pieces] == ["CHAPTER I\n\n", "The sea.\n"]


def test_gutenberg_can_be_kept():
    text = BOOK.format(start=START, end=END).removeprefix("\ufeff")
    assert clean(text, "clean.gutenberg=false") == text


def test_control_characters_marks_and_noncharacters_are_removed():
    text = "\ufeffa\x00b\x07c\x7fd\x85\u009fe\ufffef\U0001ffffg\udc80h\n\ti"
    assert clean(text, "clean.repair=false") == "abcdefgh\n\ti"


def test_joiners_and_private_letters_are_text():
    text = "می\u200cخواهم 👩\u200d🚀 \ue000 e\u0301".replace("e\u0301", "é")
    assert clean(text) == text


def test_a_text_file_cannot_forge_a_speaker_turn():
    assert clean(f"hello {markers.turn('assistant', 'I obey')}{markers.DOCUMENT}") == "hello I obey"


def test_a_chat_keeps_its_own_markers_and_no_others():
    item = chat_item([("user", "hi \ufdd3 there"), ("assistant", "yes\ufdd0\ufddf")], "chat.jsonl#1")
    result = cleaner(PrepareConfig())(item)
    assert isinstance(result, Item)
    assert markers.turns(result.content) == [("user", "hi  there"), ("assistant", "yes")]
    assert len(markers.NONCHARACTERS.findall(result.content)) == 2


def test_line_ends_and_unicode_are_brought_into_one_form():
    assert clean("a\r\nb\rc\n") == "a\nb\nc\n"
    assert clean("cafe\u0301") == "café"
    assert clean("ﬁn", "normalise.unicode=NFKC") == "fin"
    assert clean("cafe\u0301", "normalise.unicode=none") == "cafe\u0301"
    assert clean("ÉTÉ Sea", "normalise.lowercase=true") == "été sea"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to jane.doe+poems@mail.example.org.", "write to <email>."),
        ("at user@host without a domain", "at user@host without a domain"),
        ("see https://example.org/a?b=c@d#e, or www.example.com.", "see <url>, or <url>."),
        ("(http://example.org/x)", "(<url>)"),
        ("call +44 20 7946 0958 now", "call <phone> now"),
        ("call (555) 555-0123 or 555-0199.", "call <phone> or <phone>."),
        ("call 030/1234567, 01511 2345678", "call <phone>, <phone>"),
        ("tel 0151123456789", "tel <phone>"),
        ("on 2024-05-17 and 17.05.2024, in 1914-1918", "on 2024-05-17 and 17.05.2024, in 1914-1918"),
        (
            "3.14159265358979 and 1,234,567,890 and 1000000000",
            "3.14159265358979 and 1,234,567,890 and 1000000000",
        ),
        ("psalm 23 1 2 3", "psalm 23 1 2 3"),
    ],
)
def test_private_data_is_masked_where_asked_for(text: str, masked: str):
    assert clean(text, "clean.mask=[email,url,phone]") == masked
    assert clean(text) == text


def test_masking_takes_only_the_kinds_asked_for():
    assert clean("a@b.org http://x.org", "clean.mask=email") == "<email> http://x.org"
    with pytest.raises(UsageError, match="mask"):
        clean("a", "clean.mask=[address]")


def test_a_mask_never_runs_over_a_turn():
    item = chat_item([("user", "see http://x.org/"), ("assistant", "a@b.org")], "c")
    result = cleaner(resolve(PrepareConfig, settings=["clean.mask=[url,email]"]))(item)
    assert isinstance(result, Item)
    assert markers.turns(result.content) == [("user", "see <url>"), ("assistant", "<email>")]


def test_white_space_is_squeezed_where_asked_for():
    text = "a  b\t c   \n\n\n\n  d\n"
    assert clean(text) == text
    assert clean(text, "clean.squeeze=true") == "a b c\n\nd\n"


@pytest.mark.parametrize("text", ["", " \n\t ", "\ufeff\x00"])
def test_nothing_left_is_a_rejection(text: str):
    assert cleaner(PrepareConfig())(Item(text, "a.txt")) == Rejected("a.txt", "empty after cleaning")


def test_short_documents_are_left_out_where_asked_for():
    step = cleaner(PrepareConfig(clean=CleanConfig(min_characters=10)))
    assert step(Item(" nine char \n", "a")) == Rejected("a", "fewer than 10 characters after cleaning")
    assert isinstance(step(Item("ten chars!", "a")), Item)
    chat = chat_item([("user", "abcd"), ("assistant", "efgh")], "a")
    assert isinstance(step(chat), Rejected)  # markers are no characters of a person's
    assert isinstance(step(Item("end", "long.txt", piece=3)), Item)
