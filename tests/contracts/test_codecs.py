"""Every codec on the shelf: any text comes back exactly, however it is pushed, kept or read again."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bowerbird.base.errors import CorruptFile
from bowerbird.data.codecs import CODECS, Codec, CodecConfig, learn_codec, load_codec
from bowerbird.data.markers import MARKERS, plain

TRAINING = "The sea, the stone and the lark; naïve café, 日本 日本 👩‍🚀👩‍🚀. It's the sea's.\n\tthe\r\n" * 20
NASTY = (
    "\x00",
    "\u0301",
    "e\u0301",
    "\u05d0\u202e",
    "👩‍🚀",
    "\ufeff",
    "\u2028",
    "\U0010ffff",
    "\ufdef",
    "\ufdd4",
)
ANY_TEXT = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs"]),
        st.sampled_from([*MARKERS, *(character for text in NASTY for character in text)]),
        st.sampled_from(sorted(set(TRAINING))),
    ),
    max_size=80,
)
QUICK = settings(max_examples=60, deadline=None)
everyone = pytest.mark.parametrize("name", [name for name in CODECS if name not in ("notes", "pixels")])


@cache
def learnt(name: str, vocab_size: int = 300) -> Codec:
    return learn_codec(
        CodecConfig.model_validate({"name": name, "vocab_size": vocab_size}), lambda: iter([TRAINING])
    )


def kept_and_loaded(codec: Codec) -> Codec:
    """The codec after its description went through JSON, as in `bundle.json`."""
    return load_codec(json.loads(json.dumps(codec.describe())), codec.files())


@everyone
@QUICK
@given(text=ANY_TEXT)
@example(text="")
@example(text="".join(MARKERS))
@example(text="".join(NASTY))
@example(text=TRAINING)
def test_any_text_comes_back_exactly(name: str, text: str) -> None:
    codec = learnt(name)
    tokens = codec.encode(text)
    assert tokens.dtype == np.int32
    assert tokens.ndim == 1
    assert codec.decode(tokens) == text
    assert not len(tokens) or 0 <= tokens.min() <= tokens.max() < codec.vocab_size


@everyone
@QUICK
@given(data=st.data())
def test_pushing_any_tokens_one_by_one_gives_what_decode_gives(name: str, data: st.DataObject) -> None:
    codec = learnt(name)
    tokens = data.draw(st.lists(st.integers(0, codec.vocab_size - 1), max_size=40))
    decoder = codec.decoder()
    assert "".join([decoder.push(token) for token in tokens]) + decoder.flush() == codec.decode(tokens)


@everyone
@QUICK
@given(text=ANY_TEXT)
def test_text_comes_out_as_soon_as_its_last_byte_is_in(name: str, text: str) -> None:
    codec = learnt(name)
    decoder = codec.decoder()
    assert "".join([decoder.push(token) for token in codec.encode(text).tolist()]) == text
    assert decoder.flush() == ""


@everyone
@QUICK
@given(text=ANY_TEXT)
def test_a_kept_and_loaded_codec_encodes_equally(name: str, text: str) -> None:
    codec = learnt(name)
    other = kept_and_loaded(codec)
    assert other.vocab_size == codec.vocab_size
    assert np.array_equal(other.encode(text), codec.encode(text))
    assert np.array_equal(other.byte_sizes, codec.byte_sizes)


@everyone
@QUICK
@given(text=ANY_TEXT)
def test_the_tokens_bytes_add_up_to_the_text_without_markers(name: str, text: str) -> None:
    codec = learnt(name)
    own = "".join(character for character in text if character not in MARKERS)
    assert codec.byte_sizes.shape == (codec.vocab_size,)
    assert codec.byte_sizes[codec.encode(text)].sum() == len(own.encode())


def test_only_markers_are_left_out_of_the_bytes_of_a_cleaned_text() -> None:
    assert plain("a" + "".join(MARKERS) + "é") == "aé"


@everyone
def test_the_markers_are_the_first_tokens_in_order(name: str) -> None:
    assert learnt(name).encode("".join(MARKERS)).tolist() == [0, 1, 2, 3]


@everyone
@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ufdd1\ud83d"])
def test_half_a_surrogate_pair_becomes_a_question_mark_and_never_an_error(name: str, text: str) -> None:
    codec = learnt(name)
    assert codec.decode(codec.encode(text)) == text.encode("utf-8", "replace").decode()


@everyone
def test_encoding_other_text_teaches_a_codec_nothing(name: str) -> None:
    codec = learn_codec(
        CodecConfig.model_validate({"name": name, "vocab_size": 300}), lambda: iter([TRAINING])
    )
    before = json.dumps(codec.describe()), codec.files(), codec.encode("żółw żółw the sea").tolist()
    codec.encode("żółw " * 50)
    codec.unseen("żółw")
    assert (json.dumps(codec.describe()), codec.files(), codec.encode("żółw żółw the sea").tolist()) == before


@everyone
@pytest.mark.parametrize("vocab_size", [20, 21, 24, 33, 260, 261, 300, 1000])
def test_a_codec_never_has_more_tokens_than_allowed(name: str, vocab_size: int) -> None:
    if name in ("bytes", "bpe") and vocab_size < 260:
        pytest.skip("the markers and 256 bytes are the least")
    codec = learnt(name, vocab_size)
    assert codec.vocab_size <= vocab_size
    assert codec.decode(codec.encode(TRAINING)) == TRAINING


@everyone
def test_the_same_text_gives_the_same_codec(name: str) -> None:
    def learn() -> Any:
        config = CodecConfig.model_validate({"name": name, "vocab_size": 300})
        codec = learn_codec(config, lambda: iter([TRAINING[:700], TRAINING[700:]]))
        return codec.describe(), codec.files()

    assert learn() == learn()


@everyone
def test_a_codec_of_no_text_still_takes_any_text(name: str) -> None:
    codec = learn_codec(CodecConfig.model_validate({"name": name}), lambda: iter([]))
    assert codec.decode(codec.encode("Ünseen 日本")) == "Ünseen 日本"


@pytest.mark.parametrize(
    ("description", "files"),
    [
        ({}, {}),
        (None, {}),
        ([], {}),
        ({"name": "morse"}, {}),
        ({"name": "characters"}, {}),
        ({"name": "characters", "pieces": "abc"}, {}),
        ({"name": "characters", "pieces": [1]}, {}),
        ({"name": "words", "pieces": [""]}, {}),
        ({"name": "characters", "pieces": ["a", "\ud800"]}, {}),
        ({"name": "words", "pieces": ["no\udfff"]}, {}),
        ({"name": "pixels"}, {}),
        ({"name": "pixels", "height": 8, "width": 8, "channels": 2, "classes": []}, {}),
        ({"name": "pixels", "height": 0, "width": 8, "channels": 3, "classes": []}, {}),
        ({"name": "pixels", "height": 8, "width": True, "channels": 3, "classes": []}, {}),
        ({"name": "pixels", "height": 8, "width": 8, "channels": 3, "classes": [1]}, {}),
        ({"name": "pixels", "height": 8, "width": 8, "channels": 3, "classes": "ab"}, {}),
        ({"name": "bpe"}, {}),
        ({"name": "bpe"}, {"tokenizer.json": b"{"}),
        ({"name": "bpe"}, {"tokenizer.json": b"\xff"}),
        ({"name": "bpe"}, {"tokenizer.json": b'{"version":"9","model":{}}'}),
    ],
)
def test_a_description_that_makes_no_codec_is_refused_as_damaged(description: Any, files: Any) -> None:
    with pytest.raises(CorruptFile):
        load_codec(description, files)
