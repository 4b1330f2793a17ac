"""What single codecs do: what is spelt and how, what is unseen, what of a text they learn from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bowerbird.data.codecs import CodecConfig, codec, learn_codec
from bowerbird.data.codecs.bpe import BytePairs
from bowerbird.data.codecs.bytes import Bytes
from bowerbird.data.codecs.pieces import FIRST_LEARNT, SPELLING, Characters, Words
from bowerbird.data.dataset import Dataset
from bowerbird.data.markers import MARKERS
from bowerbird.data.prepare import PrepareConfig, prepare


def characters(text: str, **config: int) -> Characters:
    return Characters.learn(lambda: iter([text]), CodecConfig.model_validate(config))


def words(text: str, **config: int) -> Words:
    return Words.learn(lambda: iter([text]), CodecConfig.model_validate({"name": "words", **config}))


def test_an_unlearnt_character_is_spelt_in_half_bytes() -> None:
    tokens = characters("aabb").encode("a☃").tolist()
    halves = [0xE, 0x2, 0x9, 0x8, 0x8, 0x3]  # U+2603 is E2 98 83 in UTF-8
    assert tokens == [FIRST_LEARNT, *(SPELLING + half for half in halves)]


def test_characters_seen_too_seldom_are_spelt() -> None:
    codec = characters("aaabbc", min_count=2)
    assert codec.pieces == ["a", "b"]
    assert characters("aaabbc", min_count=1).pieces == ["a", "b", "c"]


def test_the_commonest_characters_get_the_room_there_is() -> None:
    assert characters("aaaabbbccd", vocab_size=FIRST_LEARNT + 2).pieces == ["a", "b"]


def test_markers_are_never_learnt_as_characters() -> None:
    assert characters("".join(MARKERS) * 9 + "aa").pieces == ["a"]


@settings(max_examples=25, deadline=None)
@given(text=st.text(max_size=40))
def test_unseen_is_what_has_to_be_spelt(text: str) -> None:
    for found in (characters("the sea the sea"), words("the sea the sea")):
        spelt = {
            one
            for one in set(text)
            if any(SPELLING <= token < FIRST_LEARNT for token in found.encode(one).tolist())
        }
        assert found.unseen(text) == spelt
    assert Bytes().unseen(text) == set()


def test_a_frequent_word_is_one_token_with_the_space_before_it() -> None:
    codec = words("the sea is the sea ")
    assert codec.pieces.count(" sea") == 1
    assert len(codec.encode("the sea")) == 1 + len("the"), (
        "`the` was seen once at a start, so it is spelt out"
    )


def test_a_word_not_on_the_list_is_spelt_in_its_characters() -> None:
    codec = words("the sea the sea the sea")
    assert [codec.pieces[token - FIRST_LEARNT] for token in codec.encode("tea").tolist()] == ["t", "e", "a"]


def test_a_word_keeps_its_apostrophe() -> None:
    codec = words("it's  it's it’s it's it’s ")
    assert {" it's", " it’s"} <= set(codec.pieces)


def test_half_the_room_of_words_is_for_characters_at_most() -> None:
    codec = words("abcdefghijklmnopqrstuvwxyz sea stone " * 9, vocab_size=FIRST_LEARNT + 10)
    assert len([piece for piece in codec.pieces if len(piece) == 1]) <= 5
    assert codec.vocab_size <= FIRST_LEARNT + 10


def test_byte_pairs_merge_what_is_frequent_and_keep_every_byte() -> None:
    codec = BytePairs.learn(lambda: iter(["the sea the sea\n" * 50]), CodecConfig(name="bpe", vocab_size=280))
    assert len(codec.encode("the sea")) < 4
    assert codec.unseen("☃\x00") == set()
    assert codec.decode(range(4, codec.vocab_size)) is not None


def test_byte_pairs_leave_no_text_out_however_long(monkeypatch: pytest.MonkeyPatch) -> None:
    from bowerbird.data.codecs import bpe

    codec = BytePairs.learn(lambda: iter(["the sea\n" * 50]), CodecConfig(name="bpe", vocab_size=280))
    text = "the sea\n" * 100 + "é" * 300 + "\ufdd2end"
    whole = codec.encode(text).tolist()
    monkeypatch.setattr(bpe, "_CHUNK", 64)
    assert codec.decode(codec.encode(text)) == text
    assert len(codec.encode(text)) <= len(whole) * 1.2


def test_a_learnt_codec_reads_its_text_from_an_even_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    from bowerbird.data.codecs import bpe

    monkeypatch.setattr(bpe, "_LEARN_CHARACTERS", 1000)
    monkeypatch.setattr(bpe, "_CHUNK", 100)
    texts = [chr(0x100 + number) * 100 for number in range(57)]
    read = [ord(text[0]) - 0x100 for text in bpe._spread(lambda: iter(texts))]
    assert 9 <= len(read) <= 10, "a thousand characters in pieces of a hundred"
    gaps = np.diff([-1, *read, 57])
    assert gaps.min() >= 1
    assert gaps.max() <= 7


@pytest.mark.parametrize(
    "wrong",
    [
        {"vocab_size": 0},
        {"vocab_size": -5},
        {"vocab_size": 19},
        {"name": "bpe", "vocab_size": 259},
        {"min_count": 0},
        {"min_count": -1},
        {"name": "morse"},
    ],
)
def test_a_codec_that_cannot_be_is_refused_before_any_work(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CodecConfig.model_validate(wrong)


def test_held_out_text_teaches_the_codec_nothing(tmp_path: Path) -> None:
    source = tmp_path / "long.txt"
    source.write_text("the sea and the stone\n" * 200 + "☃ and the lark ☃\n" * 20, encoding="utf-8")
    for name in ("characters", "words"):
        out = tmp_path / name
        prepare([str(source)], out, PrepareConfig.model_validate({"codec": {"name": name}}))
        dataset = Dataset.open(out)
        assert "☃" in "".join(dataset.text(split, 0) for split in ("valid", "test"))
        assert "☃" not in dataset.text("train", 0)
        assert dataset.codec.unseen("☃k") == {"☃", "k"}


def test_the_kinds_of_codec_share_their_first_tokens() -> None:
    assert (0, len(MARKERS)) == (codec.DOCUMENT_TOKEN, codec.FIRST_PIECE)
    made = learn_codec(CodecConfig(name="words"), lambda: iter(["a a"]))
    assert isinstance(made, Words)


def test_auto_takes_pieces_for_much_text_in_an_alphabet_and_characters_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bowerbird.data.codecs import choice

    monkeypatch.setattr(choice, "MUCH_TEXT", 5_000)
    text = "the sea was under the stone and the lark was over it\n" * 200
    many = "".join(chr(0x4E00 + number) for number in range(500)) * 20

    def chosen(content: str, vocab_size: int = 4096) -> str:
        return learn_codec(CodecConfig(vocab_size=vocab_size), lambda: iter([content])).name

    assert chosen(text) == "bpe"
    assert chosen(text[:4_000]) == "characters"
    assert chosen(many) == "characters"
    assert chosen(text, vocab_size=300) == "characters"
